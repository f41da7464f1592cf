"""Perf buffers, one for each CPU, mapped: their records are taken in batches, in the order of the kernel's clock.

Layout: a page that says how far it is written and read, then the data (linux/perf_event.h).
"""

from __future__ import annotations

import mmap
import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from time import monotonic_ns

from xcapscript.errors import KernelError
from xcapscript.kernel.bpf import online_cpus, update
from xcapscript.kernel.perfevents import open_output
from xcapscript.native.ring import NativeRing
from xcapscript.runtime.ring import BATCH, BUSY_SHARE, WINDOW, Record

SAMPLE = 9
"""PERF_RECORD_SAMPLE. Another, PERF_RECORD_LOST, says nothing that the programs have not counted."""

HEAD, TAIL = 1024 // 8, 1032 // 8
"""Where in struct perf_event_mmap_page data_head and data_tail are, in words."""

RAW = 12
"""Where in a sample its bytes begin: behind struct perf_event_header and their number."""

LOOK = 500_000_000
"""ns between two looks at which CPUs run."""

END_OF_TIME = 1 << 64

_HEADER = struct.Struct("=IHH")
_EVENT = struct.Struct("=I4xQ")

_Entry = tuple[int, int, Record]
"""Time, position, and the record."""

_time_of = itemgetter(0)


class CpuBuffer:
    """Reads the buffer of one CPU, which is `pages` of data behind `mapped`'s first page."""

    def __init__(self, cpu: int, mapped: mmap.mmap) -> None:
        self.cpu = cpu
        self.offline = False
        whole = memoryview(mapped)
        self._positions = whole[: mmap.PAGESIZE].cast("Q")
        self._data = whole[mmap.PAGESIZE :]
        self._next = self._positions[TAIL]
        self._waiting: list[_Entry] = []
        self.more = False

    def read(self, most: int) -> None:
        """Look at what has come, until `most` records wait to be given."""
        head, position = self._positions[HEAD], self._next
        data, size, waiting = self._data, len(self._data), self._waiting
        while position < head and len(waiting) < most:
            at = position & (size - 1)
            kind, _, length = _HEADER.unpack_from(data, at)
            if kind == SAMPLE:
                end = at + length
                # what goes over the end of the data goes on at its beginning
                record = data[at + RAW : end] if end <= size else _joined(data[at:], data[: end - size])
                event, time = _EVENT.unpack_from(record)
                waiting.append((time, position, (time, event, record)))
            position += length
        self._next = position
        self.more = position < head
        # an interrupt's record takes its time later than the one it interrupts, and may have its place before
        waiting.sort()

    @property
    def latest(self) -> int:
        """The time of the youngest that waits, if any does."""
        return self._waiting[-1][0]

    def give(self, horizon: int) -> list[Record]:
        """Those that are as old as `horizon`; they are valid until `release`."""
        waiting = self._waiting
        count = bisect_right(waiting, horizon, key=_time_of)
        self._waiting = waiting[count:]
        return [record for _, _, record in waiting[:count]]

    def release(self) -> None:
        """Give the place of all that was given back to the kernel."""
        self._positions[TAIL] = min((position for _, position, _ in self._waiting), default=self._next)

    @property
    def busy(self) -> bool:
        """Whether much waits to be read."""
        return (self._positions[HEAD] - self._positions[TAIL]) * BUSY_SHARE > len(self._data)

    @property
    def empty(self) -> bool:
        return not self._waiting and self._positions[HEAD] == self._next

    def close(self) -> None:
        """Unmap it, once no record of it is held any more."""
        self._waiting.clear()
        self._data.release()
        self._positions.release()


def available_memory() -> int:
    """Bytes that can be had without anything going wrong."""
    with Path("/proc/meminfo").open(encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))


def _joined(end: memoryview, beginning: memoryview) -> memoryview:
    return memoryview(b"".join((end, beginning)))[RAW:]


