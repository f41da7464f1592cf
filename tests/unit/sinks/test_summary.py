"""Packet lines, of `summary`, `transport` and `icmp`. The oracle is tcpdump, run with -S as it knows no connections
from a single packet; where our line is another one, it stands in OURS with the reason."""

import random
import re
import struct
import subprocess
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from xcapscript.sinks.summary import summarise
from xcapscript.unit import LinkType

IP_A, IP_B = (IPv4Address(address).packed for address in ("10.0.0.1", "10.0.0.2"))
IP6_A, IP6_B = (IPv6Address(address).packed for address in ("fe80::a01", "2001:db8::2"))
MAC_A, MAC_B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
SYN_OPTIONS = bytes.fromhex("020405b40402080a00000001000000000103037f")
TIMESTAMPS = bytes.fromhex("0101080a0000000500000009")
MORE_FRAGMENTS = 0x2000


def eth(payload: bytes, kind: int = 0x0800) -> bytes:
    return MAC_B + MAC_A + struct.pack("!H", kind) + payload


def ipv4(protocol: int, payload: bytes, *, place: int = 0, total: int | None = None) -> bytes:
    total = 20 + len(payload) if total is None else total
    return struct.pack("!BBHHHBBH", 0x45, 0, total, 7, place, 64, protocol, 0) + IP_A + IP_B + payload


def ipv6(protocol: int, payload: bytes) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + IP6_A + IP6_B + payload


def tcp(flags: int, options: bytes = b"", data: bytes = b"", *, seq: int = 1, offset: int | None = None) -> bytes:
    offset = 5 + len(options) // 4 if offset is None else offset
    return struct.pack("!HHIIBBHHH", 40000, 8081, seq, 77, offset << 4, flags, 64240, 0, 5) + options + data


def udp(size: int, length: int | None = None) -> bytes:
    return struct.pack("!HHHH", 40000, 9999, 8 + size if length is None else length, 0) + bytes(size)


def arp(operation: int, target: bytes = bytes(6)) -> bytes:
    return eth(struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + MAC_A + IP_A + target + IP_B, 0x0806)


def icmp(kind: int, code: int, about: bytes) -> bytes:
    return eth(ipv4(1, bytes([kind, code, 0, 0]) + struct.pack("!HH", 3, 1500) + about))


def icmp6(kind: int, code: int = 0, rest: bytes = b"") -> bytes:
    return eth(ipv6(58, bytes([kind, code, 0, 0, 0, 3, 0, 1]) + rest), 0x86DD)


def igmp(text: str) -> bytes:
    return eth(ipv4(2, bytes.fromhex(text)))


