"""The statements of the resolved program."""

from __future__ import annotations

from dataclasses import dataclass

from xcapscript.nodes.expressions import Expression, Stack, Variable
from xcapscript.source import Span


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
