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
class Parameter:
    """`$1`, `$#` or `$name`; `name` is without the dollar sign."""

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
class Binary:
    """`left operator right`."""

    operator: str
    left: Expression
    right: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Negative:
    """`-operand`."""

    operand: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Map:
    """`@name` or `@name[keys]`; `name` is with the `@`."""

    name: str
    keys: tuple[Expression, ...]
    span: Span


Expression = Number | String | Parameter | Name | Member | Call | Binary | Negative | Map


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
class Update:
    """`@map[keys] = value;`."""

    map: Map
    value: Expression
    span: Span


Statement = Action | Update


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


Item = Import | HookAlias | Clause


@dataclass(frozen=True, slots=True)
class Script:
    """A whole file or one-liner."""

    items: tuple[Item, ...]
    span: Span
