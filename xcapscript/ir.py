"""The resolved program: every name, type, argument and filter is known; made by sema, read by codegen."""

from __future__ import annotations

from dataclasses import dataclass

from xcapscript.builtins import Builtin, Needs
from xcapscript.source import Span
from xcapscript.types import InternedType, Type
from xcapscript.unit import Aggregation, Attachment

Instructions = tuple[tuple[int, int, int, int], ...]
"""Classic BPF: (code, jt, jf, k) each."""


@dataclass(frozen=True, slots=True)
class HookArgument:
    """A value that the hook gives: an argument by its index, or a tracepoint's field by its offset in bytes."""

    name: str
    type: Type
    place: int


@dataclass(frozen=True, slots=True)
class Hook:
    """An attach point on this kernel: `name` as the script has it, and where its packet and drop reason are.

    `outgoing` says that every packet there is on its way out of the machine.
    """

    name: str
    attachment: Attachment
    arguments: tuple[HookArgument, ...]
    skb: HookArgument | None
    reason: HookArgument | None
    outgoing: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """An integer constant."""

    value: int
    type: Type


@dataclass(frozen=True, slots=True)
class Text:
    """A string constant."""

    value: str
    type: InternedType


@dataclass(frozen=True, slots=True)
class BuiltinValue:
    """A builtin with a C helper."""

    builtin: Builtin
    type: Type


@dataclass(frozen=True, slots=True)
class ArgumentValue:
    """A value that the hook gives."""

    argument: HookArgument
    type: Type


@dataclass(frozen=True, slots=True)
class Stack:
    """The kernel stack; its type says how deep."""

    type: Type


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic in 64 bits; division by zero gives 0."""

    operator: str
    left: Expression
    right: Expression
    type: Type


Expression = Number | Text | BuiltinValue | ArgumentValue | Stack | Binary


@dataclass(frozen=True, slots=True)
class Map:
    """An `@map` and the types that its first use gave it."""

    name: str
    keys: tuple[Type, ...]
    aggregation: Aggregation
    signed: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Dump:
    """Write the packet to a file; no path means the command line's."""

    path: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class Line:
    """Print the packet's line."""

    span: Span


@dataclass(frozen=True, slots=True)
class PrintStack:
    """Print the packet's line and the kernel stack under it."""

    stack: Stack
    span: Span


@dataclass(frozen=True, slots=True)
class Print:
    """Print values."""

    values: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Printf:
    """Print values by a format."""

    format: str
    values: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class PrintMap:
    """Print a map, of `top` rows at most."""

    map: str
    top: int | None
    span: Span


@dataclass(frozen=True, slots=True)
class ClearMap:
    """Empty a map."""

    map: str
    span: Span


@dataclass(frozen=True, slots=True)
class Exit:
    """Stop the run with an exit status."""

    status: int
    span: Span


@dataclass(frozen=True, slots=True)
class Update:
    """Add to a map's aggregation; count() has no value."""

    map: str
    keys: tuple[Expression, ...]
    value: Expression | None
    span: Span


Statement = Dump | Line | PrintStack | Print | Printf | PrintMap | ClearMap | Exit | Update


@dataclass(frozen=True, slots=True)
class Filter:
    """A tcpdump expression and its classic BPF for Ethernet and for raw IP; None: no packet of that kind matches."""

    text: str
    ethernet: Instructions | None
    raw: Instructions | None
    span: Span


@dataclass(frozen=True, slots=True)
class Probe:
    """One attach point of one clause; `inner` filters are about the packet inside a tunnel."""

    hook: Hook
    filter: Filter | None
    inner: tuple[Filter, ...]
    body: tuple[Statement, ...]
    needs: Needs
    span: Span


@dataclass(frozen=True, slots=True)
class Program:
    """A whole script, its imports included, in the order of their clauses."""

    probes: tuple[Probe, ...]
    maps: tuple[Map, ...]
