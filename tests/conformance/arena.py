"""Memory of the kernel that user space writes: sk_buffs, their bytes and their devices, in a mapped BPF array."""

from __future__ import annotations

import mmap
import random
import struct
from collections.abc import Iterable
from typing import Any

from tests.conformance.states import Device, Skb
from xcapscript.kernel import bpf
from xcapscript.kernel.btf import Btf

UNSET = 0xFFFF
UNREADABLE = 0xDEAD_0000_0000_1000
"""Not a canonical address: reading it fails, and hurts nobody."""

ROOM = 96
"""Bytes before and behind a packet which are not the packet's."""

TEXT = """
struct page { u8 bytes[4096]; };
BPF_F_TABLE("array", u32, struct page, arena, @PAGES@, BPF_F_MMAPABLE);

int where(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	u64 *at = (u64 *)arena.lookup(&zero);

	if (at)
		*at = (u64)at;
	return 0;
}
"""


class Arena:
    """The memory, and the kernel's address of each sk_buff in it."""

    def __init__(self, bpf_class: Any, btf: Btf, skbs: Iterable[Skb]) -> None:
        self._skb, self._net_device = _Layout(btf, "sk_buff"), _Layout(btf, "net_device")
        skbs = list(skbs)
        buffers = list(dict.fromkeys(skb.linear for skb in skbs))
        size = 4096 * (len(Device) + 1) + sum(map(_room, buffers)) + len(skbs) * _rounded(self._skb.size)
        size = -(-size // 4096) * 4096
        # bcc closes the map when its object goes
        self._module = bpf_class(text=TEXT.replace("@PAGES@", str(size // 4096)), cflags=["-w"])
        self._memory = mmap.mmap(self._module["arena"].map_fd, size)
        bpf.test_run(self._module.load_func("where", bpf_class.RAW_TRACEPOINT).fd, bytes(8))
        (self._base,) = struct.unpack_from("=Q", self._memory)
        assert self._base >> 63, "not the address of anything in the kernel"
        self._at = 64
        self._devices = {device: self._make_device(device) for device in Device}
        rng = random.Random(11)
        self._buffers = {data: self._make_buffer(data, rng) for data in buffers}
        self.addresses = [self._make_skb(skb) for skb in skbs]

    def _take(self, size: int) -> int:
        start, self._at = self._at, self._at + _rounded(size)
        return start

    def _make_device(self, device: Device) -> int:
        if device < 0:
            return 0 if device is Device.NULL else UNREADABLE
        start = self._take(self._net_device.size)
        self._put(start, self._net_device, "type", "=H", device)
        self._put(start, self._net_device, "ifindex", "=I", device.ifindex)
        return self._base + start

    def _make_buffer(self, data: bytes, rng: random.Random) -> int:
        start, size = self._take(_room(data)), _room(data)
        self._memory[start : start + size] = rng.randbytes(ROOM) + data + rng.randbytes(size - ROOM - len(data))
        return self._base + start

    def _make_skb(self, skb: Skb) -> int:
        start, head = self._take(self._skb.size), self._buffers[skb.linear]
        tail = ROOM + len(skb.linear)
        for name, form, value in (
            ("head", "=Q", head),
            ("data", "=Q", head + ROOM + skb.data),
            ("len", "=I", skb.length),
            ("data_len", "=I", skb.paged),
            ("mac_header", "=H", UNSET if skb.mac is None else ROOM + skb.mac),
            ("network_header", "=H", 0 if skb.network is None else ROOM + skb.network),
            ("transport_header", "=H", UNSET),
            ("tail", "=I", tail),
            ("end", "=I", tail + ROOM),
            ("dev", "=Q", self._devices[skb.device]),
        ):
            self._put(start, self._skb, name, form, value)
        pkt_type = self._skb.bits["pkt_type"]
        self._memory[start + pkt_type // 8] |= skb.pkt_type << pkt_type % 8
        if skb.tag is not None:
            self._put(start, self._skb, "vlan_proto", ">H", skb.tag[0])
            self._put(start, self._skb, "vlan_tci", "=H", skb.tag[1])
        return self._base + start

    def _put(self, start: int, kind: _Layout, name: str, form: str, value: int) -> None:
        struct.pack_into(form, self._memory, start + kind.bits[name] // 8, value)


class _Layout:
    """Where the members of a kernel's struct are, in bits."""

    def __init__(self, btf: Btf, name: str) -> None:
        found = btf.struct(name)
        assert found is not None, name
        self.size = found.size
        self.bits = {member.name: member.bit_offset for member in found.members}


def _room(data: bytes) -> int:
    return _rounded(len(data) + 2 * ROOM)


def _rounded(size: int) -> int:
    return -(-size // 64) * 64
