"""Where the command begins: Ctrl-C ends it without a word from the interpreter, also while it is being imported."""

# What `signal` is made of: it lies in the interpreter, and until it is there Ctrl-C means a traceback.
import _signal  # type: ignore[import-not-found]


def main() -> None:
    """The console script."""
    # Nothing is attached yet that would have to be detached; the run installs handlers of its own.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from xcapscript.cli import main as command  # noqa: PLC0415 -- half of the start-up time is spent in here

    command.main()
