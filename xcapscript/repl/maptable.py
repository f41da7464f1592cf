"""A map as a table: a column a key, the largest value first; histograms as bars. It fits into the terminal's width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xcapscript.diagnostics import escape
from xcapscript.layout import Value
from xcapscript.sinks.aggregate import MapText, map_name
from xcapscript.sinks.tables import HISTOGRAMS, Row, Table, average, key_types, value_type
from xcapscript.sinks.values import ValueText
from xcapscript.types import StackType
from xcapscript.unit import Aggregation, MapSpec

_HEADINGS: Mapping[Aggregation, tuple[str, ...]] = {
    Aggregation.AVG: ("avg",),
    Aggregation.STATS: ("count", "average", "total"),
    Aggregation.VALUE: ("value",),
}
_GAP = "  "
_SHORTEST = 6
"""Characters of a key that are kept where there is no room for more."""


def map_lines(
    spec: MapSpec, content: Mapping[bytes, Value], values: ValueText, width: int, top: int | None = None
) -> list[str]:
    """The lines of a map, at most `width` wide where that is ours to choose; of its `top` first keys only, if given."""
    rows = Table(values).rows(spec, content, top)
    if not rows:
        return [f"{map_name(spec.name)} is empty"]
    if spec.aggregation in HISTOGRAMS or isinstance(value_type(spec), StackType):
        return MapText(values).lines(spec, content, width, top)
    kinds = key_types(spec)
    flat = [index for index, kind in enumerate(kinds) if not isinstance(kind, StackType)]
    stacks = [index for index, kind in enumerate(kinds) if isinstance(kind, StackType)]
    keys = [[escape(values.text(kinds[index], row.key[index])) for index in flat] for row in rows]
    numbers = [_numbers(spec, values, row) for row in rows]
    more = len(Table(values).rows(spec, content)) - len(rows) if top is not None else 0
    return [
        *_table(spec, keys, numbers, [[row.key[index] for index in stacks] for row in rows], width),
        *([f"... {more:,} more"] if more else []),
    ]


def _numbers(spec: MapSpec, values: ValueText, row: Row) -> list[str]:
    match spec.aggregation:
        case Aggregation.AVG:
            return [f"{average(*row.value):,}"]
        case Aggregation.STATS:
            count, total = row.value
            return [f"{count:,}", f"{average(count, total):,}", f"{total:,}"]
        case Aggregation.VALUE:
            return [escape(values.text(value_type(spec), row.value))]
        case _:
            return [f"{row.value:,}"]


def _table(
    spec: MapSpec,
    keys: Sequence[Sequence[str]],
    numbers: Sequence[Sequence[str]],
    stacks: Sequence[Sequence[Sequence[str]]],
    width: int,
) -> list[str]:
    headings = _HEADINGS.get(spec.aggregation, (spec.aggregation.value,))
    rights = [max(map(len, column)) for column in zip(headings, *numbers, strict=True)]
    lefts = [max(map(len, column)) for column in zip(*keys, strict=True)]
    gaps = len(_GAP) * (1 + len(rights) + max(0, len(lefts) - 1))
    lefts = _narrowed(lefts, width - 1 - sum(rights) - gaps)
    name = map_name(spec.name)
    left = max(len(name), sum(lefts) + len(_GAP) * max(1, len(lefts)))
    lines = [name.ljust(left) + _right(headings, rights)]
    for key, number, below in zip(keys, numbers, stacks, strict=True):
        cells = _GAP.join(_cut(cell, size).ljust(size) for cell, size in zip(key, lefts, strict=True))
        lines.append(f"{_GAP}{cells}".ljust(left) + _right(number, rights))
        lines += [f"{_GAP * 2}{escape(frame)}" for stack in below for frame in stack]
    return lines


def _right(cells: Sequence[str], sizes: Sequence[int]) -> str:
    return "".join(f"{_GAP}{cell:>{size}}" for cell, size in zip(cells, sizes, strict=True))


def _narrowed(widths: list[int], room: int) -> list[int]:
    """The widest columns give way until all have room, or are as narrow as can be."""
    widths = list(widths)
    while widths and sum(widths) > room and max(widths) > _SHORTEST:
        widest = widths.index(max(widths))
        widths[widest] -= 1
    return widths


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[: size - 2]}.."
