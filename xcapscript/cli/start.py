"""Where the command begins: Ctrl-C ends it without a word from the interpreter, also while it is being imported."""

from __future__ import annotations

import signal


def main() -> None:
    """The console script."""
    # Nothing is attached yet that would have to be detached; the run installs handlers of its own.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from xcapscript.cli import main as command  # noqa: PLC0415 -- half of the start-up time is spent in here

    command.main()
