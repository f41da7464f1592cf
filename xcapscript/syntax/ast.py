"""The syntax tree: what was written, and where. Nodes are frozen; nothing is added to them later."""

from __future__ import annotations

from dataclasses import dataclass

from xcapscript.source import Span


@dataclass(frozen=True, slots=True)
class Number:
    """An integer; a duration is in ns."""

    value: int
    span: Span


@dataclass(frozen=True, slots=True)
class String:
    """A string literal, its escapes resolved."""

    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address or network: 128 bits, an IPv4 one mapped into IPv6 (RFC 4291). An address has a mask of ones."""

    value: int
    mask: int
    span: Span


@dataclass(frozen=True, slots=True)
class Mac:
    """A hardware address of 48 bits."""

    value: int
    span: Span


@dataclass(frozen=True, slots=True)
class Parameter:
    """`$1`, `$#` or `$name`, a parameter or a variable; `name` is without the dollar sign."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Name:
    """A bare word."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Member:
    """`object.field`, which is also `object->field`."""

    object: Expression
    field: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """`name(arguments)`."""

    name: Name
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Index:
    """`object[index]`."""

    object: Expression
    index: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class TypeName:
    """`struct tcp_sock *` has the name 'struct tcp_sock' and one star."""

    name: str
    stars: int
    span: Span


@dataclass(frozen=True, slots=True)
class Cast:
    """`(type)operand`."""

    type: TypeName
    operand: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`, in C's operators and `in`; `and` and `or` are `&&` and `||`."""

    operator: str
    left: Expression
    right: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Unary:
    """`operator operand`: `-`, `!`, `~` or `*`; `not` is `!`."""

    operator: str
    operand: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Ternary:
    """`condition ? yes : no`."""

    condition: Expression
    yes: Expression
    no: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Map:
    """`@name` or `@name[keys]`; `name` is with the `@`."""

    name: str
    keys: tuple[Expression, ...]
    span: Span


Expression = (
    Number | String | Address | Mac | Parameter | Name | Member | Index | Call | Cast | Binary | Unary | Ternary | Map
)


@dataclass(frozen=True, slots=True)
class Keyword:
    """`name=value` among a call's arguments."""

    name: Name
    value: Expression
    span: Span


Argument = Expression | Keyword


@dataclass(frozen=True, slots=True)
class Action:
    """`name;` or `name(arguments);`."""

    name: Name
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Assign:
    """`target = value;`, or with another operator, such as `+=`; `target++` adds the number 1."""

    target: Map | Parameter
    operator: str
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class If:
    """`if condition { ... } else { ... }`; `else if` is an `if` alone in a block."""

    condition: Expression
    then: Block
    otherwise: Block | None
    span: Span


@dataclass(frozen=True, slots=True)
class Return:
    """`return;` or `return value;`."""

    value: Expression | None
    span: Span


Statement = Action | Assign | If | Return


@dataclass(frozen=True, slots=True)
class Attach:
    """An attach point as it was written."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Predicate:
    """The text between the slashes."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Block:
    """The statements between braces."""

    statements: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Clause:
    """Attach points, a predicate and what to do; no block means to print the packet."""

    attaches: tuple[Attach, ...]
    predicate: Predicate | None
    block: Block | None
    span: Span


@dataclass(frozen=True, slots=True)
class Import:
    """`import "name";`."""

    name: String
    span: Span


@dataclass(frozen=True, slots=True)
class HookAlias:
    """`hook name = first | second;`."""

    name: Name
    alternatives: tuple[Attach, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Option:
    """`option name = value;`."""

    name: Name
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Param:
    """`param name = default, "doc";`: a parameter that the command line sets."""

    name: Name
    default: Expression | None
    doc: String | None
    span: Span


@dataclass(frozen=True, slots=True)
class Function:
    """`fn name($a, $b) { ... }`."""

    name: Name
    parameters: tuple[Parameter, ...]
    body: Block
    span: Span


@dataclass(frozen=True, slots=True)
class CText:
    """C between triple quotes; the span is the text's."""

    text: str
    span: Span


Item = Import | Option | Param | HookAlias | Function | CText | Clause


@dataclass(frozen=True, slots=True)
class Script:
    """A whole file or one-liner."""

    items: tuple[Item, ...]
    span: Span
