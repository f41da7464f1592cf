"""The nodes of the resolved program: expressions and statements, with every name, type and filter known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import get_args

from xcapscript.builtins import Builtin, PacketField
from xcapscript.source import Span
from xcapscript.types import FlowType, InternedType, IpType, Type

Instructions = tuple[tuple[int, int, int, int], ...]
"""Classic BPF: (code, jt, jf, k) each."""


RESULT, NO_RESULT = -1, -2
"""The place of what a kretprobe's function returned, and that of what is 0, as the function returns nothing."""


@dataclass(frozen=True, slots=True)
class Operand:
    """Where a static probe's argument is: a constant, a register (named as struct pt_regs does) or `shift` bits behind
    its beginning, or what is in memory at register + index * scale + offset.
    """

    bits: int
    signed: bool
    constant: int | None = None
    register: str = ""
    shift: int = 0
    in_memory: bool = False
    index: str = ""
    scale: int = 1
    offset: int = 0


@dataclass(frozen=True, slots=True)
class HookArgument:
    """A value that the hook gives: an argument by its index, or as a static probe says where it is, or a tracepoint's
    field by its offset in bytes.
    """

    name: str
    type: Type
    place: int | Operand


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
class PlaceName:
    """What the function that was hit is called: one of those that a wildcard's program is attached to, sorted."""

    names: tuple[str, ...]
    type: InternedType


@dataclass(frozen=True, slots=True)
class PlaceWithin:
    """Whether the function that was hit is one of those from `first` to `last` of a program's."""

    first: int
    last: int
    type: Type


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


@dataclass(frozen=True, slots=True)
class AddressConstant:
    """An IP address: 128 bits, an IPv4 one mapped into IPv6."""

    value: int
    type: IpType


@dataclass(frozen=True, slots=True)
class FieldValue:
    """A field of the packet; 0 where its layer is absent."""

    field: PacketField
    type: Type


@dataclass(frozen=True, slots=True)
class FlowValue:
    """The packet's addresses, ports and protocol."""

    type: FlowType


@dataclass(frozen=True, slots=True)
class Has:
    """Whether the packet has a layer, which is a bit of `enum xcap_layer`."""

    layer: str
    type: Type


@dataclass(frozen=True, slots=True)
class PacketPointer:
    """The address of the hook's sk_buff."""

    type: Type


@dataclass(frozen=True, slots=True)
class Load:
    """Kernel memory at an address: a number, of a bit-field some bits, or a string; 0 if it cannot be read."""

    address: Expression
    offset: int
    bit_offset: int
    bit_size: int
    type: Type


@dataclass(frozen=True, slots=True)
class Compare:
    """Whether two numbers, addresses or flows are in that relation."""

    operator: str
    left: Expression
    right: Expression
    type: Type


@dataclass(frozen=True, slots=True)
class CompareText:
    """Whether a string is the text, or begins with it."""

    string: Expression
    text: bytes
    prefix: bool
    type: Type


@dataclass(frozen=True, slots=True)
class InNetwork:
    """Whether an address is in a network."""

    address: Expression
    value: int
    mask: int
    type: Type


@dataclass(frozen=True, slots=True)
class Logic:
    """`&&` or `||` of truths, of which the second is only asked for if the first does not decide."""

    operator: str
    left: Expression
    right: Expression
    type: Type


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a truth."""

    operand: Expression
    type: Type


@dataclass(frozen=True, slots=True)
class Ternary:
    """One of two values, of which only that one is computed."""

    condition: Expression
    yes: Expression
    no: Expression
    type: Type


@dataclass(frozen=True, slots=True)
class Convert:
    """A number cut to the width of an integer type, or taken for a pointer."""

    operand: Expression
    type: Type


@dataclass(frozen=True, slots=True)
class MapValue:
    """What a plain map has for a key; 0 if nothing."""

    map: str
    keys: tuple[Expression, ...]
    type: Type


@dataclass(frozen=True, slots=True)
class HasKey:
    """Whether a plain map has a key."""

    map: str
    keys: tuple[Expression, ...]
    type: Type


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the script; the number tells it from others of its probe."""

    number: int
    type: Type


