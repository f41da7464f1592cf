"""Layers and fields of packets: the C, compiled for this machine, must find what dpkt finds, and read nothing else."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import dpkt
import pytest

from tests.packets import (
    Packet,
    ah,
    arp,
    eth,
    ethernet_samples,
    extension,
    fragment6,
    frames,
    icmp,
    ip_packets,
    ipv4,
    ipv6,
    raw_samples,
    tcp,
    udp,
    vlan,
)
from tests.values_in_c import TYPES, needs_compiler
from xcapscript.builtins import LAYERS, PACKET_FIELDS
from xcapscript.codegen.structs import struct_text
from xcapscript.layout import EVENT, FLOW, PACKET
from xcapscript.resources import bpf_directory
from xcapscript.types import IpType
from xcapscript.unit import LinkType

ETHERNET, RAW = LinkType.EN10MB, LinkType.RAW
NAMES = tuple(PACKET_FIELDS)
CELL = 16
ROW = struct.Struct(f"=II{FLOW.size}s{CELL * len(NAMES)}s")
Shown = int | bytes
EXTENSIONS = (0, 43, 44, 60)
UNKNOWN_TYPE, NO_NEXT_HEADER = b"\xff\xff", b"\x3b"
"""They keep dpkt from decoding what follows, which it does in a way of its own."""

# The window's bytes end where a page ends that nobody may look behind; further bytes are read one by one.
HARNESS = """
#include <sys/mman.h>
static long bpf_probe_read_kernel(void *to, u32 size, const void *from);
static long bpf_probe_read_kernel_str(char *to, u32 size, const char *from) { return -14; }
static long bpf_probe_read_user(void *to, u32 size, const void *from) { return -14; }
static long bpf_probe_read_user_str(char *to, u32 size, const char *from) { return -14; }
static u64 bpf_get_current_task(void) { return 0; }
static u64 bpf_get_current_pid_tgid(void) { return 0; }
static u64 bpf_get_current_uid_gid(void) { return 0; }
static u64 bpf_get_current_cgroup_id(void) { return 0; }
static u32 bpf_get_smp_processor_id(void) { return 0; }
static u64 bpf_ktime_get_ns(void) { return 0; }
static void bpf_get_current_comm(char *to, u32 size) { memset(to, 0, size); }
@STRUCTS@
#include <xcap/view.h>
#include <xcap/layers.h>

static const u64 kernel_address = 0xffff888000001000;
static u8 packet[65536];
static u32 packet_len, stray_reads;

static long bpf_probe_read_kernel(void *to, u32 size, const void *from)
{
	u64 offset = (u64)from - kernel_address;

	if (offset > packet_len || size > packet_len - offset) {
		stray_reads++;
		return -14;
	}
	memcpy(to, packet + offset, size);
	return 0;
}

static void put(const void *value, u32 size)
{
	static const u8 nothing[16];

	fwrite(value, size, 1, stdout);
	fwrite(nothing, 16 - size, 1, stdout);
}
static void put_number(u64 value) { put(&value, sizeof(value)); }
static void put_address(struct xcap_ip value) { put(&value, sizeof(value)); }

static void judge(const struct xcap_view *view, u32 link)
{
	struct xcap_layers found, *layers = &found;
	struct xcap_flow flow;

	memset(&flow, 0xaa, sizeof(flow));
	xcap_find_layers(view, link, layers);
	xcap_flow(view, layers, &flow);
	fwrite(&layers->has, 4, 1, stdout);
	fwrite(&stray_reads, 4, 1, stdout);
	fwrite(&flow, sizeof(flow), 1, stdout);
@FIELDS@
}

