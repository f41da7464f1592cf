"""How types go together, and how messages speak of them."""

from __future__ import annotations

from xcapscript.types import S64, U64, IntType, StringType, Type, is_number


def common_type(one: Type, other: Type) -> Type | None:
    """The type that holds values of both; None if there is none."""
    if one == other:
        return one
    if is_number(one) and is_number(other):
        signed = any(isinstance(kind, IntType) and kind.signed for kind in (one, other))
        return S64 if signed else U64
    if isinstance(one, StringType) and isinstance(other, StringType):
        return one if one.size > other.size else other
    return None


def widened(kind: Type) -> Type:
    """Integers of 64 bits, so that keys and variables of different widths agree."""
    return (S64 if kind.signed else U64) if isinstance(kind, IntType) else kind


def a(kind: Type) -> str:
    """The type with its article: `an ip`, `a uint64`."""
    return f"{'an' if str(kind)[0] in 'aeio' else 'a'} {kind}"


def numbered(count: int, noun: str) -> str:
    """`1 value`, `2 values`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
