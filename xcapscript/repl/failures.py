"""What went wrong, as text for a person."""

from __future__ import annotations

from xcapscript.diagnostics import ScriptError, escape, render
from xcapscript.errors import CompilerBug, KernelError, UsageError
from xcapscript.sinks.base import SinkError

REPORT = "this is a bug in xcap, which goes on: please report it with what you typed"


def told(error: BaseException) -> str:
    """The lines for a failure; what is none of a user or a machine is a bug, and asks for a report."""
    match error:
        case ScriptError():
            return "\n".join(map(render, error.diagnostics))
        case KernelError():
            return "\n".join(escape(line) for line in (error.message, error.advice) if line)
        case SinkError():
            return escape(error.message)
        case UsageError():
            return escape(str(error))
        case CompilerBug():
            return f"{escape(str(error))}\n{REPORT}"
        case _:
            return f"{escape(f'{type(error).__name__}: {error}')}\n{REPORT}"
