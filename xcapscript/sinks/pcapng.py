"""The pcapng writer: an interface for each hook and device, and with every packet a comment on where, why and by whom.
What a packet's block holds besides time and bytes is made once for packets alike.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from time import time_ns
from typing import Any

from xcapscript.layout import EVENT, PACKET
from xcapscript.sinks.base import HookCounts
from xcapscript.sinks.blocks import (
    Statistics,
    comment_option,
    interface_description,
    interface_statistics,
    packet_frame,
    section_header,
    whole_blocks,
)
from xcapscript.sinks.packet import PacketMeta
from xcapscript.sinks.pending import Pending
from xcapscript.sinks.values import ReasonNames, text_of
from xcapscript.unit import Attachment, EventSpec, LinkType

KNOWN = 4096
"""How many shapes of one event are kept; then all are forgotten. They take a few MB at most."""

NO_DEVICE = "none"
"""if_name for packets that have no device."""

_META = slice(EVENT.size, PACKET.size)
_LENGTHS = struct.Struct("=II")  # wire_len and cap_len, with which PACKET goes on after EVENT
_HEAD = struct.Struct("=12sII8s")
_LOW = 0xFFFFFFFF

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

    def description(self) -> str:
        attachment = f"{self.attachment.kind}:{self.attachment.target}" if self.attachment.target else ""
        where = f"{self.hook} ({attachment})" if attachment not in ("", self.hook) else self.hook
        return f"{where} in netns {self.netns}" if self.netns else where


class PcapngSink:
    """A PacketSink that writes `path` (`-` is standard output), which it opens at once. Raises SinkError."""

    def __init__(self, path: str, snaplen: int, *, clock: Callable[[], int] = time_ns) -> None:
        self._clock = clock
        self._start = clock()
        self._snaplen = snaplen
        self._interfaces: dict[_Interface, int] = {}
        self._shapes: defaultdict[int, dict[bytes, _Shape]] = defaultdict(dict)
        self._kinds: defaultdict[int, dict[bytes, tuple[int, bytes]]] = defaultdict(dict)
        self._reasons = ReasonNames()
        self._parts: list[bytes | memoryview] = []
        self._packets = 0
        self._file = Pending(path, whole_blocks)
        self._file.put(section_header())
        self._file.flush()

    def dump(self, spec: EventSpec, time: int, record: memoryview) -> None:
        # Hot: every line here is paid for by each of some 200,000 packets a second.
        meta = record[_META].tobytes()
        try:
            before, lengths, behind, data = self._shapes[spec.id][meta]
        except KeyError:
            before, lengths, behind, data = self._new_shape(spec, meta)
        self._parts += (_HEAD.pack(before, time >> 32, time & _LOW, lengths), record[data], behind)
        self._packets += 1

    @property
    def packets(self) -> int | None:
        """How many packets were taken; None when writing failed, as nobody has counted what was cut off."""
        return None if self._file.failed else self._packets

    def settle(self) -> None:
        blocks = b"".join(self._parts)
        self._parts.clear()
        self._file.put(blocks)

    def flush(self) -> None:
        self._file.flush()

    def close(self, counts: Mapping[str, HookCounts]) -> None:
        try:
            self.settle()
            self._file.put(self._empty() if not self._interfaces else self._statistics(counts))
        finally:
            self._file.close()

    def _empty(self) -> bytes:
        """tcpdump reads no file without an interface."""
        return interface_description(
            link=LinkType.EN10MB, snaplen=self._snaplen, name=NO_DEVICE, description="no packets", filter_text=None
        )

    def _new_shape(self, spec: EventSpec, meta: bytes) -> _Shape:
        kinds, shapes = self._kinds[spec.id], self._shapes[spec.id]
        origin = meta[_LENGTHS.size :]
        if origin not in kinds:
            _bound(kinds)
            kinds[origin] = self._new_kind(spec, PacketMeta.decode(meta))
        interface, comment = kinds[origin]
        original, captured = _LENGTHS.unpack_from(meta)
        frame = packet_frame(interface, captured=captured, original=original, options=comment)
        _bound(shapes)
        shapes[meta] = shape = (*frame, slice(spec.layout.size, spec.layout.size + captured))
        return shape

    def _new_kind(self, spec: EventSpec, packet: PacketMeta) -> tuple[int, bytes]:
        return self._interface_id(spec, packet), comment_option(packet.comment(spec, self._reasons.of(spec)))

    def _interface_id(self, spec: EventSpec, packet: PacketMeta) -> int:
        name = text_of(packet.ifname) or NO_DEVICE
        interface = _Interface(spec.hook, spec.attachment, spec.filter, name, packet.netns, packet.link)
        if interface not in self._interfaces:
            self._interfaces[interface] = len(self._interfaces)
            block = interface_description(
                link=interface.link,
                snaplen=self._snaplen,
                name=name,
                description=interface.description(),
                filter_text=interface.filter,
            )
            self._parts.append(block)
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


def _bound(known: dict[bytes, Any]) -> None:
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
