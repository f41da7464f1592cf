from __future__ import annotations

from typing import Any

import pytest

from xcapscript.layout import lay_out
from xcapscript.repl.maptable import map_lines
from xcapscript.sinks.values import ValueText
from xcapscript.source import Source
from xcapscript.types import IFNAME, U32, U64, StackType, Type
from xcapscript.unit import Aggregation, MapSpec

VALUES = ValueText(
    ("drop",), lambda addresses, depth: [f"function{address}" for address in addresses if address][:depth]
)


def spec(aggregation: Aggregation, *keys: Type, value: Type = U64) -> MapSpec:
    names = [(f"k{index}", kind) for index, kind in enumerate(keys)]
    twice = aggregation in (Aggregation.AVG, Aggregation.STATS)
    kept = [("count", U64), ("total", U64)] if twice else [("value", value)]
    if aggregation is Aggregation.HIST:
        names.append(("bucket", U32))
    made = lay_out("key", names), lay_out("value", kept)
    return MapSpec("@m", "map_m", *made, aggregation, signed=False, max_entries=1024, span=Source("x", "@m").span(0, 2))


def key(of: MapSpec, *values: Any) -> bytes:
    data = bytearray(of.key.size)
    for field, value in zip(of.key.fields, values, strict=True):
        packed = value if isinstance(value, bytes) else value.to_bytes(4, "little")
        data[field.offset : field.offset + len(packed)] = packed
    return bytes(data)


def test_the_largest_comes_first_in_columns() -> None:
    m = spec(Aggregation.COUNT, IFNAME, U32)
    content = {key(m, b"eth0", 7): 5, key(m, b"lo", 1000): 12_345}
    assert map_lines(m, content, VALUES, 80) == [
        "@m             count",
        "  lo    1000  12,345",
        "  eth0  7          5",
    ]


def test_what_is_left_out_is_counted() -> None:
    m = spec(Aggregation.COUNT, U32)
    content = {key(m, number): number + 1 for number in range(1000)}
    lines = map_lines(m, content, VALUES, 80, 2)
    assert lines[1:] == ["  999  1,000", "  998    999", "... 998 more"]


def test_a_map_without_keys_is_one_row() -> None:
    assert map_lines(spec(Aggregation.SUM), {b"": 7}, VALUES, 80) == ["@m  sum", "      7"]


def test_several_values_are_several_columns() -> None:
    m = spec(Aggregation.STATS, U32)
    assert map_lines(m, {key(m, 1): (4, 10)}, VALUES, 80) == [
        "@m   count  average  total",
        "  1      4        2     10",
    ]
    m = spec(Aggregation.AVG, U32)
    assert map_lines(m, {key(m, 1): (4, 10)}, VALUES, 80) == ["@m   avg", "  1    2"]


def test_stacks_stand_below_their_row() -> None:
    m = spec(Aggregation.COUNT, U32, StackType(2))
    data = bytearray(m.key.size)
    data[0] = 9
    at = m.key.fields[1].offset
    data[at], data[at + 8] = 1, 2
    lines = map_lines(m, {bytes(data): 3}, VALUES, 80)
    assert lines == ["@m   count", "  9      3", "    function1", "    function2"]


def test_histograms_are_bars_that_fit() -> None:
    m = spec(Aggregation.HIST, U32)
    content = {key(m, 1, bucket): count for bucket, count in ((3, 5), (4, 50))}
    for width in (40, 80):
        lines = map_lines(m, content, VALUES, width)
        assert lines[0] == "@m[1]:"
        assert len(lines) == 3
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [30, 40, 60])
def test_a_table_keeps_to_the_width(width: int) -> None:
    m = spec(Aggregation.COUNT, IFNAME, IFNAME)
    content = {key(m, b"a-long-name-1", b"another-long-1"): 1_000_000, key(m, b"b", b"c"): 3}
    lines = map_lines(m, content, VALUES, width)
    assert max(map(len, lines)) < width
    assert lines[1].endswith("1,000,000")


def test_an_empty_map_says_so() -> None:
    assert map_lines(spec(Aggregation.COUNT, U32), {}, VALUES, 80) == ["@m is empty"]


def test_keys_cannot_steer_the_terminal() -> None:
    m = spec(Aggregation.COUNT, IFNAME)
    lines = map_lines(m, {key(m, b"\x1b[2Jx"): 1}, VALUES, 80)
    assert "\x1b" not in "".join(lines)
