"""The bytes that cross the border between kernel and user space: one table of fields, from which codegen writes
the C struct and by which the readers decode it.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import assert_never

from xcapscript.types import (
    FRAME_SIZE,
    IFNAME,
    STACK_SLACK,
    TASK_COMM,
    U8,
    U16,
    U32,
    U64,
    ArrayType,
    EnumType,
    FlowType,
    InternedType,
    IntType,
    IpType,
    MacType,
    OpaqueType,
    PointerType,
    StackType,
    StringType,
    StructType,
    SymbolType,
    Type,
)

Value = int | bytes | tuple[int, ...]
"""A decoded field.

A number; the bytes of a string before its NUL, of an address or of a flow; or the addresses of a stack.
"""


@dataclass(frozen=True, slots=True)
class Field:
    """One member: its name in C, its type, and its offset in bytes."""

    name: str
    type: Type
    offset: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A C struct of `size` bytes in native byte order, its members naturally aligned, padding explicit and zero."""

    name: str
    fields: tuple[Field, ...]
    size: int

    def field(self, name: str) -> Field:
        """The member of that name; KeyError if there is none."""
        for member in self.fields:
            if member.name == name:
                return member
        raise KeyError(name)

    def decode(self, data: bytes | memoryview) -> tuple[Value, ...]:
        """The members' values, in order, of the `size` bytes at the start of `data`."""
        return tuple(_decode(member, data) for member in self.fields)


def lay_out(name: str, members: Iterable[tuple[str, Type]]) -> Layout:
    """Place members one after another, each at its natural alignment; the whole is padded to 8 bytes."""
    fields, at = [], 0
    for member, kind in members:
        size, alignment = size_of(kind), alignment_of(kind)
        at = -(-at // alignment) * alignment
        fields.append(Field(member, kind, at))
        at += size
    return Layout(name, tuple(fields), -(-at // 8) * 8)


def size_of(kind: Type) -> int:
    """Bytes that a value of this type takes in a record or a map key."""
    match kind:
        case IntType(bits):
            return bits // 8
        case StringType(size):
            return size
        case EnumType() | InternedType():
            return 4
        case StackType(depth):
            return (depth + STACK_SLACK) * FRAME_SIZE
        case PointerType() | MacType() | SymbolType():
            return 8
        case IpType():
            return IP_SIZE
        case FlowType():
            return FLOW.size
        case OpaqueType() | StructType() | ArrayType():
            raise ValueError(f"{kind} has no place in a record")
        case _:
            assert_never(kind)


def alignment_of(kind: Type) -> int:
    """Natural alignment in bytes."""
    match kind:
        case StringType():
            return 1
        case StackType():
            return FRAME_SIZE
        case IpType() | FlowType():
            return 8
        case _:
            return size_of(kind)


def _decode(member: Field, data: bytes | memoryview) -> Value:
    at, kind = member.offset, member.type
    match kind:
        case IntType(bits, signed):
            return int.from_bytes(data[at : at + bits // 8], _BYTE_ORDER, signed=signed)
        case StringType(size):
            return bytes(data[at : at + size]).split(b"\0", 1)[0]
        case EnumType() | InternedType():
            return int.from_bytes(data[at : at + 4], _BYTE_ORDER)
        case PointerType() | MacType() | SymbolType():
            return int.from_bytes(data[at : at + 8], _BYTE_ORDER)
        case IpType() | FlowType():
            return bytes(data[at : at + size_of(kind)])
        case StackType(depth):
            frames = struct.unpack_from(f"={depth + STACK_SLACK}Q", data, at)
            return frames[: frames.index(0)] if 0 in frames else frames
        case OpaqueType() | StructType() | ArrayType():
            raise ValueError(f"{kind} has no place in a record")
        case _:
            assert_never(kind)


_BYTE_ORDER = sys.byteorder
IP_SIZE = 16

FLOW = lay_out(
    "xcap_flow",
    [("src", IpType()), ("dst", IpType()), ("sport", U16), ("dport", U16), ("proto", U8), ("pad8", U8), ("pad", U16)],
)
"""A flow, all of it padded with zeros, so that flows that are alike are one key."""

EVENT = lay_out("xcap_event", [("id", U32), ("cpu", U32), ("time", U64)])
"""How every record in the ring begins: which of `Unit.events`, on which CPU, CLOCK_MONOTONIC in ns."""

PACKET = lay_out(
    "xcap_packet_event",
    [
        *((f.name, f.type) for f in EVENT.fields),
        ("wire_len", U32),
        ("cap_len", U32),
        ("dropped", U32),
        ("hash", U32),
        ("gso_size", U16),
        ("gso_segs", U16),
        ("queue", U16),
        ("zero", U16),
        ("ifindex", U32),
        ("netns", U32),
        ("reason", U32),
        ("pid", U32),
        ("tid", U32),
        ("link", U16),
        ("flags", U16),
        ("mac", U64),
        ("comm", TASK_COMM),
        ("ifname", IFNAME),
    ],
)
"""A packet: wire_len bytes on the wire, of which cap_len follow this struct, beginning at a header of DLT `link`.
`dropped` counts those that were lost on this CPU since the last that was not; `queue` is one more than the number of
the device's queue, and 0 where that is not known; `mac` is the device's address, as it lies in memory. From `ifindex`
on it is the same for packets alike, so that what is made from it can be kept."""


class PacketFlag(IntFlag):
    """Bits of `flags`; the others hold a Direction and a Reception."""

    SYNTHETIC = 1
    """Made up from a socket."""

    PARTIAL = 2
    """More of it was wanted than could be read."""

    DEVICE_HASH = 128
    """`hash` was made by the network card."""


class Direction(IntEnum):
    """In bits 2 and 3 of `flags`; the numbers are those of epb_flags."""

    UNKNOWN = 0
    INBOUND = 1
    OUTBOUND = 2


class Reception(IntEnum):
    """In bits 4 to 6 of `flags`; the numbers are those of epb_flags."""

    UNKNOWN = 0
    UNICAST = 1
    MULTICAST = 2
    BROADCAST = 3
    PROMISCUOUS = 4
