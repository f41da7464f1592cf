"""How types go together, what a parameter's word is, and how messages speak of types."""

from __future__ import annotations

from xcapscript.nodes.expressions import AddressConstant, Expression, Number, Text
from xcapscript.syntax.parse import ALL_BITS, read_address, read_number
from xcapscript.types import S64, U64, InternedType, IntType, IpType, StringType, Type, is_number

TRUTHS = {"true": 1, "false": 0}


def value_of_word(word: str) -> Expression:
    """A parameter's value: a number, an address, or text."""
    number = TRUTHS.get(word, read_number(word))
    if number is not None:
        return Number(number, U64)
    if word.startswith("-") and (number := read_number(word[1:])) is not None:
        return Number(-number, S64)
    network = read_address(word)
    if network is not None and network[1] == ALL_BITS:
        return AddressConstant(network[0], IpType())
    return Text(word, InternedType())


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
