"""Sockets that see an interface's packets where tcpdump sees them: their filter is the program, which lets none in.

Source: packet(7), net/packet/af_packet.c.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from xcapscript.kernel.sockets import bind
from xcapscript.runtime.attach.devices import at_each
from xcapscript.runtime.attach.held import Held
from xcapscript.unit import Attachment, Device

_ETH_P_ALL = 0x0003
_SO_ATTACH_BPF = 50
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_SIOCGIFHWADDR, _ARPHRD_LOOPBACK = 0x8927, 772


def attach(attachment: Attachment, programs: Sequence[int], _cookies: Sequence[int]) -> list[int | Held]:
    """The sockets; KernelError if the kernel refuses."""
    return at_each(attachment, partial(_open, programs[0]))


def _open(program: int, index: int, device: Device) -> int:
    # with protocol 0 nothing comes before there is a filter
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as opened:
        opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, struct.pack("=i", program))
        if _is_loopback(opened, device.name):
            # each packet passes twice, and libpcap leaves out the first time as well; the option came with 4.20
            with suppress(OSError):
                opened.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        bind(opened.fileno(), _ETH_P_ALL, index)
        return opened.detach()


def _is_loopback(opened: socket.socket, name: str) -> bool:
    """By its kind, which netdevice(7) tells with the hardware's address."""
    answer = fcntl.ioctl(opened, _SIOCGIFHWADDR, struct.pack("=16sH14x", os.fsencode(name), 0) + bytes(8))
    return bool(struct.unpack_from("=H", answer, 16)[0] == _ARPHRD_LOOPBACK)
