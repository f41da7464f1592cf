"""What values mean, told once more and in another way: Python's integers, and counts of what is looked up and read."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.values_in_c import KERNEL
from xcapscript.layout import size_of
from xcapscript.nodes.expressions import (
    ArgumentValue,
    Binary,
    Compare,
    Convert,
    Expression,
    Load,
    Logic,
    MapValue,
    Not,
    Number,
    Ternary,
    Variable,
)
from xcapscript.nodes.hook import HookArgument
from xcapscript.types import S32, S64, U8, U16, U32, U64, EnumType, IntType, PointerType, Type

WORDS = (0, 1, 0x8000_0000, 0xFFFF_FFFF_FFFF_FFFE, 0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000, 0x1234_5678_9ABC_DEF0)
"""The arguments of the hook."""


def signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def truncated(a: int, b: int) -> int:
    """Division as in C; nothing is divided by zero."""
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": truncated,
    "%": lambda a, b: a - b * truncated(a, b),
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<<": lambda a, b: a << b if 0 <= b < 64 else 0,
    ">>": lambda a, b: a >> b if 0 <= b < 64 else -(a < 0),
}

RELATIONS: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

REASON = EnumType("skb_drop_reason", ())
SLOT_TYPES = [U8, U16, U32, U64, S32, S64, IntType(8, signed=True), IntType(16, signed=True)]
SLOT_TYPES += [REASON, PointerType("void")]

EDGES = [Number(n, U64) for n in (0, 1, 2, 63, 64, 65, 2**31, 2**32, 2**63, 2**64 - 1)]
EDGES += [Number(n, S64) for n in (-1, -2, -7, -(2**31), -(2**63))]


def slot(index: int, kind: Type) -> ArgumentValue:
    return ArgumentValue(HookArgument(f"a{index}", kind, index), kind)


SLOTS = [slot(index, kind) for index in range(len(WORDS)) for kind in SLOT_TYPES]


def has_sign(*kinds: Type) -> bool:
    return any(isinstance(kind, IntType) and kind.signed for kind in kinds)


def cut(number: int, kind: Type) -> int:
    """A number in the width of its type, modulo 2**64."""
    bits = kind.bits if isinstance(kind, IntType) else 32 if isinstance(kind, EnumType) else 64
    low = number % 2**bits
    return (low - 2**bits if has_sign(kind) and low >= 2 ** (bits - 1) else low) % 2**64


@dataclass
class World:
    """What values are computed from; how often maps were looked up and memory was read."""

    memory: bytes = b""
    maps: dict[str, dict[tuple[int, ...], int]] = field(default_factory=dict)
    variables: dict[int, int] = field(default_factory=dict)
    lookups: int = 0
    reads: int = 0
    bad_reads: int = 0

    def read(self, address: int, size: int) -> int:
        self.reads += 1
        at = address % 2**64 - KERNEL
        if 0 <= at <= len(self.memory) - size:
            return int.from_bytes(self.memory[at : at + size], "little")
        self.bad_reads += 1
        return 0


def meant(value: Expression, world: World | None = None) -> int:
    """The value modulo 2**64, as the language says."""
    world = world or World()
    match value:
        case Number(number):
            return number % 2**64
        case ArgumentValue(argument, kind):
            return cut(WORDS[argument.place], kind)
        case Binary(sign, left, right, kind):
            a, b = meant(left, world), meant(right, world)
            return OPERATORS[sign](*((signed(a), signed(b)) if kind == S64 else (a, b))) % 2**64
        case Compare(sign, left, right):
            a, b = meant(left, world), meant(right, world)
            return RELATIONS[sign](*((signed(a), signed(b)) if has_sign(left.type, right.type) else (a, b)))
        case Logic("&&", left, right):
            return bool(meant(left, world) and meant(right, world))
        case Logic("||", left, right):
            return bool(meant(left, world) or meant(right, world))
        case Not(operand):
            return not meant(operand, world)
        case Ternary(condition, yes, no, kind):
            return cut(meant(yes if meant(condition, world) else no, world), kind)
        case Convert(operand, kind):
            return cut(meant(operand, world), kind)
        case Load():
            return _loaded(value, world)
        case MapValue(name, keys, kind):
            key = tuple(meant(one, world) for one in keys)
            world.lookups += 1
            return cut(world.maps[name].get(key, 0), kind)
        case Variable(number):
            return world.variables[number]
        case _:
            raise AssertionError(value)


def _loaded(value: Load, world: World) -> int:
    address = meant(value.address, world) + value.offset
    if not value.bit_size:
        return cut(world.read(address, size_of(value.type)), value.type)
    first, bits = divmod(value.bit_offset, 8)
    whole = next(size for size in (1, 2, 4, 8, 16) if size * 8 >= bits + value.bit_size)
    low = (world.read(address + first, whole) >> bits) % 2**value.bit_size
    negative = has_sign(value.type) and low >> (value.bit_size - 1)
    return (low - 2**value.bit_size if negative else low) % 2**64