@dataclass(frozen=True, slots=True)
class CallC:
    """A call of a function of the script's own C."""

    function: str
    arguments: tuple[Expression, ...]
    type: Type


@dataclass(frozen=True, slots=True)
class Inlined:
    """A function of the script in its place: its body, and where `return` leaves the result."""

    name: str
    body: tuple[Statement, ...]
    result: Variable | None
    type: Type


@dataclass(frozen=True, slots=True)
class Matches:
    """Whether the packet, or the one inside its tunnel, matches a tcpdump expression."""

    filter: Filter
    inner: bool
    type: Type


Expression = (
    Number
    | Text
    | PlaceName
    | PlaceWithin
    | BuiltinValue
    | ArgumentValue
    | Stack
    | Binary
    | AddressConstant
    | FieldValue
    | FlowValue
    | Has
    | PacketPointer
    | Load
    | Compare
    | CompareText
    | InNetwork
    | Logic
    | Not
    | Ternary
    | Convert
    | MapValue
    | HasKey
    | Variable
    | CallC
    | Inlined
    | Matches
)


@dataclass(frozen=True, slots=True)
class Dump:
    """Write the packet to a file; no path means the command line's. At most `snaplen` bytes of it, if given."""

    path: str | None
    span: Span
    snaplen: int | None = None


@dataclass(frozen=True, slots=True)
class Ring:
    """Keep the packet among the last `count` of a file."""

    path: str
    count: int
    span: Span


@dataclass(frozen=True, slots=True)
class Commit:
    """Write what a ring keeps, and what comes in the `after` ns from now on."""

    path: str
    after: int
    span: Span


@dataclass(frozen=True, slots=True)
class Line:
    """Print the packet's line."""

    span: Span


@dataclass(frozen=True, slots=True)
class Hex:
    """Print the packet's line and its bytes."""

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
class ZeroMap:
    """Set every value of a map to zero."""

    map: str
    span: Span


@dataclass(frozen=True, slots=True)
class SetKey:
    """Set a plain map's value for a key; with `operator`, to what that gives of it and the value."""

    map: str
    keys: tuple[Expression, ...]
    operator: str
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class DeleteKey:
    """Remove a key from a map."""

    map: str
    keys: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class SetVariable:
    """Give a variable a value; its first one makes it."""

    variable: Variable
    value: Expression
    span: Span
    first: bool = False


@dataclass(frozen=True, slots=True)
class If:
    """Do one or the other."""

    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Return:
    """Leave the clause, or the function that this is inlined from."""

    span: Span


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Compute a value for what that does besides."""

    value: Expression
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


Statement = (
    Dump
    | Ring
    | Commit
    | Line
    | Hex
    | PrintStack
    | Print
    | Printf
    | PrintMap
    | ClearMap
    | ZeroMap
    | SetKey
    | DeleteKey
    | SetVariable
    | If
    | Return
    | Evaluate
    | Exit
    | Update
)


@dataclass(frozen=True, slots=True)
class Filter:
    """A tcpdump expression and its classic BPF for Ethernet and for raw IP; None: no packet of that kind matches."""

    text: str
    ethernet: Instructions | None
    raw: Instructions | None
    span: Span


def parts(node: Expression | Statement) -> Iterator[Expression | Statement]:
    """The expressions and statements right below a node."""
    for each in fields(node):
        value = getattr(node, each.name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, NODES):
                yield part


def walk(nodes: Iterable[Expression | Statement]) -> Iterator[Expression | Statement]:
    """All expressions and statements at and below some, from the top."""
    for node in nodes:
        yield node
        yield from walk(parts(node))


NODES = (*get_args(Expression), *get_args(Statement))
