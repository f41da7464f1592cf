"""Packet lines, of `summary`, `transport`, `icmp` and `dns`. The oracle is tcpdump, run with -S as it knows no
connections from a single packet; where our line is another one, it stands in OURS with the reason."""

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


def tcp(
    flags: int,
    options: bytes = b"",
    data: bytes = b"",
    *,
    seq: int = 1,
    offset: int | None = None,
    port: int = 8081,
) -> bytes:
    offset = 5 + len(options) // 4 if offset is None else offset
    return struct.pack("!HHIIBBHHH", 40000, port, seq, 77, offset << 4, flags, 64240, 0, 5) + options + data


def udp(size: int, length: int | None = None) -> bytes:
    return struct.pack("!HHHH", 40000, 9999, 8 + size if length is None else length, 0) + bytes(size)


def datagram(port: int, payload: bytes, source: int = 40000) -> bytes:
    return eth(ipv4(17, struct.pack("!HHHH", source, port, 8 + len(payload), 0) + payload))


def message(flags: int, *counts: int, body: bytes = b"") -> bytes:
    """Of DNS: how many questions, answers, authorities and others there are, and all of them."""
    return struct.pack("!6H", 1234, flags, *counts) + body


def question(name: str, kind: int = 1, group: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label for label in name.encode().split(b".") if label)
    return labels + struct.pack("!xHH", kind, group)


def answer(kind: int, content: bytes, group: int = 1, name: bytes = b"\xc0\x0c") -> bytes:
    return name + struct.pack("!HHIH", kind, group, 60, len(content)) + content


def response(*answers: bytes, flags: int = 0x8180) -> bytes:
    """From a server, with a question before the answers."""
    body = question("example.com") + b"".join(answers)
    return datagram(40000, message(flags, 1, len(answers), 0, 0, body=body), 53)


def dhcp(operation: int) -> bytes:
    return datagram(67, bytes([operation, 1, 6, 0]) + bytes(24) + MAC_A + bytes(266), 68)