int main(void)
{
	u8 *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u32 head[3];

	if (pages == MAP_FAILED || mprotect(pages + 4096, 4096, PROT_NONE))
		return 1;
	while (fread(head, sizeof(head), 1, stdin) == 1) {
		packet_len = head[0];
		if (packet_len && fread(packet, packet_len, 1, stdin) != 1)
			return 1;
		u32 length = packet_len < XCAP_WINDOW ? packet_len : XCAP_WINDOW;
		struct xcap_view view = {
			.window = pages + 4096 - length,
			.window_len = length,
			.start = kernel_address,
			.cap_len = packet_len,
			.linear_len = packet_len,
			.wire_len = head[1],
		};
		memcpy(pages + 4096 - length, packet, length);
		judge(&view, head[2]);
	}
	return 0;
}
"""


@dataclass(frozen=True)
class Seen:
    """What the C has found of a packet."""

    layers: frozenset[str]
    fields: dict[str, Shown]
    flow: bytes


@dataclass
class Known:
    """What dpkt finds: a layer or a field, and how many bytes of the packet must be there for it to be told."""

    layers: dict[str, int] = field(default_factory=dict)
    fields: dict[str, tuple[Shown, int]] = field(default_factory=dict)

    def at(self, length: int) -> tuple[frozenset[str], dict[str, Shown]]:
        """The same of the packet's first bytes; what is absent or cut is 0."""
        layers = frozenset(name for name, end in self.layers.items() if end <= length)
        empty = {name: bytes(CELL) if isinstance(row.type, IpType) else 0 for name, row in PACKET_FIELDS.items()}
        return layers, empty | {name: value for name, (value, end) in self.fields.items() if end <= length}

    def add(self, layer: str, start: int, **values: tuple[Shown, int, int]) -> None:
        """Fields of a layer: a value, its offset in the header that begins at `start`, and its size."""
        for name, (value, offset, size) in values.items():
            self.fields[f"{layer}.{name}"] = value, start + offset + size


def mapped(address: bytes) -> bytes:
    return bytes(10) + b"\xff\xff" + address if len(address) == 4 else address


def known_of(data: bytes, link: int) -> Known:
    known = Known()
    if link == RAW:
        if data:
            _network(known, data, 0, 0x86DD if data[0] >> 4 == 6 else 0x0800)
        return known
    known.layers["eth"] = 0
    if len(data) < 14:
        return known
    frame = dpkt.ethernet.Ethernet(data[:12] + UNKNOWN_TYPE)
    dst, src = (int.from_bytes(mac, "big") for mac in (frame.dst, frame.src))
    kind, start = int.from_bytes(data[12:14], "big"), 14
    known.add("eth", 0, dst=(dst, 0, 6), src=(src, 6, 6), type=(kind, 12, 2))
    for number in range(2):
        if kind not in (0x8100, 0x88A8) or len(data) < start + 4:
            break
        tag = dpkt.ethernet.VLANtag8021Q(data[start : start + 4])
        if number == 0:
            known.layers["vlan"] = 14
            known.add("vlan", 14, id=(tag.id, 0, 2), pcp=(tag.pri, 0, 2))
        kind, start = tag.type, start + 4
    _network(known, data, start, kind)
    return known


def _network(known: Known, data: bytes, start: int, kind: int) -> None:
    rest = data[start:]
    if kind == 0x0806:
        packet = dpkt.arp.ARP(rest)
        mac = int.from_bytes(packet.sha, "big")
        known.layers["arp"] = start
        known.add("arp", start, op=(packet.op, 6, 2), mac=(mac, 8, 6))
        known.add("arp", start, src=(mapped(packet.spa), 14, 4), dst=(mapped(packet.tpa), 24, 4))
    elif kind == 0x0800 and rest and rest[0] >> 4 == 4:
        _ipv4(known, data, start, dpkt.ip.IP(rest))
    elif kind == 0x86DD and rest and rest[0] >> 4 == 6:
        _ipv6(known, data, start, dpkt.ip6.IP6(rest[:6] + NO_NEXT_HEADER + rest[7:40]))


def _ipv4(known: Known, data: bytes, start: int, ip: dpkt.ip.IP) -> None:
    known.layers["ip"] = start + 1
    known.add("ip", start, version=(4, 0, 1), tos=(ip.tos, 1, 1), len=(ip.len, 2, 2), id=(ip.id, 4, 2))
    known.add("ip", start, ttl=(ip.ttl, 8, 1), proto=(ip.p, 9, 1))
    known.add("ip", start, src=(mapped(ip.src), 12, 4), dst=(mapped(ip.dst), 16, 4))
    if ip.mf or ip.offset:
        known.layers["frag"] = start + 8
    if not ip.offset:
        _transport(known, data, start + ip.hl * 4, ip.p, start + 10)


def _ipv6(known: Known, data: bytes, start: int, ip: dpkt.ip6.IP6) -> None:
    known.layers["ip"] = known.layers["ip6"] = start + 1
    known.add("ip", start, version=(6, 0, 1), tos=(ip.fc, 0, 2), len=(ip.plen + 40, 4, 2), ttl=(ip.hlim, 7, 1))
    known.add("ip", start, src=(ip.src, 8, 16), dst=(ip.dst, 24, 16))
    protocol, at, end, later = data[start + 6], start + 40, start + 7, False
    while protocol in EXTENSIONS and not later:
        header = dpkt.ip6.EXT_HDRS_CLS[protocol](data[at:])
        if protocol == 44:
            known.layers["frag"] = end
            later = header.frag_off > 0
        end = at + (4 if protocol == 44 else 1)
        protocol, at = header.nxt, at + header.length
    known.fields["ip.proto"] = protocol, end
    if not later:
        _transport(known, data, at, protocol, end)


