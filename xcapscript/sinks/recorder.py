"""A flight recorder: the last packets are kept in memory, and written when something happens."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from xcapscript.native.keeper import Keeper
from xcapscript.sinks.base import SinkError
from xcapscript.unit import EventSpec

Dump = Callable[[EventSpec, int, memoryview], None]
"""Takes a packet: `PacketSink.dump`, or what stands before it."""


class Recorder:
    """Keeps the last `size` packets, until they are dumped. With a `keeper` it is C that keeps them."""

    def __init__(self, dump: Dump, size: int, keeper: Keeper | None = None) -> None:
        self._dump = dump
        self._kept: deque[tuple[EventSpec, int, bytes]] = deque(maxlen=size)
        self._open_until = 0
        self.keeper = keeper
        self.specs: dict[int, EventSpec] = {}
        """Of the events that C keeps, by their ids."""

    def keep(self, spec: EventSpec, time: int, record: memoryview) -> None:
        """Take a packet, at `time` ns since 1970; just after a commit it is written at once."""
        if time < self._open_until:
            self._dump(spec, time, record)
        elif self.keeper is None:
            self._kept.append((spec, time, bytes(record)))
        else:
            try:
                self.keeper.keep(time, bytes(record))
            except MemoryError:
                raise SinkError("there is no memory for so many packets: keep fewer of them") from None

    def commit(self, time: int, after: int) -> None:
        """Write what is kept, and what comes in the `after` ns from `time` on."""
        for spec, when, record in self._taken():
            self._dump(spec, when, memoryview(record))
        self._open_until = max(self._open_until, time + after)
        if self.keeper is not None:
            self.keeper.open_until(self._open_until)

    def _taken(self) -> Iterator[tuple[EventSpec, int, bytes]]:
        """What is kept, oldest first; then nothing is."""
        while self._kept:
            yield self._kept.popleft()
        if self.keeper is not None:
            for event, when, record in self.keeper.take():
                yield self.specs[event], when, record
