"""Sends frames through an AF_XDP socket in copy mode, or receives some: `afxdp_sender.py send DEVICE COUNT HEX`, or
`afxdp_sender.py receive DEVICE COUNT FLAGS` with the flags of the XDP program's link.

Source: include/uapi/linux/if_xdp.h, Documentation/networking/af_xdp.rst, net/xdp/xsk.c.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from network import Network, sh

from xcapscript.kernel import bpf
from xcapscript.kernel.libbpf import check, load
from xcapscript.kernel.typed import Load, load_copy

AF_XDP, SOL_XDP = 44, 283
MMAP_OFFSETS, RX_RING, TX_RING, UMEM_REG, FILL_RING, COMPLETION_RING = 1, 2, 3, 4, 5, 6
AT_RX, AT_TX, AT_FILL, AT_COMPLETION = 0, 0x80000000, 0x100000000, 0x180000000
XDP_COPY = 1 << 1
FRAME, FRAMES = 2048, 64
XSKMAP, XDP_PROGRAM, BPF_XDP, XDP_PASS, REDIRECT_MAP = 17, 6, 37, 2, 51
PATIENCE = 60
SENDER = Path(__file__)
PAYLOAD = b"past everybody "
"""What our frames have, and no others that may come."""

PORT = 4789

libc = ctypes.CDLL(None, use_errno=True)


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


@dataclass(frozen=True)
class Ring:
    """A ring that the kernel shares: offsets of its producer, its consumer and its entries."""

    memory: mmap.mmap
    producer: int
    consumer: int
    entries: int

    def word(self, at: int, value: int | None = None) -> int:
        if value is not None:
            struct.pack_into("=I", self.memory, at, value)
        return int(struct.unpack_from("=I", self.memory, at)[0])


class Socket:
    """An AF_XDP socket at queue 0 of a device, with memory of its own."""

    def __init__(self, device: str) -> None:
        self.socket = socket.socket(AF_XDP, socket.SOCK_RAW, 0)
        self.memory = mmap.mmap(-1, FRAME * FRAMES)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.set(UMEM_REG, struct.pack("=QQIIII", start, FRAME * FRAMES, FRAME, 0, 0, 0))
        for ring in (FILL_RING, COMPLETION_RING, RX_RING, TX_RING):
            self.set(ring, struct.pack("=I", FRAMES))
        self.offsets = struct.unpack("=16Q", self.socket.getsockopt(SOL_XDP, MMAP_OFFSETS, 128))
        self.rx, self.tx = self.ring(0, 16, AT_RX), self.ring(4, 16, AT_TX)
        self.fill, self.completion = self.ring(8, 8, AT_FILL), self.ring(12, 8, AT_COMPLETION)
        name = struct.pack("=HHIII", AF_XDP, XDP_COPY, socket.if_nametoindex(device), 0, 0)
        checked(libc.bind(self.socket.fileno(), name, len(name)))

    def set(self, option: int, value: bytes) -> None:
        checked(libc.setsockopt(self.socket.fileno(), SOL_XDP, option, value, len(value)))

    def ring(self, first: int, entry: int, at: int) -> Ring:
        producer, consumer, entries, _ = self.offsets[first : first + 4]
        flags, protection = mmap.MAP_SHARED | mmap.MAP_POPULATE, mmap.PROT_READ | mmap.PROT_WRITE
        size = entries + FRAMES * entry
        memory = mmap.mmap(self.socket.fileno(), size, flags, protection, offset=at)
        return Ring(memory, producer, consumer, entries)

    def send(self, number: int, frame: bytes) -> None:
        """Send one, and wait until the device has it."""
        slot = number % FRAMES
        self.memory[slot * FRAME : slot * FRAME + len(frame)] = frame
        struct.pack_into("=QII", self.tx.memory, self.tx.entries + slot * 16, slot * FRAME, len(frame), 0)
        self.tx.word(self.tx.producer, number + 1)
        deadline = time.monotonic() + PATIENCE
        while self.completion.word(self.completion.producer) != number + 1:
            libc.sendto(self.socket.fileno(), None, 0, socket.MSG_DONTWAIT, None, 0)
            assert time.monotonic() < deadline
        self.completion.word(self.completion.consumer, number + 1)

    def receive(self, count: int) -> None:
        for slot in range(FRAMES):
            struct.pack_into("=Q", self.fill.memory, self.fill.entries + slot * 8, slot * FRAME)
        self.fill.word(self.fill.producer, FRAMES)
        say("ready")
        deadline = time.monotonic() + PATIENCE
        seen = ours = 0
        while ours < count:
            while seen < self.rx.word(self.rx.producer):
                at, length = struct.unpack_from("=QI", self.rx.memory, self.rx.entries + seen % FRAMES * 16)
                ours += PAYLOAD in self.memory[at : at + length]
                seen += 1
            time.sleep(0.01)
            assert time.monotonic() < deadline
        say("received", ours)


def redirect(opened: Socket, device: str, flags: int) -> int:
    """A link of an XDP program that hands all packets to the socket."""
    sockets = check(load().bpf_map_create(XSKMAP, b"sockets", 4, 4, 1, None))
    bpf.update(sockets, struct.pack("=I", 0), struct.pack("=I", opened.socket.fileno()))
    instructions = [
        (0x18, 0x11, 0, sockets),
        (0, 0, 0, 0),
        (0xB7, 2, 0, 0),
        (0xB7, 3, 0, XDP_PASS),
        (0x85, 0, 0, REDIRECT_MAP),
        (0x95, 0, 0, 0),
    ]
    code = b"".join(struct.pack("=BBhi", *one) for one in instructions)
    program = load_copy("to_socket", code, Load(XDP_PROGRAM))
    return bpf.link_create(program, socket.if_nametoindex(device), BPF_XDP, flags)


def address(host: str, device: str) -> bytes:
    return bytes.fromhex(sh(f"ip netns exec {host} cat /sys/class/net/{device}/address").strip().replace(":", ""))


def frame(net: Network) -> bytes:
    """Of UDP, but for its last two bytes, which number it."""
    udp = struct.pack(">HHHH", 1234, PORT, 8 + len(PAYLOAD) + 2, 0) + PAYLOAD
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp) + 2, 1, 0, 64, 17, 0)
    ip += socket.inet_aton("10.78.0.1") + socket.inet_aton("10.78.0.2")
    total = sum(struct.unpack(">10H", ip))
    total = (total >> 16) + (total & 0xFFFF)
    ip = ip[:10] + struct.pack(">H", ~((total >> 16) + total) & 0xFFFF) + ip[12:]
    return address(net.b, net.right) + address(net.a, net.left) + b"\x08\x00" + ip + udp


def main() -> None:
    what, device, count, last = sys.argv[1:]
    opened = Socket(device)
    if what == "send":
        for number in range(int(count)):
            opened.send(number, bytes.fromhex(last) + number.to_bytes(2, "big"))
        say("sent", count)
    else:
        redirect(opened, device, int(last))
        opened.receive(int(count))


if __name__ == "__main__":
    main()
