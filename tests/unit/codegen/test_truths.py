"""Comparisons, logic, choices and conversions, compiled for this machine, against Python's integers."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.values_in_c import KERNEL, SPAN, Writer, needs_compiler
from tests.values_model import (
    EDGES,
    OPERATORS,
    RELATIONS,
    SLOT_TYPES,
    SLOTS,
    WORDS,
    World,
    has_sign,
    meant,
    slot,
)
from xcapscript.codegen.maps import key_layout, value_layout
from xcapscript.nodes.expressions import (
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
)
from xcapscript.nodes.statements import SetKey
from xcapscript.types import S64, U8, U64, PointerType, SymbolType, Type
from xcapscript.unit import Aggregation, MapSpec

CONTEXT = struct.pack("=7Q", *WORDS)
MEMORY = bytes((at * 37 + 11) % 256 for at in range(64))
NO, YES = Number(0, U8), Number(1, U8)
CASTS: list[Type] = [*SLOT_TYPES, SymbolType(), PointerType("struct sk_buff")]

HELD = MapSpec(
    "@m",
    "xcap_map_0",
    key_layout("xcap_key_0", (U64,), Aggregation.VALUE),
    value_layout("xcap_value_0", Aggregation.VALUE, U64, signed=False),
    Aggregation.VALUE,
    signed=False,
    max_entries=16,
    span=SPAN,
)
ROWS = {(0,): 0, (1,): 1, (2,): 2**64 - 1, (7,): 3}


def world() -> World:
    return World(MEMORY, {"@m": ROWS})


def asked(values: Sequence[Expression], directory: Path) -> list[list[int]]:
    """Of each value: what it is, how many look-ups and reads it took, and how many of these failed."""
    writer = Writer(maps=[HELD])
    for (key,), held in ROWS.items():
        writer.do(SetKey("@m", (Number(key, U64),), "", Number(held, U64), SPAN))
    for value in values:
        writer.out.line("lookups = reads = counters->bad_reads = 0;")
        writer.print(value)
        for counter in ("lookups", "reads", "counters->bad_reads"):
            writer.print_c(counter)
    found = writer.numbers(directory, CONTEXT, MEMORY)
    return [found[at : at + 4] for at in range(0, len(found), 4)]


def expected(values: Sequence[Expression]) -> list[list[int]]:
    told = []
    for value in values:
        seen = world()
        told.append([meant(value, seen), seen.lookups, seen.reads, seen.bad_reads])
    return told


def disagreements(values: Sequence[Expression], directory: Path) -> list[object]:
    pairs = zip(values, asked(values, directory), expected(values), strict=True)
    return [(value, found, wanted) for value, found, wanted in pairs if found != wanted]


@needs_compiler
@pytest.mark.parametrize("relation", RELATIONS)
def test_comparisons_of_two_numbers(relation: str, tmp_path: Path) -> None:
    rng = random.Random(relation)
    pairs = [(a, b) for a in EDGES for b in EDGES] + [tuple(rng.choices([*EDGES, *SLOTS], k=2)) for _ in range(300)]
    assert not disagreements([Compare(relation, a, b, U8) for a, b in pairs], tmp_path)


@needs_compiler
@pytest.mark.parametrize("kind", CASTS, ids=str)
def test_conversions_to_every_type(kind: Type, tmp_path: Path) -> None:
    assert not disagreements([Convert(value, kind) for value in (*EDGES, *SLOTS)], tmp_path)


@needs_compiler
def test_a_converted_number_is_compared_in_its_own_width(tmp_path: Path) -> None:
    wide = slot(3, U64)  # 0xffff_ffff_ffff_fffe
    values = [
        Compare(relation, Convert(wide, kind), other, U8)
        for kind in SLOT_TYPES
        for relation in RELATIONS
        for other in (Number(-2, S64), Number(0xFE, U64), Number(0xFFFE, U64), Number(2**64 - 2, U64))
    ]
    assert not disagreements(values, tmp_path)


LOOKED_UP = MapValue("@m", (Number(1, U64),), U64)
ABSENT = MapValue("@m", (Number(99, U64),), U64)
LOADED = Load(Number(KERNEL, U64), 8, 0, 0, U64)
UNREADABLE = Load(Number(8, U64), 0, 0, 0, U64)


@needs_compiler
def test_the_right_side_is_left_alone_where_the_left_decides(tmp_path: Path) -> None:
    sides = (LOOKED_UP, ABSENT, LOADED, UNREADABLE)
    values = [Logic(operator, left, right, U8) for operator in ("&&", "||") for left in (NO, YES) for right in sides]
    found = asked(values, tmp_path)
    undone = [0, 0, 0]
    done = {LOOKED_UP: [1, 0, 0], ABSENT: [1, 0, 0], LOADED: [0, 1, 0], UNREADABLE: [0, 1, 1]}
    wanted: list[list[int]] = []
    for value in values:
        decided = (value.left == NO) == (value.operator == "&&")
        truth = value.left == YES if decided else value.right in (LOOKED_UP, LOADED)
        wanted.append([truth, *(undone if decided else done[value.right])])
    assert found == wanted


@needs_compiler
def test_only_the_chosen_value_is_computed(tmp_path: Path) -> None:
    values = [Ternary(condition, LOOKED_UP, UNREADABLE, U64) for condition in (YES, NO)]
    assert asked(values, tmp_path) == [[1, 1, 0, 0], [0, 0, 1, 1]]


@needs_compiler
def test_a_choice_has_the_type_of_both(tmp_path: Path) -> None:
    kinds = [(a, b) for a in SLOT_TYPES for b in SLOT_TYPES]
    values = [
        Ternary(condition, slot(index, a), slot(index, b), common(a, b))
        for condition in (YES, NO)
        for index in (2, 3, 6)
        for a, b in kinds
    ]
    assert not disagreements(values, tmp_path)


def common(one: Type, other: Type) -> Type:
    if one == other:
        return one
    return S64 if has_sign(one, other) else U64


class Trees:
    """Random expressions: every node at every place where it may stand."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def truth(self, depth: int) -> Expression:
        rng = self._rng
        if depth == 0:
            return rng.choice([NO, YES, Compare("<", rng.choice(SLOTS), rng.choice(EDGES), U8)])
        match rng.randrange(5):
            case 0 | 1:
                return Logic(rng.choice(("&&", "||")), self.truth(depth - 1), self.truth(depth - 1), U8)
            case 2:
                return Not(self.truth(depth - 1), U8)
            case _:
                return Compare(rng.choice(list(RELATIONS)), self.number(depth - 1), self.number(depth - 1), U8)

    def number(self, depth: int) -> Expression:
        rng = self._rng
        if depth == 0:
            return rng.choice([*EDGES, *SLOTS, LOOKED_UP, ABSENT, LOADED, UNREADABLE])
        match rng.randrange(7):
            case 0:
                yes, no = self.number(depth - 1), self.number(depth - 1)
                return Ternary(self.truth(depth - 1), yes, no, common(yes.type, no.type))
            case 1:
                return Convert(self.number(depth - 1), rng.choice(SLOT_TYPES))
            case 2:
                return MapValue("@m", (self.number(depth - 1),), U64)
            case 3:
                offset = Binary("&", self.number(depth - 1), Number(63, U64), U64)
                address = Binary("+", Number(KERNEL, U64), offset, U64)
                return Load(address, rng.randrange(8), 0, 0, rng.choice(SLOT_TYPES))
            case 4:
                return self.truth(depth)
            case _:
                left, right = self.number(depth - 1), self.number(depth - 1)
                sign = rng.choice(list(OPERATORS))
                return Binary(sign, left, right, S64 if sign == "-" or has_sign(left.type, right.type) else U64)


@needs_compiler
@pytest.mark.parametrize("seed", range(4))
def test_whole_trees_of_values_with_what_they_look_up(seed: int, tmp_path: Path) -> None:
    trees = Trees(seed)
    values = [trees.truth(5) for _ in range(150)] + [trees.number(4) for _ in range(150)]
    assert not disagreements(values, tmp_path)
