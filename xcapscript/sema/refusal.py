"""One mistake, raised."""

from __future__ import annotations

from typing import NoReturn, Protocol

from xcapscript.diagnostics import Code, Diagnostic, Note, ScriptError
from xcapscript.source import Span


class Placed(Protocol):
    """Whatever has a place in the script."""

    @property
    def span(self) -> Span: ...


def refuse(code: Code, node: Placed, message: str, *hints: str, notes: tuple[Note, ...] = ()) -> NoReturn:
    """Raise the ScriptError of one mistake."""
    raise ScriptError([Diagnostic(code, message, node.span, hints, notes)])
