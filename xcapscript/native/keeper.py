"""The last packets, kept in C."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator


class _Kept(ctypes.Structure):
    """struct kept"""

    _fields_ = [
        ("time", ctypes.c_uint64),
        ("event", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("capacity", ctypes.c_uint32),
        ("record", ctypes.c_void_p),
    ]


class _Keeper(ctypes.Structure):
    """struct keeper"""

    _fields_ = [
        ("count", ctypes.c_uint64),
        ("limit", ctypes.c_uint64),
        ("open_until", ctypes.c_uint64),
        ("places", ctypes.POINTER(_Kept)),
    ]

    count: int
    limit: int
    open_until: int


class Keeper:
    """Keeps the last `limit` packets. MemoryError if there is no room for so many."""

    def __init__(self, library: ctypes.CDLL, limit: int) -> None:
        self._library = library
        self.address = library.xcap_keeper_new(limit)
        if not self.address:
            raise MemoryError
        self._state = _Keeper.from_address(self.address)

    def __del__(self) -> None:
        if getattr(self, "address", None):
            self._library.xcap_keeper_free(self.address)

    def open_until(self, time: int) -> None:
        """Leave what comes before `time` (ns since 1970) to Python."""
        self._state.open_until = time

    def keep(self, time: int, record: bytes) -> None:
        """Keep a packet that C did not. MemoryError if there is no room for it."""
        if not self._library.xcap_keep(self.address, record, time):
            raise MemoryError

    def take(self) -> Iterator[tuple[int, int, bytes]]:
        """Event, time and bytes of those that are kept, oldest first; then none is."""
        state = self._state
        for number in range(max(0, state.count - state.limit), state.count):
            kept = state.places[number % state.limit]
            yield kept.event, kept.time, ctypes.string_at(kept.record, kept.size)
        state.count = 0
