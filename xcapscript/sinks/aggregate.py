"""Maps as text: counts and sums by key, histograms as bars.

A histogram's bucket 0 holds negative values, bucket 1 the value 0, and bucket 2 + n the values in [2^n, 2^(n+1)).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from xcapscript.diagnostics import escape
from xcapscript.layout import Value
from xcapscript.sinks.values import ValueText
from xcapscript.types import StackType, Type
from xcapscript.unit import Aggregation, MapSpec

INDENT = "    "
NARROWEST_BAR = 10

_NEGATIVE, _ZERO, _FIRST_POWER = 0, 1, 2
_LABEL_WIDTH, _COUNT_WIDTH = 16, 8
_SUFFIXES = ("", "K", "M", "G", "T", "P", "E")

Rows = Mapping[bytes, int]
"""A map's content: key as in the kernel, and the value summed over CPUs."""

_Key = tuple[Any, ...]
"""A key as it tells rows apart: values, where a stack is its frames' text as it is shown."""


class MapText:
    """Renders maps, `width` characters wide where that is ours to choose."""

    def __init__(self, values: ValueText, width: int) -> None:
        self._values = values
        self._width = width

    def lines(self, spec: MapSpec, rows: Rows, top: int | None = None) -> list[str]:
        """The map's lines, largest first; of its `top` largest keys only, if given. Keys that look alike are one."""
        if spec.aggregation is Aggregation.HIST:
            return self._histograms(spec, rows, top)
        types = [field.type for field in spec.key.fields]
        sums: defaultdict[_Key, int] = defaultdict(int)
        for data, value in rows.items():
            sums[self._key(types, spec.key.decode(data))] += value
        ranked = sorted(sums.items(), key=lambda row: (-row[1], row[0]))
        return [line for key, value in ranked[:top] for line in self._head(spec, types, key, f": {value}")]

    def _histograms(self, spec: MapSpec, rows: Rows, top: int | None) -> list[str]:
        types = [field.type for field in spec.key.fields[:-1]]
        histograms: defaultdict[_Key, Counter[int]] = defaultdict(Counter)
        for data, count in rows.items():
            *values, bucket = spec.key.decode(data)
            if count and isinstance(bucket, int):
                histograms[self._key(types, values)][bucket] += count
        ranked = sorted(histograms.items(), key=lambda row: (-row[1].total(), row[0]))
        lines = []
        for key, counts in ranked[:top]:
            lines += [*self._head(spec, types, key, ":"), *_bars(counts, self._width)]
        return lines

    def _key(self, types: Sequence[Type], values: Sequence[Value]) -> _Key:
        pairs = zip(types, values, strict=True)
        return tuple(
            tuple(self._values.frames(kind, value))
            if isinstance(kind, StackType) and isinstance(value, tuple)
            else value
            for kind, value in pairs
        )

    def _head(self, spec: MapSpec, types: Sequence[Type], key: _Key, end: str) -> list[str]:
        """`@name[key, key]` and `end`, over several lines if there is a stack in the key."""
        lines, line = [], f"@{spec.name.removeprefix('@')}{'[' if key else ''}"
        for index, (kind, part) in enumerate(zip(types, key, strict=True)):
            if isinstance(kind, StackType):
                lines += [f"{line}{',' if index else ''}", *(f"{INDENT}{frame}" for frame in part)]
                line = ""
            else:
                line += f"{', ' if index else ''}{escape(self._values.text(kind, part))}"
        return [*lines, f"{line}{']' if key else ''}{end}"]


def _bars(counts: Mapping[int, int], width: int) -> list[str]:
    """A line for each bucket from the first to the last that has values."""
    largest = max(counts.values())
    digits = max(_COUNT_WIDTH, len(str(largest)))
    room = max(NARROWEST_BAR, width - _LABEL_WIDTH - digits - len("  ||"))
    lines = []
    for bucket in range(min(counts), max(counts) + 1):
        count = counts.get(bucket, 0)
        bar = "@" * (count * room // largest)
        lines.append(f"{_bucket_label(bucket):<{_LABEL_WIDTH}} {count:>{digits}} |{bar:<{room}}|")
    return lines


def _bucket_label(bucket: int) -> str:
    if bucket == _NEGATIVE:
        return "(..., 0)"
    if bucket == _ZERO:
        return "[0]"
    if bucket == _FIRST_POWER:
        return "[1]"
    exponent = bucket - _FIRST_POWER
    return f"[{_power(exponent)}, {_power(exponent + 1)})"


def _power(exponent: int) -> str:
    return f"{1 << exponent % 10}{_SUFFIXES[exponent // 10]}"
