"""Maps as text: a line for each key, histograms as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xcapscript.diagnostics import escape
from xcapscript.sinks.tables import (
    HISTOGRAMS,
    Content,
    Row,
    Table,
    average,
    bucket_bounds,
    key_types,
    value_type,
)
from xcapscript.sinks.values import ValueText
from xcapscript.types import StackType, Type
from xcapscript.unit import Aggregation, MapSpec

INDENT = "    "
NARROWEST, NARROWEST_BAR = 40, 10
"""Columns that a terminal is taken to have at least, and those of a bar for which labels and counts move together."""

_LABEL_WIDTH, _COUNT_WIDTH = 16, 8
_SUFFIXES = ("", "K", "M", "G", "T", "P", "E")


class MapText:
    """Renders maps."""

    def __init__(self, values: ValueText) -> None:
        self._values = values
        self._table = Table(values)

    def lines(self, spec: MapSpec, content: Content, width: int, top: int | None = None) -> list[str]:
        """The map's lines in the order of `Table.rows`, of its `top` first keys only, if given.

        They are `width` characters wide where that is ours to choose.
        """
        types = key_types(spec)
        return [
            line
            for row in self._table.rows(spec, content, top)
            for line in (*self._head(spec, types, row), *self._body(spec, row, max(width, NARROWEST)))
        ]

    def _head(self, spec: MapSpec, types: Sequence[Type], row: Row) -> list[str]:
        """`@name[key, key]: value`, over several lines if there is a stack in the key."""
        lines, line = [], f"{map_name(spec.name)}{'[' if row.key else ''}"
        for index, (kind, part) in enumerate(zip(types, row.key, strict=True)):
            if isinstance(kind, StackType):
                lines += [f"{line}{',' if index else ''}", *(f"{INDENT}{frame}" for frame in part)]
                line = ""
            else:
                line += f"{', ' if index else ''}{escape(self._values.text(kind, part))}"
        return [*lines, f"{line}{']' if row.key else ''}:{self._value(spec, row)}"]

    def _value(self, spec: MapSpec, row: Row) -> str:
        """What stands behind the colon."""
        match spec.aggregation:
            case Aggregation.HIST | Aggregation.LHIST:
                return ""
            case Aggregation.AVG:
                return f" {average(*row.value)}"
            case Aggregation.STATS:
                count, total = row.value
                return f" count {count}, average {average(count, total)}, total {total}"
            case Aggregation.VALUE if isinstance(value_type(spec), StackType):
                return ""
            case Aggregation.VALUE:
                return f" {escape(self._values.text(value_type(spec), row.value))}"
            case _:
                return f" {row.value}"

    def _body(self, spec: MapSpec, row: Row, width: int) -> list[str]:
        """What stands below."""
        if spec.aggregation in HISTOGRAMS:
            return _bars(spec, row.value, width)
        if spec.aggregation is Aggregation.VALUE and isinstance(value_type(spec), StackType):
            return [f"{INDENT}{frame}" for frame in row.value]
        return []


def map_name(name: str) -> str:
    """As it is written, with its `@`."""
    return f"@{name.removeprefix('@')}"


def _bars(spec: MapSpec, counts: Mapping[int, int], width: int) -> list[str]:
    """A line for each bucket from the first to the last that has values."""
    largest = max(counts.values())
    buckets = range(min(counts), max(counts) + 1)
    labels = [_bucket_label(spec, bucket) for bucket in buckets]
    left, right, room = _columns(max(map(len, labels)), len(str(largest)), width)
    lines = []
    for bucket, label in zip(buckets, labels, strict=True):
        count = counts.get(bucket, 0)
        bar = "@" * (count * room // largest)
        lines.append(f"{label:<{left}} {count:>{right}}" + (f" |{bar:<{room}}|" if room else ""))
    return lines


def _columns(label: int, digits: int, width: int) -> tuple[int, int, int]:
    """How wide labels, counts and bars are.

    Labels and counts are as wide as is usual where that leaves room for bars, else no wider than they must be. Without
    any room there are no bars: a line never wraps because of its bar.
    """
    left, right = max(label, _LABEL_WIDTH), max(digits, _COUNT_WIDTH)
    if width - left - right - len("  ||") < NARROWEST_BAR:
        left, right = label, digits
    return left, right, max(0, width - left - right - len("  ||"))


def _bucket_label(spec: MapSpec, bucket: int) -> str:
    low, high = bucket_bounds(spec, bucket)
    if low is None:
        return f"(..., {_short(high or 0)})"
    if high is None:
        return f"[{_short(low)}, ...)"
    if spec.aggregation is Aggregation.HIST and high - low == 1:
        return f"[{low}]"
    return f"[{_short(low)}, {_short(high)})"


def _short(number: int) -> str:
    """With a suffix where the number is a multiple of 1024."""
    power = 0
    while number and number % 1024 == 0 and power < len(_SUFFIXES) - 1:
        number, power = number // 1024, power + 1
    return f"{number}{_SUFFIXES[power]}"
