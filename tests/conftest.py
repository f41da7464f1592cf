"""The tests run alike, whoever starts them."""

import signal

# Behind a shell's `&`, or below nohup, these are ignored, and whatever the tests start would inherit that, to some of
# which they send them. What is handled, in whatever way, is not inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)
