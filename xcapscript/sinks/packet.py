"""What the kernel tells of a packet besides its bytes, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from xcapscript.layout import EVENT, PACKET, Value
from xcapscript.sinks.values import text_of
from xcapscript.unit import EventSpec

_HEADER = bytes(EVENT.size)
SYNTHETIC = 1


@dataclass(frozen=True, slots=True)
class PacketMeta:
    """The fields of PACKET that tell packets apart. What is unknown is 0 or empty."""

    wire_len: int
    cap_len: int
    netns: int
    reason: int
    pid: int
    link: int
    flags: int
    comm: bytes
    ifname: bytes

    @classmethod
    def of(cls, values: Sequence[Value]) -> PacketMeta:
        """From the values of PACKET, or of a layout that begins as it does."""
        by_name: dict[str, Any] = {f.name: value for f, value in zip(PACKET.fields, values, strict=False)}
        return cls(**{name: by_name[name] for name in _NAMES})

    @classmethod
    def decode(cls, meta: bytes) -> PacketMeta:
        """From the bytes of PACKET that follow EVENT."""
        return cls.of(PACKET.decode(_HEADER + meta))

    def comment(self, spec: EventSpec, reasons: Mapping[int, str]) -> str:
        """One line on where it was, why and by whom: `drop NETFILTER_DROP pid=812 comm=ping netns=4026532281`."""
        words = [spec.hook]
        if self.flags & SYNTHETIC:
            words.append("synthetic")
        if spec.has_reason:
            words.append(self.reason_text(reasons))
        if self.comm:
            words += [f"pid={self.pid}", f"comm={text_of(self.comm)}"]
        if self.netns:
            words.append(f"netns={self.netns}")
        return " ".join(words)

    def reason_text(self, reasons: Mapping[int, str]) -> str:
        """The drop reason's name, or its number where the kernel's names don't have it."""
        return reasons.get(self.reason, str(self.reason))


_NAMES = tuple(f.name for f in fields(PacketMeta))
