"""Packet sockets by the index of their interface, since Python's own calls take its name, and only one in UTF-8.

Source: packet(7), net/packet/af_packet.c.
"""

from __future__ import annotations

import ctypes
import socket
import struct

from xcapscript.kernel.libbpf import check, libc

_ADDRESS = struct.Struct("=HHi12x")
"""struct sockaddr_ll: family, protocol, index."""


def bind(descriptor: int, protocol: int, index: int) -> None:
    """Let a packet socket see the interface of that index. Raises OSError."""
    address = _ADDRESS.pack(socket.AF_PACKET, socket.htons(protocol), index)
    check(libc().bind(descriptor, address, len(address)))


def bound_index(descriptor: int) -> int:
    """The index of its interface, -1 when that was removed. Raises OSError."""
    room, size = ctypes.create_string_buffer(_ADDRESS.size), ctypes.c_uint32(_ADDRESS.size)
    check(libc().getsockname(descriptor, room, ctypes.byref(size)))
    return int(_ADDRESS.unpack(room.raw)[2])
