"""The tests run alike, whoever starts them."""

import signal

# Behind a shell's `&` it is ignored, and whatever the tests start would inherit that: they interrupt some of it.
signal.signal(signal.SIGINT, signal.default_int_handler)