LIKE_TCPDUMP = [
    *(eth(ipv4(6, tcp(flags))) for flags in range(256)),
    eth(ipv4(6, tcp(0x02, SYN_OPTIONS))),
    eth(ipv4(6, tcp(0x18, TIMESTAMPS, b"hello", seq=0xFFFFFFFE))),
    eth(ipv4(6, tcp(0x10, bytes.fromhex("0101050a0000000500000009")))),  # sack
    eth(ipv4(6, tcp(0x02, bytes.fromhex("22020101")))),  # fast open: cookie request
    eth(ipv4(6, tcp(0x02, bytes.fromhex("220aaabbccdd112233440101")))),  # fast open: cookie
    eth(ipv4(6, tcp(0x02, bytes.fromhex("fd06f98901020000")))),  # unknown option
    eth(ipv4(6, tcp(0x02, offset=4))),
    eth(ipv4(6, tcp(0x02, offset=6))),
    eth(ipv6(6, tcp(0x12, SYN_OPTIONS, b"x")), 0x86DD),
    eth(ipv4(17, udp(12))),
    eth(ipv4(17, udp(0)) + bytes(18)),  # padded to the shortest frame
    eth(ipv4(17, udp(5, 100))),
    eth(ipv4(17, udp(5, 3))),
    eth(ipv4(17, udp(0)[:5])),
    eth(ipv4(17, udp(100, 2000), place=MORE_FRAGMENTS)),
    eth(ipv6(17, udp(3)), 0x86DD),
    eth(ipv4(6, tcp(2), total=60)),  # longer than the frame
    eth(ipv4(6, tcp(2), total=12)),
    *(icmp(kind, 0, ipv4(17, udp(4))) for kind in (0, 4, 8, 10, 11, 12, 15, 16, 30)),
    *(icmp(3, code, ipv4(17, udp(4))) for code in range(17)),
    *(icmp(3, 3, ipv4(protocol, tcp(2))) for protocol in (6, 99)),
    *(icmp(5, code, ipv4(17, udp(4))) for code in range(5)),
    *(icmp(kind, 1, ipv4(17, udp(4))) for kind in (11, 12)),
    *(icmp6(1, code, ipv6(17, udp(4))) for code in range(5)),
    icmp6(1, 4, ipv6(6, tcp(2))),
    icmp6(2),
    *(icmp6(3, code, ipv6(17, udp(4))) for code in range(3)),
    *(icmp6(4, code, ipv6(17, udp(4))) for code in range(5)),
    icmp6(128, 0, bytes(56)),
    icmp6(129, 0, bytes(56)),
    *(icmp6(kind, 0, bytes(16)) for kind in (133, 134, 141, 142)),
    *(icmp6(kind, 0, IP6_B + bytes.fromhex("0101020000000001")) for kind in (135, 136)),
    icmp6(137, 0, IP6_B + IP6_A),
    icmp6(130, 0, IP6_B + bytes(4)),
    eth(ipv6(0, bytes.fromhex("3a00050200000100") + bytes.fromhex("8f00000000000001") + bytes(20)), 0x86DD),
    eth(ipv6(44, bytes.fromhex("1100000100000001") + udp(30)), 0x86DD),
    eth(ipv6(44, bytes.fromhex("1100010100000001") + udp(30)), 0x86DD),
    eth(ipv6(60, bytes.fromhex("1100010400000000") + udp(30)), 0x86DD),
    eth(ipv6(59, b""), 0x86DD),
    *(arp(operation) for operation in (1, 2, 3, 4, 8, 9)),
    arp(1, MAC_B) + bytes(18),
    *(igmp(f"11{delay}0000{group}") for delay in ("00", "64", "0a") for group in ("00000000", "e0000001")),
    *(igmp(f"11{delay}0000e000000100000001e0000005") for delay in ("64", "85")),
    *(igmp(f"{kind}000000e0000005") for kind in ("12", "16", "17", "33")),
    igmp("2200000000000002" + 16 * "00"),
    eth(ipv4(4, ipv4(17, udp(4)))),
    eth(ipv4(41, ipv6(17, udp(4)))),
    eth(ipv4(47, bytes.fromhex("00000800") + ipv4(17, udp(3)))),
    eth(ipv4(47, bytes.fromhex("b00008000001000200000aa000000007") + ipv4(17, udp(3)))),
    eth(ipv4(47, bytes.fromhex("2001880b00100001"))),
    eth(ipv4(47, bytes.fromhex("00006558") + eth(ipv4(17, udp(3))))),
    eth(ipv4(50, bytes.fromhex("0000010000000001") + bytes(20))),
    eth(ipv4(253, bytes(20))),
    eth(b"\x60" + bytes(45)),
    eth(b"\x35" + bytes(45)),
]

