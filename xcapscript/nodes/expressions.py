"""The expressions of the resolved program, with every name, type and filter known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xcapscript.builtins import Builtin, PacketField
from xcapscript.nodes.hook import Filter, HookArgument
from xcapscript.types import FlowType, InternedType, IpType, Type

if TYPE_CHECKING:
    from xcapscript.nodes.statements import Statement


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
