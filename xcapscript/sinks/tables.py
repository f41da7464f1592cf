"""A map's rows in the order in which they are shown: keys that look alike are one, and the row that matters most is
the first.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xcapscript.layout import Value
from xcapscript.sinks.values import ValueText
from xcapscript.types import IntType, StackType, Type
from xcapscript.unit import Aggregation, MapSpec

Content = Mapping[bytes, Value]
"""What is read from a map: key as in the kernel, and the value put together over the CPUs."""

HISTOGRAMS = frozenset({Aggregation.HIST, Aggregation.LHIST})

_NEGATIVE, _ZERO, _FIRST_POWER = 0, 1, 2
_NO_VALUES: Counter[int] = Counter()


@dataclass(frozen=True, slots=True)
class Row:
    """A key, in which a stack is its frames' text as it is shown, and what the map has for it.

    That is a number; of avg() and stats() the count and the total; of a histogram a Counter of its buckets; of a plain
    map any value, in which too a stack is its frames' text.
    """

    key: tuple[Any, ...]
    value: Any


class Table:
    """Makes rows of maps."""

    def __init__(self, values: ValueText) -> None:
        self._values = values

    def rows(self, spec: MapSpec, content: Content, top: int | None = None) -> list[Row]:
        """The rows of a map, or its first `top`.

        Largest first; min() smallest first; avg() by average, stats() by total, histograms by how many values they
        have; plain maps by value where it is an integer, else by key. Rows that are equal in this are ordered by key.
        """
        rows = self._plain(spec, content) if spec.aggregation is Aggregation.VALUE else self._merged(spec, content)
        return sorted(rows, key=lambda row: (_rank(spec, row.value), row.key))[:top]

    def _plain(self, spec: MapSpec, content: Content) -> list[Row]:
        """Values are not put together, so that keys that look alike are one only where their values do, too."""
        kind, types = value_type(spec), key_types(spec)
        pairs = ((self._key(types, spec.key.decode(data)), self._shown(kind, value)) for data, value in content.items())
        return [Row(key, value) for key, value in dict.fromkeys(pairs)]

    def _merged(self, spec: MapSpec, content: Content) -> list[Row]:
        types, merge = key_types(spec), _MERGE[spec.aggregation]
        found: dict[tuple[Any, ...], Any] = {}
        value: Any
        for data, kept in content.items():
            parts, value = spec.key.decode(data), kept
            key = self._key(types, parts[: len(types)])
            if spec.aggregation in HISTOGRAMS:
                value = Counter({parts[-1]: kept} if kept else {})
            found[key] = merge(found[key], value) if key in found else value
        return [Row(key, _settled(spec, value)) for key, value in found.items() if value != _NO_VALUES]

    def _key(self, types: Sequence[Type], values: Sequence[Value]) -> tuple[Any, ...]:
        return tuple(self._shown(kind, value) for kind, value in zip(types, values, strict=True))

    def _shown(self, kind: Type, value: Value) -> Any:
        if isinstance(kind, StackType) and isinstance(value, tuple):
            return tuple(self._values.frames(kind, value))
        return value


def key_types(spec: MapSpec) -> list[Type]:
    """The types of what stands between the brackets: a histogram's bucket does not."""
    types = [field.type for field in spec.key.fields]
    return types[:-1] if spec.aggregation in HISTOGRAMS else types


def value_type(spec: MapSpec) -> Type:
    """The type of a plain map's values."""
    return spec.value.fields[0].type


def average(count: int, total: int) -> int:
    """Rounded toward zero, as C divides; 0 of nothing."""
    if not count:
        return 0
    size = abs(total) // count
    return -size if total < 0 else size


def bucket_bounds(spec: MapSpec, bucket: int) -> tuple[int | None, int | None]:
    """The smallest value in a histogram's bucket, and the smallest above it; None where there is no end.

    Of hist(), bucket 0 holds negative values, bucket 1 the value 0, and bucket 2 + n the values in [2^n, 2^(n+1)).
    """
    if spec.buckets is not None:
        low, high, step = spec.buckets.low, spec.buckets.high, spec.buckets.step
        start = low + (bucket - 1) * step
        if bucket == 0:
            return None, low
        return (high, None) if start >= high else (start, min(start + step, high))
    if bucket == _NEGATIVE:
        return None, 0
    if bucket == _ZERO:
        return 0, 1
    return 1 << bucket - _FIRST_POWER, 1 << bucket - _FIRST_POWER + 1


def _rank(spec: MapSpec, value: Any) -> int:
    match spec.aggregation:
        case Aggregation.MIN:
            return int(value)
        case Aggregation.AVG:
            return -average(*value)
        case Aggregation.STATS:
            return -int(value[1])
        case Aggregation.HIST | Aggregation.LHIST:
            return -int(value.total())
        case Aggregation.VALUE if not isinstance(value_type(spec), IntType):
            return 0
        case _:
            return -int(value)


def _settled(spec: MapSpec, value: Any) -> Any:
    """min() and max() of keys that zero() has emptied are 0."""
    extreme = spec.aggregation in (Aggregation.MIN, Aggregation.MAX)
    return 0 if extreme and value == spec.unfold(0) else value


def _add_each(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(map(sum, zip(one, other, strict=True)))


_MERGE: Mapping[Aggregation, Callable[[Any, Any], Any]] = {
    Aggregation.COUNT: operator.add,
    Aggregation.SUM: operator.add,
    Aggregation.MIN: min,
    Aggregation.MAX: max,
    Aggregation.AVG: _add_each,
    Aggregation.STATS: _add_each,
    Aggregation.HIST: operator.add,
    Aggregation.LHIST: operator.add,
}
