"""The pcapng writer: an interface for each hook and device, and with every packet a comment on where, why and by whom.
What a packet's block holds besides time and bytes is made once for packets alike.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from sys import byteorder
from time import time_ns
from typing import Any

from xcapscript.layout import EVENT, PACKET, PacketFlag
from xcapscript.native.writer import Writer
from xcapscript.sinks.base import HookCounts
from xcapscript.sinks.blocks import (
    Statistics,
    comment_option,
    custom_option,
    dropcount_option,
    flags_option,
    hash_option,
    interface_description,
    interface_statistics,
    packet_frame,
    packets_in,
    queue_option,
    section_header,
    verdict_option,
    whole_blocks,
)
from xcapscript.sinks.metadata import CUSTOM_BINARY, Metadata
from xcapscript.sinks.output import Output
from xcapscript.sinks.packet import DIRECTION_SHIFT, PacketMeta
from xcapscript.sinks.packetfile import PacketFile
from xcapscript.sinks.values import ReasonNames, text_of
from xcapscript.unit import TC_ACT_UNSPEC, XDP_PASS, Attachment, EventSpec, HookKind, LinkType

KNOWN = 4096
"""How many shapes of one event are kept; then all are forgotten. They take a few MB at most."""

NO_DEVICE = "none"
"""if_name for packets that have no device, and were not seen in a program's file."""

KIND = slice(PACKET.field("ifindex").offset, PACKET.size)
"""Where in a record that is which packets alike have in common."""

_KEY = struct.Struct(f"=4x4s8x{PACKET.size - EVENT.size}s")  # of EVENT all but the id and the time
_HEAD = struct.Struct("=12sII8s")
_LOW = 0xFFFFFFFF
_MAC_SIZE = 6
_DIRECTION_AND_RECEPTION = 0x1F

VERDICTS = {
    HookKind.TC: verdict_option(1, TC_ACT_UNSPEC),
    HookKind.XDP: verdict_option(2, XDP_PASS),
}
"""What our programs answer, which is the same for all packets."""

_Shape = tuple[bytes, bytes, bytes, slice]
"""The three pieces of `packet_frame`, and where in the record the packet's bytes are."""


@dataclass(frozen=True, slots=True)
class _Interface:
    """Packets that agree in all of this share an interface."""

    hook: str
    attachment: Attachment
    filter: str | None
    name: str
    netns: int
    link: int
    mac: bytes

    def description(self) -> str:
        attachment = f"{self.attachment.kind}:{self.attachment.target}" if self.attachment.target else ""
        where = f"{self.hook} ({attachment})" if attachment not in ("", self.hook) else self.hook
        return f"{where} in netns {self.netns}" if self.netns else where


