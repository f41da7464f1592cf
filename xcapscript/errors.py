"""The failures that are not mistakes in a script: what the machine cannot do, and what we did wrong."""

from __future__ import annotations


class KernelError(Exception):
    """The machine cannot do what was asked (exit status 3): one sentence, and what to try."""

    def __init__(self, message: str, *, advice: str | None = None, log: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.log = log


class UsageError(Exception):
    """The command line is wrong (exit status 2)."""


class CompilerBug(Exception):
    """We did something wrong; the user is asked for a report."""

    def __init__(self, message: str, *, log: str | None = None) -> None:
        super().__init__(message)
        self.log = log
