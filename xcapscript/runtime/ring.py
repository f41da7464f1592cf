"""The ring buffer, mapped: records are taken in batches, in the order of the kernel's clock, without a callback.

Layout: a consumer page, a producer page, then the data mapped twice (kernel/bpf/ringbuf.c).
"""

from __future__ import annotations

import mmap
from operator import itemgetter
from time import monotonic_ns

BUSY = 1 << 31
DISCARDED = 1 << 30
LENGTH = DISCARDED - 1
HEADER = 8

WINDOW = 1_000_000
"""ns that a record may be late: two CPUs take the time before they take their places in the ring."""

BATCH = 8192
"""Records taken at once at the most, so that the ring is given back while the rest is worked on."""

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
        self.unfinished = False

    def take(self, *, final: bool = False) -> list[Record]:
        """The records that have come, oldest first; those younger than the window wait, unless it is the last time."""
        position, producer = self._consumer[0], self._producer[0]
        horizon = (1 << 64) - 1 if final else monotonic_ns() - WINDOW
        words, quads, data = self._words, self._quads, self._data
        at = position & (self._size - 1)
        end = at + (producer - position)
        start = at
        records: list[Record] = []
        latest = 0
        sorted_so_far = True
        while at < end and len(records) < BATCH:
            length = words[at >> 2]
            if length & BUSY:
                break
            if not length & DISCARDED:
                body = (at + HEADER) >> 3
                time = quads[body + 1]
                if time > horizon:
                    break
                if time < latest:
                    sorted_so_far = False
                latest = time
                records.append((time, words[body << 1], data[at + HEADER : at + HEADER + (length & LENGTH)]))
            at += ((length & LENGTH) + HEADER + 7) & ~7
        if not sorted_so_far:
            records.sort(key=_time_of)
        self._next = position + (at - start)
        self.unfinished = at < end
        return records

    def release(self) -> None:
        """Give the batch's place back to the kernel: its records are no longer valid."""
        self._consumer[0] = self._next

    def close(self) -> None:
        """Unmap the ring, once no record of it is held any more."""
        for view in (self._quads, self._words, self._data, self._producer, self._consumer):
            view.release()
