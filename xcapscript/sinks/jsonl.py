"""Events as JSON for programs: an object a line, in ASCII, with its keys in a fixed order (docs/json.md and
docs/events.schema.json).
"""

from __future__ import annotations

import json
import time as clock
from collections.abc import Mapping
from typing import Any

from xcapscript.errors import CompilerBug
from xcapscript.event import Event
from xcapscript.layout import PACKET, PacketFlag, Value
from xcapscript.sinks.aggregate import map_name
from xcapscript.sinks.base import HookCounts
from xcapscript.sinks.lines import Lines
from xcapscript.sinks.statements import Formatter, payload
from xcapscript.sinks.summary import summarise
from xcapscript.sinks.tables import Row, Table, average, bucket_bounds, key_types, value_type
from xcapscript.sinks.values import ReasonNames, ValueText, clean
from xcapscript.types import StackType, Type
from xcapscript.unit import Aggregation, EventKind, MapSpec

_SECOND = 1_000_000_000
_LARGEST = (1 << 64) - 1

_Object = dict[str, Any]


class JsonSink:
    """An EventSink for programs."""

    def __init__(self, lines: Lines, values: ValueText) -> None:
        self._lines = lines
        self._values = values
        self._formatter = Formatter(values)
        self._table = Table(values)
        self._reasons = ReasonNames()

    def write(self, event: Event) -> None:
        match event.spec.kind:
            case EventKind.LINE | EventKind.STACK | EventKind.HEX:
                self._put("packet", event.time, self._packet(event))
            case EventKind.PRINT:
                values = [self._values.data(kind, value) for kind, value in payload(event)]
                self._put("print", event.time, {"hook": event.spec.hook, "cpu": event.cpu, "values": values})
            case EventKind.PRINTF:
                text = clean(self._formatter.text(event))
                self._put("printf", event.time, {"hook": event.spec.hook, "cpu": event.cpu, "text": text})
            case kind:
                raise CompilerBug(f"{kind} was sent to be printed")

    def print_map(self, spec: MapSpec, content: Mapping[bytes, Value], time: int, top: int | None) -> None:
        types = key_types(spec)
        rows = [
            {
                "key": [self._shown(kind, part) for kind, part in zip(types, row.key, strict=True)],
                "value": self._value(spec, row),
            }
            for row in self._table.rows(spec, content, top)
        ]
        self._put("map", time, {"name": map_name(spec.name), "aggregation": str(spec.aggregation), "rows": rows})

    def flush(self) -> None:
        self._lines.flush()

    def close(self, time: int, counts: Mapping[str, HookCounts], missed: Mapping[str, int]) -> None:
        hooks = [
            {"hook": hook, "hits": count.received, "lost": count.dropped, "missed": count.missed}
            for hook, count in counts.items()
        ]
        full = [{"name": map_name(name), "missed": number} for name, number in missed.items()]
        try:
            self._put("end", time, {"hooks": hooks, "full": full})
        finally:
            self._lines.close()

    def _put(self, kind: str, time: int, rest: _Object) -> None:
        line = json.dumps({"type": kind, "time": _moment(time), "ns": time, **rest}, separators=(",", ":"))
        self._lines.write(f"{line}\n")

    def _packet(self, event: Event) -> _Object:
        spec, data = event.spec, event.packet or b""
        found: _Object = {f.name: value for f, value in zip(PACKET.fields, event.values, strict=False)}
        reasons = self._reasons.of(spec)
        return {
            "hook": spec.hook,
            "ifname": found["ifname"].decode("utf-8", "backslashreplace"),
            **{name: found[name] for name in ("ifindex", "netns", "pid", "tid")},
            "comm": found["comm"].decode("utf-8", "backslashreplace"),
            "cpu": event.cpu,
            **({"reason": reasons.get(found["reason"], str(found["reason"]))} if spec.has_reason else {}),
            "len": found["wire_len"],
            "summary": summarise(data, found["link"], found["wire_len"]),
            **({"stack": self._stack(event)} if spec.kind is EventKind.STACK else {}),
            **({"caplen": found["cap_len"], "bytes": data.hex()} if spec.kind is EventKind.HEX else {}),
            **({"synthetic": True} if found["flags"] & PacketFlag.SYNTHETIC else {}),
            **({"partial": True} if found["flags"] & PacketFlag.PARTIAL else {}),
        }

    def _stack(self, event: Event) -> list[str]:
        return [
            frame
            for kind, value in payload(event)
            if isinstance(kind, StackType) and isinstance(value, tuple)
            for frame in self._values.frames(kind, value)
        ]

    def _value(self, spec: MapSpec, row: Row) -> Any:
        match spec.aggregation:
            case Aggregation.HIST | Aggregation.LHIST:
                return {"buckets": [_bucket(spec, bucket, row.value[bucket]) for bucket in sorted(row.value)]}
            case Aggregation.AVG:
                return average(*row.value)
            case Aggregation.STATS:
                count, total = row.value
                return {"count": count, "average": average(count, total), "total": total}
            case Aggregation.VALUE:
                return self._shown(value_type(spec), row.value)
            case _:
                return row.value

    def _shown(self, kind: Type, part: Any) -> int | str | list[str]:
        """A value of a row, where a stack is text already."""
        return list(part) if isinstance(kind, StackType) else self._values.data(kind, part)


def _bucket(spec: MapSpec, bucket: int, count: int) -> _Object:
    low, high = bucket_bounds(spec, bucket)
    # the last bucket of hist() ends where numbers of 64 bits do
    return {"low": low, "high": None if high is not None and high > _LARGEST else high, "count": count}


def _moment(time: int) -> str:
    """UTC, as RFC 3339 writes it, with nanoseconds."""
    second, rest = divmod(time, _SECOND)
    return f"{clock.strftime('%Y-%m-%dT%H:%M:%S', clock.gmtime(second))}.{rest:09}Z"
