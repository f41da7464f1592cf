"""What updates leave in maps, against Python's integers; and what min() and max() are told as."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.values_in_c import SPAN, Writer, needs_compiler
from tests.values_model import OPERATORS, WORDS, cut, meant, signed, slot
from xcapscript.codegen.maps import key_layout, value_layout
from xcapscript.nodes.expressions import Expression, MapValue, Number
from xcapscript.nodes.statements import SetKey, Update
from xcapscript.types import S32, S64, U8, U16, U32, U64, IntType, Type
from xcapscript.unit import Aggregation, Buckets, MapSpec

CONTEXT = struct.pack("=7Q", *WORDS)
UNSIGNED = [0, 1, 2, 3, 9, 10, 11, 99, 100, 101, 1499, 1500, 2**31, 2**32, 2**62 - 1, 2**62, 2**63 - 1]
UNSIGNED += [2**63, 2**63 + 1, 2**64 - 1]
SIGNED = [0, 1, 9, 10, 100, 1500, 2**62, 2**63 - 1, -1, -9, -10, -11, -99, -100, -101, -(2**62), -(2**62) - 1, -(2**63)]


def map_of(
    aggregation: Aggregation,
    *,
    has_sign: bool,
    keys: tuple[Type, ...] = (),
    buckets: Buckets | None = None,
) -> MapSpec:
    return MapSpec(
        "@m",
        "xcap_map_0",
        key_layout("xcap_key_0", keys, aggregation),
        value_layout("xcap_value_0", aggregation, None, signed=has_sign),
        aggregation,
        has_sign,
        16,
        SPAN,
        buckets,
    )


def numbers(values: Sequence[int], *, has_sign: bool) -> list[Number]:
    return [Number(value, S64 if has_sign else U64) for value in values]


def buckets_of(spec: MapSpec, values: Sequence[Expression], directory: Path) -> list[int]:
    """The bucket that each value is counted in, alone in its map."""
    writer = Writer(maps=[spec])
    for value in values:
        writer.out.line("memset(xcap_map_0_rows, 0, sizeof(xcap_map_0_rows));")
        writer.do(Update("@m", (), value, SPAN))
        for cell in ("rows[0].key.bucket", "rows[0].value.value", "rows[0].used", "rows[1].used"):
            writer.print_c(f"xcap_map_0_{cell}")
    found = writer.numbers(directory, CONTEXT)
    assert all(found[at + 1 : at + 4] == [1, 1, 0] for at in range(0, len(found), 4))
    return found[::4]


LINEAR = [
    Buckets(0, 1500, 100),
    Buckets(1, 2, 1),
    Buckets(10, 100, 9),
    Buckets(-100, 100, 10),
    Buckets(-1500, -10, 10),
    Buckets(-(2**62), 2**62, 2**60),
    Buckets(2**62 - 10, 2**62, 1),
]


@needs_compiler
@pytest.mark.parametrize("has_sign", [False, True])
@pytest.mark.parametrize("buckets", LINEAR, ids=str)
def test_linear_buckets(buckets: Buckets, has_sign: bool, tmp_path: Path) -> None:  # noqa: FBT001
    edges = [edge + by for edge in range(buckets.low, buckets.high + 1, buckets.step)[:40] for by in (-1, 0, 1)]
    edges += [buckets.high - 1, buckets.high, buckets.high + 1]
    values = [*SIGNED, *edges] if has_sign else [*UNSIGNED, *(edge for edge in edges if edge >= 0)]
    spec = map_of(Aggregation.LHIST, has_sign=has_sign, buckets=buckets)
    # as documented: 0 below `low`, one for each step, one for the rest
    starts = list(range(buckets.low, buckets.high + 1, buckets.step))
    wanted = [sum(value >= start for start in starts) for value in values]
    assert buckets_of(spec, numbers(values, has_sign=has_sign), tmp_path) == wanted


@needs_compiler
@pytest.mark.parametrize("kind", [U8, U16, U32, U64, S32, S64, IntType(8, signed=True)], ids=str)
def test_linear_buckets_of_values_of_every_width(kind: IntType, tmp_path: Path) -> None:
    spec = map_of(Aggregation.LHIST, has_sign=kind.signed, buckets=Buckets(0, 256, 8))
    values = [slot(index, kind) for index in range(len(WORDS))]
    told = [signed(meant(value)) if kind.signed else meant(value) for value in values]
    assert buckets_of(spec, values, tmp_path) == [0 if one < 0 else min(one, 256) // 8 + 1 for one in told]


@needs_compiler
@pytest.mark.parametrize("has_sign", [False, True])
def test_buckets_of_powers_of_two(has_sign: bool, tmp_path: Path) -> None:  # noqa: FBT001
    powers = [2**n + by for n in range(63) for by in (-1, 0, 1)]
    values = [*SIGNED, *powers] if has_sign else [*UNSIGNED, *powers]
    spec = map_of(Aggregation.HIST, has_sign=has_sign)
    wanted = [0 if value < 0 else 1 + value.bit_length() for value in values]
    assert buckets_of(spec, numbers(values, has_sign=has_sign), tmp_path) == wanted


def sequences(*, has_sign: bool) -> list[list[int]]:
    rng = random.Random(3)
    edges = SIGNED if has_sign else UNSIGNED
    return [[value] for value in edges] + [rng.choices(edges, k=rng.randrange(2, 12)) for _ in range(60)]


def kept(spec: MapSpec, values: Sequence[int], writer: Writer) -> None:
    """Print the parts of a map's value after some updates, on a CPU that had none before."""
    writer.out.line("memset(xcap_map_0_rows, 0, sizeof(xcap_map_0_rows));")
    writer.do(*(Update("@m", (), number, SPAN) for number in numbers(values, has_sign=spec.signed)))
    for member in spec.value.fields:
        writer.print_c(f"xcap_map_0_rows[0].value.{member.name}")


