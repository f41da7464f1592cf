"""Packets of many protocols, built from nothing and the same at every run: what filters are tried on.

Checksums are left at zero: no filter looks at them.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

MAC_A, MAC_B, MAC_C = "02:00:00:00:00:01", "02:00:00:00:00:02", "08:00:27:ab:cd:ef"
BROADCAST, MULTICAST = "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:fb"

IPV4_PAIRS = (
    ("10.0.0.1", "10.0.0.2"),
    ("192.168.1.10", "8.8.8.8"),
    ("172.16.5.4", "10.1.2.3"),
    ("10.0.0.2", "255.255.255.255"),
    ("10.0.0.2", "10.0.0.255"),
    ("192.168.1.10", "224.0.0.251"),
    ("0.0.0.0", "10.0.0.1"),
    ("8.8.8.8", "192.168.1.10"),
    ("10.0.0.1", "10.0.0.1"),
)
IPV6_PAIRS = (
    ("2001:db8::1", "2001:db8::2"),
    ("fe80::1", "ff02::1"),
    ("2001:db8:0:1::10", "2001:db8:ffff::1"),
)


@dataclass(frozen=True, slots=True)
class Packet:
    """`data` is what was captured of a packet that has `wire_len` bytes on the wire."""

    data: bytes
    wire_len: int


# ---- link layers


def eth(kind: int, payload: bytes, src: str = MAC_A, dst: str = MAC_B) -> bytes:
    return _mac(dst) + _mac(src) + struct.pack("!H", kind) + payload


def vlan(tci: int, kind: int, payload: bytes) -> bytes:
    """What follows an Ethernet type of 0x8100 or 0x88a8."""
    return struct.pack("!HH", tci, kind) + payload


def llc(dsap: int, ssap: int, control: int, payload: bytes, dst: str = "01:80:c2:00:00:00") -> bytes:
    body = bytes([dsap, ssap, control]) + payload
    return eth(len(body), body, dst=dst)


def snap(oui: int, kind: int, payload: bytes) -> bytes:
    return llc(0xAA, 0xAA, 3, oui.to_bytes(3, "big") + struct.pack("!H", kind) + payload, MAC_B)


def mpls(labels: tuple[int, ...], payload: bytes) -> bytes:
    last = len(labels) - 1
    return (
        b"".join(struct.pack("!I", label << 12 | (at == last) << 8 | 64) for at, label in enumerate(labels)) + payload
    )


def pppoe(session: int, protocol: int, payload: bytes) -> bytes:
    return struct.pack("!BBHHH", 0x11, 0, session, len(payload) + 2, protocol) + payload


# ---- network layers


def ipv4(
    protocol: int,
    payload: bytes,
    pair: tuple[str, str] = IPV4_PAIRS[0],
    *,
    options: bytes = b"",
    fragment: int = 0,
    ttl: int = 64,
    tos: int = 0,
) -> bytes:
    """`fragment` has the flags in its upper three bits, and the offset in units of 8 bytes."""
    assert len(options) % 4 == 0
    head = 0x45 + len(options) // 4, tos, 20 + len(options) + len(payload), 0x1234, fragment, ttl, protocol, 0
    return struct.pack("!BBHHHBBH", *head) + _ip(pair[0]) + _ip(pair[1]) + options + payload


def ipv6(protocol: int, payload: bytes, pair: tuple[str, str] = IPV6_PAIRS[0], *, hop_limit: int = 64) -> bytes:
    return struct.pack("!IHBB", 0x60012345, len(payload), protocol, hop_limit) + _ip(pair[0]) + _ip(pair[1]) + payload


def extension(following: int, payload: bytes, words: int = 0) -> bytes:
    """Hop-by-hop, routing or destination options of 8 + 8 * words bytes; padding inside."""
    return struct.pack("!BBBB", following, words, 1, 4 + 8 * words) + bytes(4 + 8 * words) + payload


def fragment6(following: int, payload: bytes, offset: int) -> bytes:
    return struct.pack("!BBHI", following, 0, offset << 3 | 1, 0xDEADBEEF) + payload


def ah(following: int, payload: bytes) -> bytes:
    return struct.pack("!BBHIIIII", following, 5, 0, 0x100, 1, 2, 3, 4) + bytes(4) + payload


def arp(op: int, sender: str = "10.0.0.1", target: str = "10.0.0.2") -> bytes:
    addresses = _mac(MAC_A) + _ip(sender) + bytes(6) + _ip(target)
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, op) + addresses + bytes(18)


# ---- transport layers


def tcp(sport: int, dport: int, flags: int, payload: bytes = b"", options: bytes = b"", seq: int = 0x01020304) -> bytes:
    assert len(options) % 4 == 0
    offset = 5 + len(options) // 4
    return struct.pack("!HHIIBBHHH", sport, dport, seq, 7, offset << 4, flags, 4096, 0, 0) + options + payload


def udp(sport: int, dport: int, payload: bytes = b"") -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def sctp(sport: int, dport: int) -> bytes:
    return struct.pack("!HHIIBBHI", sport, dport, 1, 0, 1, 0, 20, 99) + bytes(12)


def icmp(kind: int, code: int = 0, payload: bytes = bytes(48)) -> bytes:
    return struct.pack("!BBHHH", kind, code, 0, 0x77, 1) + payload


def gre(kind: int, payload: bytes, key: int | None = None) -> bytes:
    if key is None:
        return struct.pack("!HH", 0, kind) + payload
    return struct.pack("!HHI", 0x2000, kind, key) + payload


def geneve(vni: int, kind: int, payload: bytes, options: bytes = b"") -> bytes:
    return struct.pack("!BBHI", len(options) // 4, 0, kind, vni << 8) + options + payload


def vxlan(vni: int, payload: bytes) -> bytes:
    return struct.pack("!II", 0x08000000, vni << 8) + payload


# ---- the packets

_HTTP = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: none\r\n\r\n"
_DNS = struct.pack("!HHHHHH", 0xABCD, 0x0100, 1, 0, 0, 0) + b"\x03www\x07example\x03com\0\0\1\0\1"
_TCP_OPTIONS = struct.pack("!BBHBBBBIIBBBB", 2, 4, 1460, 4, 2, 8, 10, 123456, 0, 1, 3, 3, 7)


def transports() -> tuple[tuple[int, bytes], ...]:
    """IP protocol numbers and what follows the IP header."""
    segments = (
        tcp(40000, 80, 0x02, options=_TCP_OPTIONS),
        tcp(80, 40000, 0x12, options=_TCP_OPTIONS[:8]),
        tcp(40000, 80, 0x18, _HTTP),
        tcp(40000, 8080, 0x18, _HTTP, _TCP_OPTIONS),
        tcp(443, 51000, 0x11),
        tcp(22, 50022, 0x04),
        tcp(50022, 22, 0x10, bytes(range(256)) * 3),
        tcp(53, 53, 0x3F, b"\xff" * 40),
        tcp(179, 1024, 0xC2, seq=0xFFFFFFFF),
    )
    datagrams = (
        udp(5353, 5353, _DNS),
        udp(40001, 53, _DNS),
        udp(53, 40001, _DNS * 4),
        udp(68, 67, bytes(300)),
        udp(123, 123, b"\x23" + bytes(47)),
        udp(1024, 9999),
        udp(6081, 6081, geneve(0x123456, 0x6558, eth(0x0800, ipv4(6, tcp(1, 80, 2))))),
        udp(40000, 6081, geneve(7, 0x0800, ipv4(17, udp(1, 53)), b"\0\0\0\1\0\0\0\0")),
        udp(40000, 4789, vxlan(42, eth(0x0800, ipv4(6, tcp(40000, 80, 2))))),
        udp(40000, 4789, vxlan(43, eth(0x8100, vlan(100, 0x86DD, ipv6(58, icmp(128)))))),
    )
    others = (
        (132, sctp(80, 36412)),
        (132, sctp(2905, 2905)),
        (1, icmp(8)),
        (1, icmp(0)),
        (1, icmp(3, 4, ipv4(17, udp(53, 40001)))),
        (1, icmp(11)),
        (1, icmp(5, 1)),
        (58, icmp(128)),
        (58, icmp(129)),
        (58, icmp(135, payload=bytes(16))),
        (58, icmp(136, payload=bytes(16))),
        (58, icmp(134)),
        (58, icmp(1, 4)),
        (2, b"\x16\0\0\0" + ip_address("224.0.0.251").packed),
        (103, b"\x20\0\0\0" + bytes(8)),
        (112, b"\x21\x07\x64\x01\0\1\0\0" + ip_address("10.0.0.9").packed),
        (47, gre(0x0800, ipv4(6, tcp(1, 80, 2)))),
        (47, gre(0x6558, eth(0x0806, arp(1)), key=5)),
        (50, struct.pack("!II", 0x1000, 1) + bytes(64)),
        (51, ah(6, tcp(40000, 80, 2))),
        (4, ipv4(17, udp(1, 53), IPV4_PAIRS[1])),
        (41, ipv6(6, tcp(40000, 80, 2))),
        (9, bytes(20)),
        (88, bytes(40)),
        (89, b"\x02\x01" + bytes(42)),
        (253, bytes(range(64))),
    )
    return (*((6, data) for data in segments), *((17, data) for data in datagrams), *others)


def ip_packets() -> tuple[bytes, ...]:
    """IPv4 and IPv6 packets: every transport, options, fragments, extension headers."""
    made: list[bytes] = []
    options = (b"", b"\x94\x04\0\0", b"\x01" * 8, b"\x07\x27\x04" + bytes(37))
    for at, (protocol, data) in enumerate(transports()):
        pair4, pair6 = IPV4_PAIRS[at % len(IPV4_PAIRS)], IPV6_PAIRS[at % len(IPV6_PAIRS)]
        made.append(ipv4(protocol, data))
        made.append(ipv4(protocol, data, pair4, options=options[at % 4], ttl=1 + at * 5, tos=at * 4))
        made.append(ipv6(protocol, data, pair6, hop_limit=1 + at * 5))
    some = transports()[::5]
    for at, (protocol, data) in enumerate(some):
        made.append(ipv4(protocol, data, fragment=0x2000))
        made.append(ipv4(protocol, data, fragment=0x2000 | 64 + at, options=options[1]))
        made.append(ipv4(protocol, data, fragment=0x4000))
        made.append(ipv4(protocol, data, fragment=185 * (at + 1)))
        made.append(ipv6(0, extension(protocol, data)))
        made.append(ipv6(44, fragment6(protocol, data, 0)))
        made.append(ipv6(44, fragment6(protocol, data, 100 + at)))
        made.append(ipv6(0, extension(43, extension(60, extension(protocol, data, 1), 2))))
        made.append(ipv6(51, ah(protocol, data)))
        made.append(ipv4(51, ah(51, ah(protocol, data))))
    return tuple(made)


def _other_frames() -> tuple[bytes, ...]:
    inside = ipv4(6, tcp(40000, 80, 2)), ipv6(17, udp(1, 53)), ipv4(17, udp(53, 1), IPV4_PAIRS[2])
    return (
        *(eth(0x0806, arp(op), dst=BROADCAST) for op in (1, 2)),
        eth(0x0806, arp(2, "192.168.1.10", "172.16.5.4"), MAC_C),
        eth(0x8035, arp(3), dst=BROADCAST),
        eth(0x80F3, bytes(28)),
        eth(0x809B, bytes(28)),
        snap(0x080007, 0x809B, bytes(20)),
        snap(0x000000, 0x80F3, bytes(20)),
        snap(0x000000, 0x0800, inside[0]),
        llc(0x42, 0x42, 3, bytes(35)),
        llc(0xE0, 0xE0, 3, b"\xff\xff" + bytes(28)),
        llc(0xFF, 0xFF, 0xFF, bytes(28)),
        eth(0x8137, b"\xff\xff" + bytes(28)),
        snap(0, 0x8137, bytes(28)),
        llc(0xF0, 0xF0, 3, bytes(20)),
        llc(0xF0, 0xF1, 0x7F, bytes(20)),
        *(llc(0xFE, 0xFE, 3, bytes([nlpid, 27, 1, 0, kind]) + bytes(20)) for nlpid, kind in _OSI),
        *(llc(0x06, 0x06, control, bytes(20)) for control in _LLC_CONTROLS),
        llc(0x06, 0x07, 0x02, bytes(20)),
        eth(0x6003, b"\x0e\0\x02\x01\x02\x03\x04" + bytes(30)),
        eth(0x6003, b"\x20\0\x81\x26" + bytes(60)),
        *(
            eth(kind, bytes(46))
            for kind in (0x6001, 0x6002, 0x6004, 0x6007, 0x88CC, 0x888E, 0x88F7, 0x0842, 0x9000, 0x88E5)
        ),
        *(
            eth(0x8100, vlan(tci, 0x0800, data), dst=BROADCAST)
            for tci in (100, 0xE064, 0, 4095)
            for data in inside[::2]
        ),
        eth(0x8100, vlan(200, 0x86DD, inside[1])),
        eth(0x8100, vlan(100, 0x0806, arp(1))),
        eth(0x88A8, vlan(10, 0x8100, vlan(100, 0x0800, inside[0]))),
        eth(0x8100, vlan(100, 0x8100, vlan(300, 0x86DD, inside[1]))),
        eth(0x9100, vlan(5, 0x0800, inside[2])),
        eth(0x8100, vlan(100, 0x8847, mpls((1024, 16), inside[0]))),
        *(eth(0x8847, mpls(labels, data)) for labels in ((16,), (100000, 1024), (3, 2, 1)) for data in inside[:2]),
        eth(0x8848, mpls((1024,), inside[0]), dst=MULTICAST),
        eth(0x8863, struct.pack("!BBHH", 0x11, 9, 0, 4) + b"\1\1\0\0", dst=BROADCAST),
        *(eth(0x8864, pppoe(session, kind, data)) for session, kind, data in _sessions(inside)),
        eth(0x8100, vlan(7, 0x8864, pppoe(9, 0x21, inside[0]))),
        eth(0x1234, bytes(range(100)), MAC_C, "33:33:00:00:00:01"),
        eth(46, bytes(46)),
        eth(1500, bytes(range(250)) * 6),
        bytes(range(60)),
        b"",
    )


_OSI = ((0x82, 0), (0x83, 15), (0x83, 16), (0x83, 17), (0x83, 18), (0x83, 20), (0x83, 24), (0x83, 26), (0x81, 0))


# RR, RNR, REJ, UI, UA, DISC, SABME, TEST, XID, FRMR
_LLC_CONTROLS = (0x01, 0x05, 0x09, 0x03, 0x63, 0x43, 0x6F, 0xE3, 0xAF, 0x87)


def _sessions(inside: tuple[bytes, ...]) -> Iterator[tuple[int, int, bytes]]:
    return zip((0x27, 0x1234, 0x27, 1), (0x21, 0x57, 0xC021, 0x21), (*inside[:2], bytes(10), inside[2]), strict=True)


def frames() -> tuple[bytes, ...]:
    """Ethernet frames of every protocol."""
    macs = ((MAC_A, MAC_B), (MAC_C, BROADCAST), (MAC_B, MULTICAST), (MAC_B, MAC_A))
    return (
        *(eth(0x0800 if data[0] >> 4 == 4 else 0x86DD, data, *macs[at % 4]) for at, data in enumerate(ip_packets())),
        *_other_frames(),
    )


def ethernet_samples(count: int, seed: int = 1) -> tuple[Packet, ...]:
    """The frames, then frames cut short, made longer than what was captured, spoiled, and noise: `count` in all."""
    return _samples(frames(), count, seed)


def raw_samples(count: int, seed: int = 2) -> tuple[Packet, ...]:
    """The same for packets that begin with an IP header."""
    return _samples((*ip_packets(), b"", b"\x45", bytes(60), ipv4(6, b"")), count, seed)


def _samples(whole: tuple[bytes, ...], count: int, seed: int) -> tuple[Packet, ...]:
    rng = random.Random(seed)
    if count < len(whole):
        return tuple(
            _vary(rng, data) if at % 3 == 0 else _whole(data) for at, data in enumerate(rng.sample(whole, count))
        )
    more = tuple(_vary(rng, rng.choice(whole)) for _ in range(count - len(whole)))
    return (*map(_whole, whole), *more)


def _whole(data: bytes) -> Packet:
    return Packet(data, len(data))


def _vary(rng: random.Random, data: bytes) -> Packet:
    match rng.randrange(8):
        case 0 | 1 | 2:
            return Packet(data[: rng.randrange(len(data) + 1)], len(data))
        case 3:
            return Packet(data[: rng.randrange(min(len(data), 70) + 1)], len(data))
        case 4:
            return Packet(data, len(data) + rng.choice((1, 60, 1000, 65000)))
        case 5:
            return _whole(data + rng.randbytes(rng.choice((1, 100, 400, 1400))))
        case 6:
            return _whole(rng.randbytes(rng.randrange(120)))
        case _:
            return _whole(_spoil(rng, data))


def _spoil(rng: random.Random, data: bytes) -> bytes:
    """`data` with a few bytes changed: header lengths, types and ports that nobody sends."""
    spoiled = bytearray(data)
    for _ in range(rng.randrange(1, 5) if data else 0):
        spoiled[rng.randrange(min(len(data), 80))] = rng.choice((0, 0xFF, 0x45, 0x4F, rng.randrange(256)))
    return bytes(spoiled)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _ip(text: str) -> bytes:
    address = ip_address(text)
    assert isinstance(address, IPv6Address) or address.version == 4
    return address.packed
