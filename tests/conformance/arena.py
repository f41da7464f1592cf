"""Memory of the kernel that user space writes: sk_buffs, their bytes and their devices, in a mapped BPF array."""

from __future__ import annotations

import mmap
import random
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from tests.conformance.states import Device, Listed, Paged, Piece, Skb
from xcapscript.kernel import bpf
from xcapscript.kernel.btf import Btf
from xcapscript.kernel.pages import Place

UNSET = 0xFFFF
UNREADABLE = 0xDEAD_0000_0000_1000
"""Not a canonical address: reading it fails, and hurts nobody."""

PLACE = Place(6, 0x1234_5678_C000_0000)
"""Where the programs believe that the bytes of pages are. The arena is elsewhere, and has no struct pages to name."""

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
        self._shared, self._frag = _Layout(btf, "skb_shared_info"), _Frag(btf)
        skbs = list(skbs)
        buffers = list(dict.fromkeys(data for skb in skbs for data in _buffers(skb)))
        structs = sum(1 + len(skb.pages.listed) for skb in skbs)
        size = 4096 * (len(Device) + 1) + sum(map(_room, buffers))
        size += structs * (_rounded(self._skb.size) + _rounded(self._shared.size))
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
            ("end", "=I", self._share(skb.pages, head) if skb.paged else tail + ROOM),
            ("dev", "=Q", self._devices[skb.device]),
        ):
            self._put(start, self._skb, name, form, value)
        pkt_type = self._skb.bits["pkt_type"]
        self._memory[start + pkt_type // 8] |= skb.pkt_type << pkt_type % 8
        if skb.tag is not None:
            self._put(start, self._skb, "vlan_proto", ">H", skb.tag[0])
            self._put(start, self._skb, "vlan_tci", "=H", skb.tag[1])
        return self._base + start

    def _share(self, pages: Paged, head: int) -> int:
        """Make the struct skb_shared_info of an sk_buff; how far from its head that is."""
        first = 0
        for listed in reversed(pages.listed):
            first = self._make_listed(listed, first)
        start = self._take(self._shared.size)
        self._put(start, self._shared, "nr_frags", "=B", len(pages.frags))
        self._put(start, self._shared, "frag_list", "=Q", first)
        for number, piece in enumerate(pages.frags):
            address = self._base + self._address(piece)
            page = PLACE.page(address & -4096)
            if piece.source is None:  # of two kinds: memory of a device, which has an odd page, and what faults
                page = page | 1 if number % 2 else PLACE.page(UNREADABLE)
            at = start + self._shared.bits["frags"] // 8 + number * self._frag.size
            struct.pack_into("=Q", self._memory, at + self._frag.page, page)
            struct.pack_into("=I", self._memory, at + self._frag.length, piece.size)
            struct.pack_into("=I", self._memory, at + self._frag.offset, address % 4096)
        return self._base + start - head

    def _make_listed(self, listed: Listed, following: int) -> int:
        start, data = self._take(self._skb.size), self._base + self._address(listed.linear)
        paged = sum(piece.size for piece in listed.frags)
        for name, form, value in (
            ("next", "=Q", following),
            ("head", "=Q", self._base),
            ("data", "=Q", data),
            ("len", "=I", listed.linear.size + paged),
            ("data_len", "=I", paged),
            ("end", "=I", self._share(Paged(listed.frags), self._base)),
        ):
            self._put(start, self._skb, name, form, value)
        return self._base + start

    def _address(self, piece: Piece) -> int:
        """Where its bytes are, from the arena's start."""
        return self._buffers[piece.source] - self._base + ROOM + piece.start if piece.source is not None else 0

    def _put(self, start: int, kind: _Layout, name: str, form: str, value: int) -> None:
        struct.pack_into(form, self._memory, start + kind.bits[name] // 8, value)


class _Frag:
    """Where the members of a skb_frag_t are, in bytes: it was a struct bio_vec before Linux 6.9."""

    def __init__(self, btf: Btf) -> None:
        new = btf.struct("skb_frag") is not None
        kind = _Layout(btf, "skb_frag" if new else "bio_vec")
        names = ("netmem", "len", "offset") if new else ("bv_page", "bv_len", "bv_offset")
        self.size = kind.size
        self.page, self.length, self.offset = (kind.bits[name] // 8 for name in names)


class _Layout:
    """Where the members of a kernel's struct are, in bits."""

    def __init__(self, btf: Btf, name: str) -> None:
        found = btf.struct(name)
        assert found is not None, name
        self.size = found.size
        self.bits = {member.name: member.bit_offset for member in found.members}


def _buffers(skb: Skb) -> Iterator[bytes]:
    """The memory that its bytes are in."""
    yield skb.linear
    listed = (piece for one in skb.pages.listed for piece in (one.linear, *one.frags))
    yield from (piece.source for piece in (*skb.pages.frags, *listed) if piece.source is not None)


def _room(data: bytes) -> int:
    return _rounded(len(data) + 2 * ROOM)


def _rounded(size: int) -> int:
    return -(-size // 64) * 64
