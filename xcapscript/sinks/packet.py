"""What the kernel tells of a packet besides its bytes, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from xcapscript.layout import PACKET, Direction, PacketFlag, Value
from xcapscript.sinks.values import text_of
from xcapscript.unit import EventSpec

DIRECTION_SHIFT = 2
DIRECTION_MASK = 3

SYNTHETIC = "synthetic"
"""What a packet is called whose headers were made up from a socket."""


@dataclass(frozen=True, slots=True)
class PacketMeta:
    """The fields of PACKET that say anything about the packet. What is unknown is 0 or empty."""

    cpu: int
    wire_len: int
    cap_len: int
    dropped: int
    hash: int
    gso_size: int
    gso_segs: int
    queue: int
    ifindex: int
    netns: int
    reason: int
    pid: int
    tid: int
    link: int
    flags: int
    mac: int
    comm: bytes
    ifname: bytes

    @classmethod
    def of(cls, values: Sequence[Value]) -> PacketMeta:
        """From the values of PACKET, or of a layout that begins as it does."""
        by_name: dict[str, Any] = {f.name: value for f, value in zip(PACKET.fields, values, strict=False)}
        return cls(**{name: by_name[name] for name in _NAMES})

    @classmethod
    def decode(cls, record: bytes | memoryview) -> PacketMeta:
        """From the bytes of a record."""
        return cls.of(PACKET.decode(record))

    @property
    def direction(self) -> Direction:
        return Direction(self.flags >> DIRECTION_SHIFT & DIRECTION_MASK)

    @property
    def synthetic(self) -> bool:
        """Whether it was made up from a socket."""
        return bool(self.flags & PacketFlag.SYNTHETIC)

    @property
    def partial(self) -> bool:
        """Whether more of it was wanted than could be read."""
        return bool(self.flags & PacketFlag.PARTIAL)

    def comment(self, spec: EventSpec, reasons: Mapping[int, str]) -> str:
        """One line on where it was, why and by whom: `drop NETFILTER_DROP pid=812 comm=ping netns=4026532281`."""
        words = [spec.hook]
        if self.synthetic:
            words.append(SYNTHETIC)
        if self.partial:
            words.append("partial")
        if spec.has_reason:
            words.append(self.reason_text(reasons))
        if self.comm or self.pid:  # a task may call itself nothing
            words += [f"pid={self.pid}", f"comm={text_of(self.comm)}"]
        if self.netns:
            words.append(f"netns={self.netns}")
        return " ".join(words)

    def reason_text(self, reasons: Mapping[int, str]) -> str:
        """The drop reason's name, or its number where the kernel's names don't have it."""
        return reasons.get(self.reason, str(self.reason))


_NAMES = tuple(f.name for f in fields(PacketMeta))
