"""The state that programs and user space share: the gate and the limit."""

from __future__ import annotations

import mmap
import struct
from time import monotonic_ns

LIVE = 0
EXITED = 1
REMAINING_OFFSET = 8
STARTED_OFFSET = 16
ASLEEP = 6


class Control:
    """`struct xcap_control` of bpf/include/xcap/runtime.h, mapped."""

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._words = memoryview(self._map).cast("I")
        struct.pack_into("=Q", self._map, STARTED_OFFSET, monotonic_ns())

    def limit(self, count: int) -> None:
        """How many hits may be sent."""
        struct.pack_into("=q", self._map, REMAINING_OFFSET, count)

    def open_gate(self) -> None:
        """Let the programs run, unless one has said exit."""
        if not self._words[EXITED]:
            self._words[LIVE] = 1

    def close_gate(self) -> None:
        """Make every program return at once."""
        self._words[LIVE] = 0

    def asleep(self, yes: bool) -> None:  # noqa: FBT001
        """Whether we wait for the next record, which is then to wake us up."""
        self._words[ASLEEP] = yes

    @property
    def exited(self) -> bool:
        """Whether a program said exit, or spent the limit."""
        return bool(self._words[EXITED])

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self._map.close()
