"""The ring buffer, read in C."""

from __future__ import annotations

import ctypes
import os


class Record(ctypes.Structure):
    """struct record: time (CLOCK_MONOTONIC, ns), event id, and where in the ring's data its bytes begin."""

    _fields_ = [("time", ctypes.c_uint64), ("event", ctypes.c_uint32), ("at", ctypes.c_uint32)]

    time: int
    event: int
    at: int


class _Ring(ctypes.Structure):
    """struct ring"""

    _fields_ = [
        ("consumer", ctypes.c_void_p),
        ("producer", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_uint64),
        ("position", ctypes.c_uint64),
        ("end", ctypes.c_uint64),
        ("horizon", ctypes.c_uint64),
        ("unfinished", ctypes.c_uint32),
        ("full", ctypes.c_uint32),
        ("capacity", ctypes.c_uint32),
        ("records", ctypes.POINTER(Record)),
    ]

    unfinished: int
    full: int
    position: int
    end: int
    capacity: int


class NativeRing:
    """One ring buffer of `size` bytes; at most `batch` records are taken at once. OSError if it cannot be mapped."""

    def __init__(self, library: ctypes.CDLL, descriptor: int, size: int, batch: int) -> None:
        self._library = library
        self.address = library.xcap_ring_open(descriptor, size, batch)
        if not self.address:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self.state = _Ring.from_address(self.address)

    def record(self, index: int) -> Record:
        """One of those that were taken last."""
        found: Record = self.state.records[index]
        return found

    def take(self, now: int, window: int, *, final: bool) -> int:
        """How many `records` have come, that are older than `window` ns unless it is the last time."""
        return int(self._library.xcap_ring_take(self.address, now, window, final))

    def release(self) -> None:
        """Give the batch's place back to the kernel."""
        self._library.xcap_ring_release(self.address)

    def close(self) -> None:
        """Unmap it."""
        self._library.xcap_ring_close(self.address)
