"""A flight recorder: the last packets are kept in memory, and written when something happens."""

from __future__ import annotations

from collections import deque

from xcapscript.sinks.base import PacketSink
from xcapscript.unit import EventSpec


class Recorder:
    """Keeps the last `size` packets for a file."""

    def __init__(self, sink: PacketSink, size: int) -> None:
        self._sink = sink
        self._kept: deque[tuple[EventSpec, int, bytes]] = deque(maxlen=size)
        self._open_until = 0

    def keep(self, spec: EventSpec, time: int, record: memoryview) -> None:
        """Take a packet, at `time` ns since 1970; just after a commit it is written at once."""
        if time < self._open_until:
            self._sink.dump(spec, time, record)
        else:
            self._kept.append((spec, time, bytes(record)))

    def commit(self, time: int, after: int) -> None:
        """Write what is kept, and what comes in the `after` ns from `time` on."""
        while self._kept:
            spec, when, record = self._kept.popleft()
            self._sink.dump(spec, when, memoryview(record))
        self._open_until = max(self._open_until, time + after)