OURS = {
    "options whose lengths are wrong: tcpdump leaves a bracket open": (
        eth(ipv4(6, tcp(0x02, bytes.fromhex("02ff0101")))),
        "IP 10.0.0.1.40000 > 10.0.0.2.8081: Flags [S], seq 1, win 64240, options [[bad opt]]",
    ),
    "a later fragment: tcpdump says its place for IPv6 only": (
        eth(ipv4(17, bytes(100), place=MORE_FRAGMENTS | 16)),
        "IP 10.0.0.1 > 10.0.0.2: ip-proto-17 frag (128|100)",
    ),
    "tcpdump forgets a space": (
        icmp6(131, 0, IP6_B),
        "IP6 fe80::a01 > 2001:db8::2: ICMP6, multicast listener report max resp delay: 3 addr: 2001:db8::2, length 24",
    ),
    "messages of no use for finding drops are named, not decoded": (
        icmp(13, 0, bytes(12)),
        "IP 10.0.0.1 > 10.0.0.2: ICMP time stamp request, length 20",
    ),
    "the VLAN is worth its place; tcpdump shows it with -e": (
        eth(struct.pack("!HH", 0x2064, 0x0800) + ipv4(17, udp(3)), 0x8100),
        "vlan 100, IP 10.0.0.1.40000 > 10.0.0.2.9999: UDP, length 3",
    ),
    "AH without its checksum": (
        eth(ipv4(51, bytes.fromhex("110100000000010000000001") + udp(4))),
        "IP 10.0.0.1 > 10.0.0.2: AH(spi=0x00000100,seq=0x1): 40000 > 9999: UDP, length 4",
    ),
    "a routing header without its segments": (
        eth(ipv6(43, bytes.fromhex("1102000100000000") + IP6_A + udp(30)), 0x86DD),
        "IP6 fe80::a01 > 2001:db8::2: RT6 (len=2, type=0, segleft=1) 40000 > 9999: UDP, length 30",
    ),
    "SCTP by name": (eth(ipv4(132, udp(8))), "IP 10.0.0.1.40000 > 10.0.0.2.9999: SCTP, length 16"),
    "OSPF by name": (eth(ipv4(89, bytes(24))), "IP 10.0.0.1 > 10.0.0.2: OSPF, length 24"),
    "an ARP operation that is unknown: tcpdump dumps it": (arp(99), "ARP, Unknown (99), length 28"),
    "ARP of other than IPv4": (
        eth(struct.pack("!HHBBH", 32, 0x0800, 20, 4, 1) + bytes(48), 0x0806),
        "ARP, InfiniBand (len 20), protocol 0x0800 (len 4), length 56",
    ),
    "an Ethernet type that is unknown: tcpdump dumps it": (eth(bytes(46), 0x88CC), "ethertype 0x88cc, length 60"),
    "LLC": (eth(bytes(46), 38), "802.3, length 60"),
    "a GSO packet longer than its length field can say": (
        eth(ipv4(6, tcp(0x10, data=bytes(100)), total=0)),
        "IP 10.0.0.1.40000 > 10.0.0.2.8081: Flags [.], seq 1:101, ack 77, win 64240, length 100",
    ),
    "a payload is not decoded": (
        eth(ipv4(17, struct.pack("!HHHH", 40000, 53, 20, 0) + bytes(12))),
        "IP 10.0.0.1.40000 > 10.0.0.2.53: UDP, length 12",
    ),
}

TRUNCATED = [
    (0, "[|ether]"),
    (13, "[|ether]"),
    (14, "[|ip]"),
    (33, "IP [|ip]"),
    (34, "IP 10.0.0.1 > 10.0.0.2: [|tcp]"),
    (38, "IP 10.0.0.1.40000 > 10.0.0.2.8081: [|tcp]"),
    (54, "IP 10.0.0.1.40000 > 10.0.0.2.8081: Flags [S], seq 1, win 64240, options [ [|tcp]"),
    (60, "IP 10.0.0.1.40000 > 10.0.0.2.8081: Flags [S], seq 1, win 64240, options [mss 1460,sackOK [|tcp]"),
]