class PerfBuffers:
    """Reads the perf buffers of all CPUs as one, as Ring does a ring; `pages` is the size of all together.

    KernelError if the kernel does not give them.
    """

    def __init__(self, descriptor: int, pages: int, online: Callable[[], frozenset[int]] = online_cpus) -> None:
        self._map = descriptor
        self._online = online
        cpus = online()
        # a power of two, as the kernel wants it
        self._pages = 1 << (max(1, pages // len(cpus)).bit_length() - 1)
        size = self._pages * mmap.PAGESIZE
        message = f"the kernel does not give us {size} bytes a CPU to buffer packets in"
        # it would end other programs to make room for these
        if size * len(cpus) > available_memory():
            raise KernelError(f"{message}: there is less memory than that", advice="try a smaller --buffer-size")
        try:
            self._buffers = [self._open(cpu) for cpu in sorted(cpus)]
        except OSError as error:
            advice = "try a smaller --buffer-size; without CAP_IPC_LOCK, kernel.perf_event_mlock_kb limits it"
            raise KernelError(f"{message}: {error.strerror}", advice=advice) from None
        self._look_at = monotonic_ns() + LOOK
        self.full = False
        self.busy = False
        self.unfinished = False
        """Never: what is not finished is not seen."""

    def _open(self, cpu: int) -> CpuBuffer:
        descriptor = open_output(cpu)
        try:
            size = (1 + self._pages) * mmap.PAGESIZE
            mapped = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            update(self._map, struct.pack("=I", cpu), struct.pack("=i", descriptor))
        finally:
            # the map and the mapping have it
            os.close(descriptor)
        return CpuBuffer(cpu, mapped)

    def take(self, *, final: bool = False) -> Sequence[Record]:
        """The records that have come, oldest first. The youngest wait for one that may be late, unless it is the last
        time and there are no more in the buffers.
        """
        now = monotonic_ns()
        if now >= self._look_at:
            self._look_at = now + LOOK
            self._follow()
        self.busy = any(buffer.busy for buffer in self._buffers)
        for buffer in self._buffers:
            buffer.read(max(1, BATCH // len(self._buffers)))
        horizon = END_OF_TIME if final else now - WINDOW
        # where not all was read, what follows has not been seen
        seen = min((buffer.latest for buffer in self._buffers if buffer.more), default=END_OF_TIME)
        self.full = seen < END_OF_TIME
        # what was read of a CPU may lie within a window
        return self._give(min(horizon, seen - WINDOW)) or self._give(min(horizon, seen))

    def _give(self, horizon: int) -> list[Record]:
        records = [record for buffer in self._buffers for record in buffer.give(horizon)]
        records.sort(key=_time_of)
        return records

    def _follow(self) -> None:
        """Take over CPUs that have come, and let go of those that are gone. What a CPU sends without a buffer is lost,
        and counted by the programs.
        """
        online = self._online()
        for buffer in self._buffers:
            # a CPU that comes back has to be asked for a new one
            buffer.offline |= buffer.cpu not in online
        self._buffers = [buffer for buffer in self._buffers if not (buffer.offline and buffer.empty)]
        new = online - {buffer.cpu for buffer in self._buffers if not buffer.offline}
        for cpu in sorted(new):
            # one that is refused is asked for again at the next look
            with suppress(OSError):
                self._buffers.append(self._open(cpu))

    @property
    def native(self) -> NativeRing | None:
        """C does not read these."""
        return None

    @property
    def waiting(self) -> bool:
        """Whether there are records that take() has not given."""
        return not all(buffer.empty for buffer in self._buffers)

    def release(self) -> None:
        """Give the batch's place back to the kernel: its records are no longer valid."""
        for buffer in self._buffers:
            buffer.release()

    def close(self) -> None:
        """Unmap the buffers, once no record of them is held any more."""
        for buffer in self._buffers:
            buffer.close()
