"""The ring buffer, mapped: records are taken in batches, in the order of the kernel's clock, without a callback.

Layout: a consumer page, a producer page, then the data mapped twice (kernel/bpf/ringbuf.c).
"""

from __future__ import annotations

import ctypes
import mmap
from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter
from time import monotonic_ns
from typing import overload

from xcapscript.native import library
from xcapscript.native.ring import NativeRing

BUSY = 1 << 31
DISCARDED = 1 << 30
LENGTH = DISCARDED - 1
HEADER = 8

WINDOW = 1_000_000
"""ns that a record may be late: two CPUs take the time before they take their places in the ring."""

BATCH = 8192
"""Records taken at once at the most, so that the ring is given back while the rest is worked on."""

BUSY_SHARE = 64
"""The part of a buffer, as one in so many, that comes between two looks when it is looked at often."""

Record = tuple[int, int, memoryview]
"""Time (CLOCK_MONOTONIC, ns), event id, and the whole record, which is valid until the batch is released."""

_time_of = itemgetter(0)


class Ring:
    """Reads one ring buffer; `pages` is its size."""

    def __init__(self, descriptor: int, pages: int) -> None:
        self._size = pages * mmap.PAGESIZE
        page = mmap.PAGESIZE
        read_write = mmap.PROT_READ | mmap.PROT_WRITE
        self._consumer = memoryview(mmap.mmap(descriptor, page, mmap.MAP_SHARED, read_write, offset=0)).cast("Q")
        rest = memoryview(mmap.mmap(descriptor, page + 2 * self._size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page))
        self._producer = rest[:page].cast("Q")
        self._data = rest[page:]
        self._words = self._data.cast("I")
        self._quads = self._data.cast("Q")
        self._next = self._consumer[0]
        self._waiting: list[Record] = []
        self._sorted = True
        self.unfinished = False
        self.full = False
        self.busy = False

    def take(self, *, final: bool = False) -> Sequence[Record]:
        """The records that have come, oldest first. The youngest wait for one that may be late, unless it is the last
        time and there are no more in the ring.
        """
        taken = self._read()
        if not taken and not self._waiting:
            return taken
        records = self._waiting + taken if self._waiting else taken
        if self._waiting or not self._sorted:
            records.sort(key=_time_of)
        # of a full batch, what follows has not been seen
        horizon = records[-1][0] if final or self.full else monotonic_ns()
        if self.full or not final:
            horizon -= WINDOW
        ready = bisect_right(records, horizon, key=_time_of)
        # what waits outlives its place in the ring
        self._waiting = [(time, event, memoryview(bytes(record))) for time, event, record in records[ready:]]
        return records[:ready]

    def _read(self) -> list[Record]:
        """The finished records at the head of the ring, a batch at the most."""
        position, producer = self._consumer[0], self._producer[0]
        self.busy = (producer - position) * BUSY_SHARE > self._size
        words, quads, data = self._words, self._quads, self._data
        at = start = position & (self._size - 1)
        end = at + (producer - position)
        records: list[Record] = []
        latest = 0
        self._sorted = True
        while at < end and len(records) < BATCH:
            length = words[at >> 2]
            if length & BUSY:
                break
            if not length & DISCARDED:
                body = (at + HEADER) >> 3
                time = quads[body + 1]
                if time < latest:
                    self._sorted = False
                latest = time
                records.append((time, words[body << 1], data[at + HEADER : at + HEADER + (length & LENGTH)]))
            at += ((length & LENGTH) + HEADER + 7) & ~7
        self._next = position + (at - start)
        self.unfinished = at < end
        self.full = len(records) == BATCH
        return records

    @property
    def native(self) -> NativeRing | None:
        """The ring as C knows it, if C reads it."""
        return None

    @property
    def waiting(self) -> bool:
        """Whether there are records that take() has not given."""
        return bool(self._waiting) or self.unfinished

    def release(self) -> None:
        """Give the batch's place back to the kernel: its records are no longer valid."""
        self._consumer[0] = self._next

    def close(self) -> None:
        """Unmap the ring, once no record of it is held any more."""
        for view in (self._quads, self._words, self._data, self._producer, self._consumer):
            view.release()


def open_ring(descriptor: int, pages: int) -> Ring:
    """The reader of a ring: C where it was built."""
    found = library()
    return Ring(descriptor, pages) if found is None else RingInC(found, descriptor, pages)


class RingInC(Ring):
    """A Ring of whose records only those are touched here that are asked for. OSError if it cannot be mapped."""

    def __init__(self, lib: ctypes.CDLL, descriptor: int, pages: int) -> None:
        super().__init__(descriptor, pages)
        self._native = NativeRing(lib, descriptor, self._size, BATCH)
        self._held = False

    @property
    def native(self) -> NativeRing:
        return self._native

    def take(self, *, final: bool = False) -> Sequence[Record]:
        count = self._native.take(monotonic_ns(), WINDOW, final=final)
        state = self._native.state
        self.full, self.unfinished = bool(state.full), bool(state.unfinished)
        self._held = state.position != state.end
        self.busy = (state.end - self._consumer[0]) * BUSY_SHARE > self._size
        return _Records(self._native, self._data, self._words, count)

    @property
    def waiting(self) -> bool:
        return self._held or self.unfinished

    def release(self) -> None:
        self._native.release()

    def close(self) -> None:
        self._native.close()
        super().close()


class _Records(Sequence[Record]):
    """A batch as C has found it."""

    def __init__(self, ring: NativeRing, data: memoryview, words: memoryview, count: int) -> None:
        self._ring = ring
        self._data = data
        self._words = words
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._count))]
        if index >= self._count:
            raise IndexError(index)
        record = self._ring.record(index)
        at = record.at
        return record.time, record.event, self._data[at : at + self._words[(at - HEADER) >> 2]]