@pytest.fixture(scope="module")
def tcpdump_lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What tcpdump prints for each of LIKE_TCPDUMP."""
    path: Path = tmp_path_factory.mktemp("oracle") / "packets.pcap"
    with path.open("wb") as file:
        file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, LinkType.EN10MB))
        for packet in LIKE_TCPDUMP:
            file.write(struct.pack("=IIII", 0, 0, len(packet), len(packet)) + packet)
    result = subprocess.run(["tcpdump", "-ntS", "-r", path], capture_output=True, text=True, check=True)
    return result.stdout.splitlines()


def test_lines_are_those_of_tcpdump(tcpdump_lines: list[str]) -> None:
    # tcpdump's spaces are an accident of how its parts are put together.
    expected = [re.sub(r" +", " ", line).strip() for line in tcpdump_lines]
    assert [summarise(packet, LinkType.EN10MB, len(packet)) for packet in LIKE_TCPDUMP] == expected


@pytest.mark.parametrize(("packet", "line"), OURS.values(), ids=OURS)
def test_lines_of_our_own(packet: bytes, line: str) -> None:
    assert summarise(packet, LinkType.EN10MB, len(packet)) == line


@pytest.mark.parametrize(("size", "line"), TRUNCATED)
def test_what_was_not_captured_is_marked(size: int, line: str) -> None:
    packet = eth(ipv4(6, tcp(0x02, SYN_OPTIONS)))
    assert summarise(packet[:size], LinkType.EN10MB, len(packet)) == line


def test_lengths_are_those_on_the_wire() -> None:
    packet = eth(ipv4(17, udp(1400)))
    assert summarise(packet[:64], LinkType.EN10MB, len(packet)).endswith("UDP, length 1400")
    assert summarise(eth(bytes(46), 0x88CC)[:20], LinkType.EN10MB, 60) == "ethertype 0x88cc, length 60"


def test_raw_ip() -> None:
    assert summarise(ipv4(17, udp(1)), LinkType.RAW, 29) == "IP 10.0.0.1.40000 > 10.0.0.2.9999: UDP, length 1"
    assert summarise(ipv6(17, udp(1)), LinkType.RAW, 49) == "IP6 fe80::a01.40000 > 2001:db8::2.9999: UDP, length 1"
    assert summarise(b"\x20" + bytes(19), LinkType.RAW, 20) == "unknown ip 2, length 20"
    assert summarise(b"", LinkType.RAW, 20) == "[|ip]"


def test_other_link_types_are_named() -> None:
    assert summarise(bytes(20), 113, 60) == "link type 113, length 60"


@pytest.mark.parametrize(
    "packet",
    [
        eth(bytes(0)) + b"",
        bytes(12) + (b"\x65\x58" + bytes(12)) * 5000,
        bytes(12) + b"\x81\x00\x00\x01" * 16000,
        eth(ipv4(4, b"", total=0) * 3000),
        eth(b"".join(ipv4(47, bytes.fromhex("00006558"), total=0) + bytes(12) + b"\x08\x00" for _ in range(2000))),
        eth(ipv6(60, b"\x3c\x00\x00\x00\x00\x00\x00\x00" * 8000), 0x86DD),
    ],
    ids=["empty", "Ethernet in Ethernet", "VLANs", "IPIP", "GRE", "extension headers"],
)
def test_packets_within_packets_end_somewhere(packet: bytes) -> None:
    line = summarise(packet, LinkType.EN10MB, len(packet))
    assert line.isprintable()
    assert len(line) < 60_000


def test_any_bytes_give_a_line() -> None:
    chance = random.Random(1)
    known = [*LIKE_TCPDUMP[250:], *(packet for packet, _ in OURS.values())]
    packets = [packet[:size] for packet in known for size in range(len(packet) + 1)]
    for _ in range(20_000):
        packet = bytearray(chance.choice(known))
        for _ in range(chance.randrange(1, 8)):
            packet[chance.randrange(len(packet))] = chance.randrange(256)
        packets += [bytes(packet), chance.randbytes(chance.randrange(80))]
    for packet in packets:
        for link, data in ((LinkType.EN10MB, packet), (LinkType.RAW, packet[14:])):
            line = summarise(data, link, chance.choice((0, len(data), 9000, 1 << 32)))
            assert line, packet.hex()
            assert line.isprintable(), packet.hex()