class PcapngSink(PacketFile):
    """A PacketSink that writes `to` (`-` is standard output), which it opens at once if it is a path. Raises SinkError.

    With a `writer`, it teaches C each kind of packet that it meets, and then meets none of that kind any more.
    """

    def __init__(
        self, to: str | Output, snaplen: int, *, writer: Writer | None = None, clock: Callable[[], int] = time_ns
    ) -> None:
        self._clock = clock
        self._start = clock()
        self._snaplen = snaplen
        self._interfaces: dict[_Interface, int] = {}
        self._shapes: defaultdict[int, dict[tuple[bytes, bytes], _Shape]] = defaultdict(dict)
        self._kinds: defaultdict[int, dict[bytes, tuple[int, bytes]]] = defaultdict(dict)
        self._reasons = ReasonNames()
        super().__init__(to, whole_blocks, packets_in, writer)
        self._file.begin(section_header())

    def dump(self, spec: EventSpec, time: int, record: memoryview) -> None:
        # Hot: every line here is paid for by each of some 200,000 packets a second.
        key = _KEY.unpack_from(record)
        try:
            before, lengths, behind, data = self._shapes[spec.id][key]
        except KeyError:
            before, lengths, behind, data = self._new_shape(spec, key, record)
        self._parts += (_HEAD.pack(before, time >> 32, time & _LOW, lengths), record[data], behind)
        self._unsettled += _HEAD.size + data.stop - data.start + len(behind)
        self._packets += 1
        if self._writer is not None:
            # what C writes next comes behind this
            self.settle()

    def close(self, counts: Mapping[str, HookCounts]) -> None:
        try:
            self.settle()
            self._file.put(self._empty() if not self._interfaces else self._statistics(counts))
        finally:
            self._file.close()

    def _empty(self) -> bytes:
        """tcpdump reads no file without an interface."""
        return interface_description(
            link=LinkType.EN10MB, snaplen=self._snaplen, name=NO_DEVICE, description="no packets"
        )

    def _new_shape(self, spec: EventSpec, key: tuple[bytes, bytes], record: memoryview) -> _Shape:
        packet = PacketMeta.decode(record)
        kind = record[KIND].tobytes()
        interface, shared = self._kind(spec, packet, kind)
        options = custom_option(CUSTOM_BINARY, Metadata.of(packet).encode()) + shared
        if self._writer is not None and self._writer.learn(spec.id, kind, interface, options):
            self._shapes.clear()
        options += _own(packet)
        frame = packet_frame(interface, captured=packet.cap_len, original=packet.wire_len, options=options)
        shapes = self._shapes[spec.id]
        _bound(shapes)
        shapes[key] = shape = (*frame, slice(spec.layout.size, spec.layout.size + packet.cap_len))
        return shape

    def _kind(self, spec: EventSpec, packet: PacketMeta, kind: bytes) -> tuple[int, bytes]:
        """The interface of packets alike, and the options that they have in common."""
        kinds = self._kinds[spec.id]
        if kind not in kinds:
            _bound(kinds)
            flags = packet.flags >> DIRECTION_SHIFT & _DIRECTION_AND_RECEPTION
            comment = comment_option(packet.comment(spec, self._reasons.of(spec)))
            options = (flags_option(flags) if flags else b"") + VERDICTS.get(spec.attachment.kind, b"") + comment
            kinds[kind] = self._interface_id(spec, packet), options
        return kinds[kind]

    def _interface_id(self, spec: EventSpec, packet: PacketMeta) -> int:
        name = text_of(packet.ifname) or spec.attachment.path or NO_DEVICE
        mac = packet.mac.to_bytes(8, byteorder)[:_MAC_SIZE]
        interface = _Interface(spec.hook, spec.attachment, spec.filter, name, packet.netns, packet.link, mac)
        if interface not in self._interfaces:
            self._interfaces[interface] = len(self._interfaces)
            block = interface_description(
                link=interface.link,
                snaplen=self._snaplen,
                name=name,
                description=interface.description(),
                filter_text=interface.filter,
                mac=mac if any(mac) else None,
            )
            self._parts.append(block)
            self._unsettled += len(block)
        return self._interfaces[interface]

    def _statistics(self, counts: Mapping[str, HookCounts]) -> bytes:
        end = self._clock()
        shared = Counter(interface.hook for interface in self._interfaces)
        seen: set[str] = set()
        blocks = []
        for interface, number in self._interfaces.items():
            hook = interface.hook
            sharing = _Sharing.NONE if shared[hook] == 1 else _Sharing.LATER if hook in seen else _Sharing.FIRST
            seen.add(hook)
            blocks.append(interface_statistics(number, _statistics(self._start, end, counts.get(hook), sharing)))
        return b"".join(blocks)


def _own(packet: PacketMeta) -> bytes:
    """The options that packets alike don't share."""
    options = queue_option(packet.queue - 1) if packet.queue else b""
    if packet.flags & PacketFlag.DEVICE_HASH:
        options += hash_option(packet.hash)
    return options + dropcount_option(packet.dropped) if packet.dropped else options


def _bound(known: dict[Any, Any]) -> None:
    if len(known) >= KNOWN:
        known.clear()


class _Sharing(Enum):
    """Whether an interface is one of several of its hook."""

    NONE = auto()
    FIRST = auto()
    LATER = auto()


def _statistics(start: int, end: int, count: HookCounts | None, sharing: _Sharing) -> Statistics:
    """The kernel counts by hook, so that of several interfaces none is known to have received or lost how many.

    What was lost is told at the first of them, so that it adds up to what it was.
    """
    if count is None:
        return Statistics(start, end)
    if sharing is _Sharing.NONE:
        return Statistics(start, end, count.received, count.dropped)
    if count.dropped == 0:
        return Statistics(start, end, dropped=0)
    if sharing is _Sharing.FIRST:
        return Statistics(start, end, dropped=count.dropped, comment="dropped at all interfaces of this hook together")
    return Statistics(start, end)
