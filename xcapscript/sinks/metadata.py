"""The structured option that goes with every packet of a pcapng file: what its comment says, and more, for programs.

It is a custom option (draft-ietf-opsawg-pcapng, section 3.5.1) that may be copied. Without an enterprise number of our
own it has the one that RFC 5612 keeps for examples, and begins with a mark by which it is known. docs/pcapng.md has
its layout; what a later version adds stands behind it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields

from xcapscript.sinks.packet import PacketMeta

CUSTOM_BINARY = 2989
"""The option's code."""

ENTERPRISE = 32473
MARK = b"xcap"
VERSION = 1

_LAYOUT = struct.Struct("=I4sHHIHHH2xIIIIII16s")
"""The enterprise number, the mark, the version, and the fields of Metadata: native byte order, as the section's."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the kernel told of a packet; what it did not know is 0 or empty.

    `flags` are PacketFlag, Direction and Reception; `hash` is skb->hash; `queue` is one more than the queue's number;
    `reason` is the kernel's number of the drop reason; `netns` is the namespace's inode.
    """

    flags: int
    hash: int
    gso_size: int
    gso_segs: int
    queue: int
    cpu: int
    ifindex: int
    netns: int
    reason: int
    pid: int
    tid: int
    comm: bytes

    @classmethod
    def of(cls, packet: PacketMeta) -> Metadata:
        return cls(*(getattr(packet, name) for name in _NAMES))

    def encode(self) -> bytes:
        """The option's value."""
        return _LAYOUT.pack(ENTERPRISE, MARK, VERSION, *(getattr(self, name) for name in _NAMES))

    @classmethod
    def decode(cls, value: bytes) -> Metadata | None:
        """From the value of a custom option; None if it is not one of ours."""
        if len(value) < _LAYOUT.size:
            return None
        enterprise, mark, version, *values = _LAYOUT.unpack_from(value)
        if (enterprise, mark) != (ENTERPRISE, MARK) or version < VERSION:
            return None
        values[-1] = values[-1].split(b"\0", 1)[0]
        return cls(*values)


_NAMES = tuple(field.name for field in fields(Metadata))
