"""Enhanced Packet Blocks, made in C for packets of kinds that are known; and the records of pcap files."""

from __future__ import annotations

import ctypes

from xcapscript.native.keeper import Keeper
from xcapscript.native.ring import NativeRing

CAPACITY = 256 * 1024
"""Bytes of blocks that a writer holds: they stay in the processor's cache until they are written."""

NO_LIMIT = (1 << 64) - 1


class _Writer(ctypes.Structure):
    """The beginning of struct writer."""

    _fields_ = [
        ("buffer", ctypes.c_void_p),
        ("size", ctypes.c_uint64),
        ("capacity", ctypes.c_uint64),
        ("file_size", ctypes.c_uint64),
        ("packets", ctypes.c_uint64),
        ("size_limit", ctypes.c_uint64),
        ("time_limit", ctypes.c_uint64),
        ("known", ctypes.c_uint32),
    ]

    size: int
    file_size: int
    packets: int
    size_limit: int
    time_limit: int
    known: int


class Writer:
    """The blocks of a file that are not written yet, and the kinds of packets that C makes blocks of."""

    def __init__(self, library: ctypes.CDLL, capacity: int = CAPACITY, *, pcap: bool = False) -> None:
        self._library = library
        self.address = library.xcap_writer_new(capacity, pcap)
        if not self.address:
            raise MemoryError
        self._state = _Writer.from_address(self.address)
        self._buffer = memoryview((ctypes.c_char * capacity).from_address(self._state.buffer)).cast("B")

    def __del__(self) -> None:
        if getattr(self, "address", None):
            self._library.xcap_writer_free(self.address)

    @property
    def pending(self) -> memoryview:
        """The blocks that are here, until `clear`."""
        return self._buffer[: self._state.size]

    @property
    def file_size(self) -> int:
        """Bytes that have been here since `begin_file`."""
        return self._state.file_size

    @property
    def packets(self) -> int:
        """How many packets C has made blocks of since `begin_file`."""
        return self._state.packets

    def put(self, blocks: bytes) -> bool:
        """Take blocks made elsewhere; whether there is room."""
        return bool(self._library.xcap_writer_put(self.address, blocks, len(blocks)))

    def clear(self) -> None:
        """What was pending has been written."""
        self._state.size = 0

    def count(self, size: int) -> None:
        """Bytes went into the file past this buffer."""
        self._state.file_size += size

    def learn(self, event: int, kind: bytes, interface: int, options: bytes) -> bool:
        """From now on C makes the blocks of these packets: on an interface, with options, the structured one first.

        Whether it had to forget all other kinds for it.
        """
        known = self._state.known
        if not self._library.xcap_writer_learn(self.address, event, kind, interface, options, len(options)):
            raise MemoryError
        return self._state.known < known

    def begin_file(self) -> None:
        """Forget all kinds: a new file has interfaces of its own."""
        self._library.xcap_writer_forget(self.address)
        self._state.file_size = self._state.packets = self._state.size = 0
        self.limit()

    def limit(self, *, size: int = NO_LIMIT, time: int = NO_LIMIT) -> None:
        """Leave packets to Python once the file has more than `size` bytes, and those from `time` (ns) on."""
        # larger numbers would become small ones there
        self._state.size_limit, self._state.time_limit = min(size, NO_LIMIT), min(time, NO_LIMIT)


class Writers:
    """Which writer has the packets of which event, or which keeper."""

    def __init__(self, library: ctypes.CDLL, events: int) -> None:
        self._library = library
        self._writers = (ctypes.c_void_p * max(1, events))()
        self._keepers = (ctypes.c_void_p * max(1, events))()
        self._kept: list[Writer | Keeper] = []

    def make(self, *, pcap: bool = False) -> Writer:
        """A writer, for a file that is pcapng or pcap."""
        made = Writer(self._library, pcap=pcap)
        self._kept.append(made)
        return made

    def make_keeper(self, limit: int) -> Keeper:
        """A keeper of so many packets."""
        made = Keeper(self._library, limit)
        self._kept.append(made)
        return made

    def keep(self, event: int, keeper: Keeper) -> None:
        """The packets of an event are kept there."""
        self._keepers[event] = keeper.address

    def assign(self, event: int, writer: Writer) -> None:
        """The packets of an event are that file's."""
        self._writers[event] = writer.address

    def write(self, ring: NativeRing, start: int, end: int, offset: int) -> int:
        """Write or keep the ring's records from `start` on, `offset` ns added to their times.

        The number of the first that is for neither, or not without help; `end` if there is none.
        """
        return int(self._library.xcap_write(ring.address, start, end, offset, self._writers, self._keepers))
