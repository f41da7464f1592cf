"""A flight recorder: the last packets are kept in memory, and written when something happens."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from xcapscript.unit import EventSpec

Dump = Callable[[EventSpec, int, memoryview], None]
"""Takes a packet: `PacketSink.dump`, or what stands before it."""


class Recorder:
    """Keeps the last `size` packets, until they are dumped."""

    def __init__(self, dump: Dump, size: int) -> None:
        self._dump = dump
        self._kept: deque[tuple[EventSpec, int, bytes]] = deque(maxlen=size)
        self._open_until = 0

    def keep(self, spec: EventSpec, time: int, record: memoryview) -> None:
        """Take a packet, at `time` ns since 1970; just after a commit it is written at once."""
        if time < self._open_until:
            self._dump(spec, time, record)
        else:
            self._kept.append((spec, time, bytes(record)))

    def commit(self, time: int, after: int) -> None:
        """Write what is kept, and what comes in the `after` ns from `time` on."""
        while self._kept:
            spec, when, record = self._kept.popleft()
            self._dump(spec, when, memoryview(record))
        self._open_until = max(self._open_until, time + after)
