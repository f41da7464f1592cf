"""One mistake, raised."""

from __future__ import annotations

from typing import NoReturn, Protocol

from xcapscript.diagnostics import Code, Diagnostic, Note, ScriptError
from xcapscript.ir import Hook
from xcapscript.source import Span
from xcapscript.unit import USER_KINDS


class Placed(Protocol):
    """Whatever has a place in the script."""

    @property
    def span(self) -> Span: ...


def where_packets_are(hook: Hook) -> str:
    """What to do at a hook without a packet."""
    if hook.attachment.kind in USER_KINDS:
        return f"say which arguments hold its address and its length: {hook.name}(buf=arg0, len=arg1)"
    return "hooks with a packet: drop rx tx; see also 'xcap -l -v'"


def refuse(code: Code, node: Placed, message: str, *hints: str, notes: tuple[Note, ...] = ()) -> NoReturn:
    """Raise the ScriptError of one mistake."""
    raise ScriptError([Diagnostic(code, message, node.span, hints, notes)])
