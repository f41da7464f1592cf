"""The pcap writer, for programs that know no pcapng: times and bytes, and nothing of where, why and by whom.

All packets of a file have one link type, which is Ethernet's: one that begins with its IP header gets a MAC header of
zeros before it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from xcapscript.layout import PACKET
from xcapscript.native.writer import Writer
from xcapscript.sinks.base import HookCounts
from xcapscript.sinks.output import Output
from xcapscript.sinks.packetfile import PacketFile
from xcapscript.unit import EventSpec, LinkType

NANOSECONDS = 0xA1B23C4D
"""The magic of files whose times are in ns: pcap-savefile(5)."""

LARGEST = 262_144
"""tcpdump's own largest snaplen."""

_FILE = struct.Struct("=IHHiIII")
_RECORD = struct.Struct("=IIII")
_SECOND = 1_000_000_000
_IPV6 = 6
_MAC = {version: bytes(12) + kind for version, kind in ((4, b"\x08\x00"), (_IPV6, b"\x86\xdd"))}
_FIELDS = struct.Struct("=II")
_WIRE_LEN, _LINK = PACKET.field("wire_len").offset, PACKET.field("link").offset


def file_header(snaplen: int) -> bytes:
    """What a file begins with: pcap-savefile(5)."""
    return _FILE.pack(NANOSECONDS, 2, 4, 0, 0, snaplen or LARGEST, LinkType.EN10MB)


def whole_records(blocks: bytes | memoryview, limit: int) -> int:
    """Of the first `limit` bytes of these records, how many belong to records that are complete within them."""
    at = 0
    while at + _RECORD.size <= limit:
        end = at + _RECORD.size + _RECORD.unpack_from(blocks, at)[2]
        if end > limit:
            break
        at = end
    return at


def records_from(records: bytes | memoryview, start: int) -> int:
    """How many records there are from `start` on."""
    count, at = 0, start
    while at + _RECORD.size <= len(records):
        at += _RECORD.size + _RECORD.unpack_from(records, at)[2]
        count += 1
    return count


class PcapSink(PacketFile):
    """A PacketSink that writes `to` (`-` is standard output), which it opens at once if it is a path.

    With a `writer`, C writes what it has room for. Raises SinkError.
    """

    def __init__(self, to: str | Output, snaplen: int, *, writer: Writer | None = None) -> None:
        super().__init__(to, whole_records, records_from, writer)
        self._file.begin(file_header(snaplen))

    def dump(self, spec: EventSpec, time: int, record: memoryview) -> None:
        wire_len, cap_len = _FIELDS.unpack_from(record, _WIRE_LEN)
        (link,) = struct.unpack_from("=H", record, _LINK)
        size = spec.layout.size
        data = record[size : size + cap_len]
        before = _MAC.get(data[0] >> 4, _MAC[4]) if link == LinkType.RAW and cap_len else b""
        second, rest = divmod(time, _SECOND)
        self._parts += (_RECORD.pack(second, rest, cap_len + len(before), wire_len + len(before)), before, data)
        self._unsettled += _RECORD.size + len(before) + cap_len
        self._packets += 1
        if self._writer is not None:
            # what C writes next comes behind this
            self.settle()

    def close(self, counts: Mapping[str, HookCounts]) -> None:  # noqa: ARG002 -- a pcap file has no place for counts
        try:
            self.settle()
        finally:
            self._file.close()
