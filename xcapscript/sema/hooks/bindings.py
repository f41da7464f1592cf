"""Binding groups: `(skb=arg1)` behind an attach point says which argument is the packet or the socket."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from xcapscript.diagnostics import Code, did_you_mean
from xcapscript.nodes.hook import HookArgument
from xcapscript.quotes import partition
from xcapscript.sema.refusal import refuse
from xcapscript.syntax import ast
from xcapscript.types import U64

ARGUMENT = re.compile(r"(?:args\.)?([A-Za-z_]\w*)")
POSITION = re.compile(r"arg([0-9]{1,2})")
SKB, SOCK, MSG, XDP, FRAME = "skb", "sk", "msg", "xdp", "frame"


@dataclass(frozen=True, slots=True)
class Bindings:
    """What a binding group says: a name and what it stands for, as they were written."""

    attach: ast.Attach
    given: Mapping[str, str] = field(default_factory=dict)

    def allow(self, names: Collection[str]) -> None:
        """Refuse names that mean nothing at this kind of hook."""
        for name in self.given:
            if name not in names:
                known = (f"what can be bound here: {' '.join(names)}",) if names else ()
                message = (
                    f"'{name}' is nothing that can be bound at this hook" if names else "nothing can be bound here"
                )
                refuse(Code.BAD_HOOK, self.attach, message, *(did_you_mean(name, names) or known))

    def argument(self, name: str, arguments: tuple[HookArgument, ...], most: int) -> HookArgument | None:
        """The argument that a name is bound to, None if it is not: by position, or by the name that it has."""
        text = self.given.get(name)
        if text is None:
            return None
        if position := POSITION.fullmatch(text):
            place = int(position[1])
            if place >= most:
                refuse(Code.BAD_HOOK, self.attach, f"'{text}' is out of reach: the first {most} arguments can be had")
            named = next((one for one in arguments if text in (one.name, f"arg{one.place}")), None)
            return named or HookArgument(text, U64, place)
        found = ARGUMENT.fullmatch(text)
        named = next((one for one in arguments if found and one.name == found[1]), None)
        if named is None:
            known = [one.name for one in arguments]
            hints = did_you_mean(text, known) or (f"write an argument: {name}=arg0",)
            refuse(Code.BAD_HOOK, self.attach, f"'{text}' is no argument of '{self.attach.text}'", *hints)
        return named


def bindings_of(attach: ast.Attach) -> tuple[str, Bindings]:
    """The attach point without its binding group, and the group."""
    text, parenthesis, group = partition(attach.text, "(")
    given: dict[str, str] = {}
    if not parenthesis:
        return text, Bindings(attach)
    for one in group.removesuffix(")").split(","):
        name, equals, value = (part.strip() for part in one.partition("="))
        if not equals or not name or not value:
            refuse(Code.BAD_HOOK, attach, f"'({group}' binds nothing", "write for instance kprobe:f(skb=arg1)")
        if name in given:
            refuse(Code.BAD_HOOK, attach, f"'{name}' is bound twice")
        given[name] = value
    return text.strip(), Bindings(attach, given)