def _transport(known: Known, data: bytes, start: int, protocol: int, decided: int) -> None:
    """A transport header, which is there if any byte of it is on the wire; the protocol's byte decides which."""
    names = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp"}
    if protocol not in names or start >= len(data):
        return
    known.layers[names[protocol]] = decided
    rest = data[start:].ljust(20, b"\0")
    match protocol:
        case 6:
            segment = dpkt.tcp.TCP(rest[:12] + b"\x50" + rest[13:20])
            known.add("tcp", start, sport=(segment.sport, 0, 2), dport=(segment.dport, 2, 2), seq=(segment.seq, 4, 4))
            known.add("tcp", start, ack=(segment.ack, 8, 4), window=(segment.win, 14, 2))
            known.add("tcp", start, flags=(segment.flags & 0xFF, 13, 1))
        case 17:
            datagram = dpkt.udp.UDP(rest)
            known.add("udp", start, sport=(datagram.sport, 0, 2), dport=(datagram.dport, 2, 2))
            known.add("udp", start, len=(datagram.ulen, 4, 2))
        case _:
            message = dpkt.icmp.ICMP(rest[:4])
            known.add("icmp", start, type=(message.type, 0, 1), code=(message.code, 1, 1))


@pytest.fixture(scope="module", params=[256, 128, 64])
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C with a window of so many bytes."""
    directory = tmp_path_factory.mktemp("layers")
    puts = [
        f"\tput_{'address' if isinstance(row.type, IpType) else 'number'}({row.helper}(view, layers));"
        for row in PACKET_FIELDS.values()
    ]
    structs = "\n".join(["#include <xcap/address.h>", *map(struct_text, [EVENT, PACKET, FLOW])])
    text = HARNESS.replace("@STRUCTS@", structs).replace("@FIELDS@", "\n".join(puts))
    types = TYPES.replace("XCAP_WINDOW 256", f"XCAP_WINDOW {request.param}")
    (directory / "x.c").write_text(types + text)
    include = f"-I{bpf_directory() / 'include'}"
    command = [str(shutil.which("cc")), "-O1", "-fwrapv", "-w", include, "-o", directory / "x", directory / "x.c"]
    subprocess.run(command, check=True)
    return directory / "x"


def seen_by(harness: Path, packets: Sequence[Packet], link: int) -> Iterator[Seen]:
    heads = (struct.pack("=III", len(packet.data), packet.wire_len, link) + packet.data for packet in packets)
    done = subprocess.run([harness], input=b"".join(heads), check=True, capture_output=True)
    for has, stray, flow, cells in ROW.iter_unpack(done.stdout):
        assert stray == 0
        layers = frozenset(name for bit, name in enumerate(LAYERS) if has >> bit & 1)
        assert has < 1 << len(LAYERS)
        yield Seen(layers, dict(_cells(cells)), flow)


def _cells(cells: bytes) -> Iterator[tuple[str, Shown]]:
    for index, row in enumerate(PACKET_FIELDS.values()):
        cell = cells[index * CELL : (index + 1) * CELL]
        yield row.name, cell if isinstance(row.type, IpType) else int.from_bytes(cell, "little")


def flow_of(fields: dict[str, Shown]) -> bytes:
    ports = (fields["tcp.sport"] or fields["udp.sport"], fields["tcp.dport"] or fields["udp.dport"])
    return struct.pack("=16s16sHHB3x", fields["ip.src"], fields["ip.dst"], *ports, fields["ip.proto"])


def check(harness: Path, cases: Iterable[tuple[Packet, Known]], link: int) -> None:
    cases = list(cases)
    found = seen_by(harness, [packet for packet, _ in cases], link)
    wrong = []
    for (packet, known), seen in zip(cases, found, strict=True):
        layers, fields = known.at(len(packet.data))
        differing = {name: (seen.fields[name], fields[name]) for name in NAMES if seen.fields[name] != fields[name]}
        if seen.layers != layers or differing or seen.flow != flow_of(fields):
            wrong.append((packet, sorted(seen.layers ^ layers), differing))
    assert not list(islice(wrong, 5)), f"{len(wrong)} of {len(cases)}"


def more_ip_packets() -> Iterator[bytes]:
    """Extension headers beside and behind one another, and later fragments in which a port seems to be."""
    segment = tcp(40000, 80, 0xFF, b"x" * 30, seq=0xFFFF_FFFE)
    chains = (0, 43, 60), (0, 0, 0), (60, 43, 60, 0)
    for chain in chains:
        data = segment
        for at, kind in enumerate(reversed(chain)):
            data = extension((*reversed(chain), 6)[at - 1] if at else 6, data, at)
            assert kind in chain
        yield ipv6(chain[0], data)
    yield ipv6(44, fragment6(60, extension(17, udp(1, 2, b"abc")), 0))
    yield ipv6(0, extension(44, fragment6(6, segment, 1)))
    yield ipv6(60, extension(51, ah(6, segment)))
    yield ipv4(58, icmp(128))
    yield ipv6(1, icmp(8, 3))
    yield ipv4(6, segment, options=b"\x01" * 40, fragment=0x2000)
    yield ipv6(59, b"")
    yield from random_packets()


def random_packets() -> Iterator[bytes]:
    """Headers of which every bit is used; the fields that say what follows are right."""
    rng = random.Random(7)
    for protocol in (6, 17, 1, 58) * 4:
        data = rng.randbytes(40)
        head = b"\x45" + rng.randbytes(5) + b"\x40\0" + rng.randbytes(1) + bytes([protocol]) + rng.randbytes(10)
        yield head + data
        yield b"\x6f" + rng.randbytes(5) + bytes([protocol]) + rng.randbytes(33) + data


RAW_PACKETS = (*ip_packets(), *more_ip_packets())
FRAMES = (
    *(data for data in frames() if len(data) >= 14),
    *(eth(0x0800 if data[0] >> 4 == 4 else 0x86DD, data) for data in more_ip_packets()),
    eth(0x88A8, vlan(0xFFFF, 0x88A8, vlan(1, 0x0806, arp(2)))),
    eth(0x8100, vlan(1, 0x8100, vlan(2, 0x8100, vlan(3, 0x0800, ipv4(6, tcp(1, 2, 3)))))),
    eth(0x0806, random.Random(8).randbytes(28)),
    eth(0x8100, random.Random(9).randbytes(2) + b"\x08\x06" + random.Random(10).randbytes(30)),
    eth(0x0800, ipv6(6, tcp(1, 2, 3))),
    eth(0x86DD, ipv4(6, tcp(1, 2, 3))),
)
BOTH = pytest.mark.parametrize(("link", "packets"), [(ETHERNET, FRAMES), (RAW, RAW_PACKETS)], ids=["ethernet", "raw"])


@needs_compiler
@BOTH
def test_every_field_is_what_dpkt_finds(link: int, packets: Sequence[bytes], harness: Path) -> None:
    check(harness, ((Packet(data, len(data)), known_of(data, link)) for data in packets), link)


@needs_compiler
@BOTH
def test_of_a_cut_packet_what_is_not_there_is_zero(link: int, packets: Sequence[bytes], harness: Path) -> None:
    """Cut at each of its first bytes."""
    cases = []
    for data in packets:
        known = known_of(data, link)
        cases += [(Packet(data[:length], len(data)), known) for length in range(min(len(data), 150))]
    check(harness, cases, link)


@BOTH
def test_the_packets_have_every_field_and_layer(link: int, packets: Sequence[bytes]) -> None:
    """A field that no packet has would not be tested."""
    all_known = [known_of(data, link) for data in packets]
    link_layers = {"eth", "vlan", "arp"} if link == RAW else set()
    assert {name for known in all_known for name in known.layers} == {*LAYERS} - link_layers
    values: dict[str, set[Shown]] = {name: set() for name in NAMES if name.partition(".")[0] not in link_layers}
    for known in all_known:
        for name, (value, _) in known.fields.items():
            values[name].add(value)
    assert not [name for name, found in values.items() if len(found) < 2]


@needs_compiler
@pytest.mark.parametrize(("link", "packets"), [(ETHERNET, ethernet_samples(3000)), (RAW, raw_samples(3000))])
def test_nothing_is_read_behind_what_is_spoiled(link: int, packets: Sequence[Packet], harness: Path) -> None:
    """No dpkt here, since it gives up; but what has no layer has no field, and the flow is made of the fields."""
    for seen in seen_by(harness, packets, link):
        absent = [name for name in NAMES if name.partition(".")[0] not in seen.layers]
        assert not any(seen.fields[name] for name in absent if not isinstance(seen.fields[name], bytes))
        assert not any(any(seen.fields[name]) for name in absent if isinstance(seen.fields[name], bytes))
        assert seen.flow == flow_of(seen.fields)