@needs_compiler
@pytest.mark.parametrize("has_sign", [False, True])
@pytest.mark.parametrize("aggregation", [Aggregation.MIN, Aggregation.MAX])
def test_the_least_and_the_largest(aggregation: Aggregation, has_sign: bool, tmp_path: Path) -> None:  # noqa: FBT001
    spec = map_of(aggregation, has_sign=has_sign)
    wanted = min if aggregation is Aggregation.MIN else max
    writer, all_values = Writer(maps=[spec]), sequences(has_sign=has_sign)
    for values in all_values:
        kept(spec, values, writer)
    found = writer.numbers(tmp_path)
    assert [spec.unfold(one) for one in found] == [wanted(values) for values in all_values]
    # CPUs are put together by the largest of what they keep; one that has seen nothing keeps zero
    rng = random.Random(4)
    for _ in range(200):
        chosen = rng.choices(range(len(found)), k=3)
        together = [value for one in chosen for value in all_values[one]]
        assert spec.unfold(max(0, *(found[one] for one in chosen))) == wanted(together)


@needs_compiler
@pytest.mark.parametrize("has_sign", [False, True])
@pytest.mark.parametrize("aggregation", [Aggregation.SUM, Aggregation.AVG, Aggregation.STATS])
def test_sums_and_counts(aggregation: Aggregation, has_sign: bool, tmp_path: Path) -> None:  # noqa: FBT001
    spec = map_of(aggregation, has_sign=has_sign)
    writer, all_values = Writer(maps=[spec]), sequences(has_sign=has_sign)
    for values in all_values:
        kept(spec, values, writer)
    counts = () if aggregation is Aggregation.SUM else (len,)
    assert writer.numbers(tmp_path) == [
        part % 2**64 for values in all_values for part in (*(count(values) for count in counts), sum(values))
    ]


@needs_compiler
def test_keys_are_counted_apart(tmp_path: Path) -> None:
    spec = map_of(Aggregation.COUNT, has_sign=False, keys=(U32, U64))
    writer = Writer(maps=[spec])
    seen = random.Random(6).choices([(a, b) for a in range(3) for b in range(4)], k=60)
    writer.do(*(Update("@m", (Number(a, U32), Number(b, U64)), None, SPAN) for a, b in seen))
    for row in range(16):
        for cell in ("key.k0", "key.k1", "value.value"):
            writer.print_c(f"xcap_map_0_rows[{row}].{cell}")
    found = writer.numbers(tmp_path)
    rows = {(found[at], found[at + 1]): found[at + 2] for at in range(0, len(found), 3) if found[at + 2]}
    assert rows == {key: seen.count(key) for key in seen}


@needs_compiler
@pytest.mark.parametrize("aggregation", [Aggregation.COUNT, Aggregation.VALUE])
def test_updates_of_a_full_map_are_counted(aggregation: Aggregation, tmp_path: Path) -> None:
    spec = map_of(aggregation, has_sign=False, keys=(U64,))
    writer = Writer(maps=[spec])
    for number in range(20):
        key = (Number(number, U64),)
        value = Number(1, U64)
        update = Update("@m", key, None, SPAN) if spec.per_cpu else SetKey("@m", key, "", value, SPAN)
        writer.do(update, update)
    writer.print_c("missed_")
    assert writer.numbers(tmp_path) == [8]


@needs_compiler
@pytest.mark.parametrize("has_sign", [False, True])
@pytest.mark.parametrize("operator", OPERATORS)
def test_a_value_is_reckoned_with_in_its_place(operator: str, has_sign: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """`@m[k] += value` and the like; a key that was not there was zero."""
    spec = map_of(Aggregation.VALUE, has_sign=has_sign, keys=(U64,))
    kind = S64 if has_sign else U64
    edges = SIGNED if has_sign else UNSIGNED
    rng = random.Random(operator)
    pairs: list[tuple[int | None, int]] = [(None, 5), (None, edges[-1])]
    pairs += [(rng.choice(edges), rng.choice([*edges, 1, 2, 63, 64])) for _ in range(60)]
    writer, key = Writer(maps=[spec]), (Number(3, U64),)
    for before, by in pairs:
        writer.out.line("memset(xcap_map_0_rows, 0, sizeof(xcap_map_0_rows));")
        if before is not None:
            writer.do(SetKey("@m", key, "", Number(before, kind), SPAN))
        writer.do(SetKey("@m", key, operator, Number(by, kind), SPAN))
        writer.print(MapValue("@m", key, kind))
    wanted = [OPERATORS[operator](before or 0, by) % 2**64 for before, by in pairs]
    assert writer.numbers(tmp_path) == [cut(one, kind) for one in wanted]