EXAMPLE = question("example.com")
ADDRESS = answer(1, IP_A)
NAME = b"\xc0\x0c"


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
    *(eth(ipv6(protocol, bytes(20)), 0x86DD) for protocol in (1, 2)),
    eth(ipv4(58, bytes(20))),
    *(datagram(53, message(0x0100 | operation << 11, 1, 0, 0, 0, body=EXAMPLE)) for operation in (0, 2, 3, 4, 5, 6)),
    *(datagram(53, message(flags, 1, 0, 0, 0, body=EXAMPLE)) for flags in (0, 0x0110, 0x0010, 0x0700, 0x0080)),
    *(datagram(53, message(0x0100, 1, 0, 0, 0, body=question("a.b", kind))) for kind in (1, 2, 12, 28, 33, 255, 999)),
    *(datagram(53, message(0x0100, 1, 0, 0, 0, body=question("a.b", 1, group))) for group in (0, 3, 255, 999, 0x8001)),
    datagram(53, message(0x0100, 1, 0, 0, 0, body=question("", 2))),
    datagram(53, message(0x0120, 1, 0, 0, 1, body=EXAMPLE + answer(41, b"", 1232, b"\0"))),
    datagram(53, message(0x2800, 1, 1, 1, 1, body=EXAMPLE)),
    datagram(53, message(0x0100, 0, 0, 0, 0)),
    datagram(53, message(0x0100, 2, 0, 0, 0, body=EXAMPLE)),
    datagram(53, message(0x0100, 1, 0, 0, 0, body=EXAMPLE[:-3])),
    *(response(flags=0x8180 | code) for code in range(11)),
    *(response(flags=flags) for flags in (0x8000, 0x8400, 0x8280, 0x80A0, 0x8780)),
    response(answer(5, b"\x03www" + NAME), ADDRESS),
    response(answer(28, IP6_B), answer(2, b"\x02ns\0"), answer(12, NAME)),
    response(answer(15, b"\0\x0a\x04mail" + NAME), answer(6, NAME + NAME + bytes(20))),
    response(answer(16, b"\x05hello\x03a b"), answer(33, struct.pack("!HHH", 1, 2, 5060) + b"\x03sip" + NAME)),
    response(answer(41, b"", 1232, b"\0"), answer(999, b"xyz"), answer(1, IP_A, 3)),
    response(answer(1, IP_A)[:-2]),
    datagram(40000, message(0x8180, 1, 3, 0, 0, body=EXAMPLE + ADDRESS), 53),
    datagram(40000, message(0x8180, 0, 1, 0, 0, body=answer(2, b"\x02ns\0", name=b"\0")), 53),
    datagram(5353, message(0, 2, 0, 0, 0, body=question("h.local", 1, 0x8001) + question("_ipp.local", 12)), 5353),
    datagram(5353, message(0x8400, 0, 1, 0, 0, body=answer(1, IP_A, 0x8001, b"\x01h\x05local\0")), 5353),
    eth(ipv4(6, tcp(0x18, data=struct.pack("!H", 29) + message(0x0100, 1, 0, 0, 0, body=EXAMPLE), port=53))),
    *(dhcp(operation) for operation in (1, 2, 9)),
    *(datagram(123, bytes([first]) + bytes(47), 123) for first in (0x00, 0x19, 0x1A, 0x1E, 0x23, 0x24, 0xE5)),
    datagram(6081, bytes.fromhex("0000655800000700") + eth(ipv4(17, udp(3)))),
    datagram(6081, bytes.fromhex("0240080000000700") + bytes(8) + ipv4(17, udp(3))),
    datagram(6081, bytes.fromhex("0080650300000700") + bytes(20)),
    eth(struct.pack("!II", 1024 << 12 | 64, 16 << 12 | 0x700 | 9) + ipv4(17, udp(3)), 0x8847),
    eth(struct.pack("!I", 2 << 12 | 0x100 | 64) + ipv6(17, udp(3)), 0x8848),
    eth(struct.pack("!BBHHH", 0x11, 0, 0x27, 33, 0x21) + ipv4(17, udp(3)), 0x8864),
    eth(struct.pack("!BBHHH", 0x11, 0, 0x27, 53, 0x57) + ipv6(17, udp(3)), 0x8864),
    *(eth(struct.pack("!BBHH", 0x11, code, session, 0), 0x8863) for code, session in ((9, 0), (0x65, 7), (0xA7, 7))),
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
    "AH in AH": (
        eth(ipv4(51, bytes.fromhex("330100000000010000000001") + bytes.fromhex("110100000000020000000001") + udp(4))),
        "IP 10.0.0.1 > 10.0.0.2: AH(spi=0x00000100,seq=0x1): AH(spi=0x00000200,seq=0x1): 40000 > 9999: UDP, length 4",
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
    "an Ethernet type that is unknown: tcpdump dumps it": (eth(bytes(46), 0x88B5), "ethertype 0x88b5, length 60"),
    "LLC": (eth(bytes(46), 38), "802.3, length 60"),
    "STP by name": (eth(b"\x42\x42\x03" + bytes(35), 38), "STP, length 35"),
    "LLDP by name": (eth(bytes(46), 0x88CC), "LLDP, length 46"),
    "what a VXLAN carries on the same line": (
        datagram(4789, bytes.fromhex("0000000000002a00") + eth(b"", 0x88B5)),
        "IP 10.0.0.1.40000 > 10.0.0.2.4789: VXLAN, flags [.] (0x00), vni 42: ethertype 0x88b5, length 14",
    ),
    "options of Geneve that are longer than the datagram": (
        datagram(6081, bytes.fromhex("3f00080000000700")),
        "IP 10.0.0.1.40000 > 10.0.0.2.6081: Geneve, Flags [none], vni 0x7, options [252 bytes] (invalid)",
    ),
    "too short for DNS": (datagram(53, bytes(11)), "IP 10.0.0.1.40000 > 10.0.0.2.53: UDP, length 11"),
    "a segment that does not begin with a message": (
        eth(ipv4(6, tcp(0x10, data=bytes(40), port=53))),
        "IP 10.0.0.1.40000 > 10.0.0.2.53: Flags [.], seq 1:41, ack 77, win 64240, length 40",
    ),
    "types of DNS records that came after that tcpdump": (
        datagram(53, message(0x0100, 1, 0, 0, 0, body=question("a.b", 65))),
        "IP 10.0.0.1.40000 > 10.0.0.2.53: 1234+ HTTPS? a.b. (21)",
    ),
    "a name that points to itself": (
        datagram(53, message(0x0100, 1, 0, 0, 0, body=NAME + b"\0\1\0\1")),
        "IP 10.0.0.1.40000 > 10.0.0.2.53: 1234+ A? <invalid> (18)",
    ),
    "names that could steer a terminal": (
        datagram(53, message(0x0100, 1, 0, 0, 0, body=question("b\x1b[1m\u202ex.com"))),
        "IP 10.0.0.1.40000 > 10.0.0.2.53: 1234+ A? b\\x1b[1m\\u202ex.com. (31)",
    ),
    "a PPP protocol by name": (
        eth(struct.pack("!BBHHH", 0x11, 0, 0x27, 12, 0xC021) + bytes(10), 0x8864),
        "PPPoE [ses 0x27] LCP, length 12",
    ),
    "a GSO packet longer than its length field can say": (
        eth(ipv4(6, tcp(0x10, data=bytes(100)), total=0)),
        "IP 10.0.0.1.40000 > 10.0.0.2.8081: Flags [.], seq 1:101, ack 77, win 64240, length 100",
    ),
    "most payloads are not decoded": (
        datagram(520, bytes(24)),
        "IP 10.0.0.1.40000 > 10.0.0.2.520: UDP, length 24",
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
    assert summarise(eth(bytes(46), 0x88B5)[:20], LinkType.EN10MB, 60) == "ethertype 0x88b5, length 60"


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
        eth(bytes(60_000), 0x8847),
        eth(b"\x45" + bytes(60_000), 0x8847),
        eth(ipv4(51, bytes.fromhex("330100000000010000000001") * 4000)),
        datagram(53, message(0, 9999, 0, 0, 0, body=question(f"{'a' * 60}." * 5) + b"\xc0\x0c\0\1\0\1" * 9998)),
        datagram(53, message(0x8000, 0, 5000, 0, 0, body=answer(5, NAME, name=b"\x3f" + b"a" * 63 + b"\0") * 700)),
        datagram(53, message(0x8000, 5000, 1, 0, 0, body=EXAMPLE * 3000)),
    ],
    ids=[
        "empty",
        "Ethernet in Ethernet",
        "VLANs",
        "IPIP",
        "GRE",
        "extension headers",
        "labels",
        "labels and IP",
        "AH",
        "questions",
        "answers",
        "questions before an answer",
    ],
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
