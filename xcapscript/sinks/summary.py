"""A packet as one line, worded as tcpdump does: the link layer, IP, and what carries packets within packets.
What IP carries is decoded in `transport` and `icmp`; of payloads, DNS, DHCP and NTP.
"""

from __future__ import annotations

import struct

import dpkt

from xcapscript.sinks.decoding import Decoder, Line, TooShort, header, ip4, ip6, mac, take, unpack
from xcapscript.sinks.dns import DNS_SIZE, dns, mdns
from xcapscript.sinks.icmp import icmp, icmp6, igmp
from xcapscript.sinks.transport import at_least, dhcp, ntp, ported, tcp, udp
from xcapscript.unit import LinkType

_ETHERNET_SIZE, _IP4_SIZE, _IP6_SIZE = 14, 20, 40
_VLAN_TYPES = frozenset((0x8100, 0x88A8, 0x9100, 0x9200))
_LONGEST_8023 = 1500

_HOP_BY_HOP, _ICMP, _IGMP, _IPIP, _TCP, _UDP, _IPV6, _ROUTING, _FRAGMENT = 0, 1, 2, 4, 6, 17, 41, 43, 44
_GRE, _ESP, _AH, _ICMP6, _NO_NEXT, _DESTINATION = 47, 50, 51, 58, 59, 60
_PORTED = {33: "DCCP", 132: "SCTP", 136: "UDP-Lite"}
_NAMED = {46: "RSVP", 88: "EIGRP", 89: "OSPF", 103: "PIM", 108: "IPComp", 112: "VRRP", 115: "L2TP"}
_OF_VERSION = {_ICMP: ("ICMP", 4), _IGMP: ("IGMP", 4), _ICMP6: ("ICMPv6", 6)}
_PRINTS_PORTS = frozenset((_TCP, _UDP, *_PORTED))

_U8, _U16, _U32 = struct.Struct("!B"), struct.Struct("!H"), struct.Struct("!I")
_TWO_U8, _TWO_U16, _TWO_U32 = struct.Struct("!BB"), struct.Struct("!HH"), struct.Struct("!II")
_GENEVE, _PPPOE = struct.Struct("!BBHI"), struct.Struct("!BBHH")
_MOST_LABELS = 16
_GRE_CHECKSUM, _GRE_ROUTING, _GRE_KEY, _GRE_SEQUENCE, _GRE_ACK = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
_TRANSPARENT_ETHERNET = 0x6558
_TUNNEL_SIZE, _VNI_KNOWN, _GENEVE_OPTIONS = 8, 0x08, 0x3F
_BOTTOM = 0x100
_NAMED_TYPES = {0x888E: "EAPOL", 0x88CC: "LLDP", 0x88E5: "MACsec", 0x88F7: "PTP"}
_PPP = {0x21: 0x0800, 0x57: 0x86DD}
_PPP_NAMES = {0x8021: "IPCP", 0x8057: "IP6CP", 0xC021: "LCP", 0xC023: "PAP", 0xC223: "CHAP"}
_PPPOE_CODES = {0x07: "PADO", 0x09: "PADI", 0x19: "PADR", 0x65: "PADS", 0xA7: "PADT"}

_ARP_HARDWARE = {1: "Ethernet", 24: "IEEE 1394", 32: "InfiniBand"}
_ARP_OPERATIONS = {
    1: "Request who-has {tpa}{tha} tell {spa}",
    2: "Reply {spa} is-at {sha}",
    3: "Reverse Request who-is {target} tell {sha}",
    4: "Reverse Reply {target} at {tpa}",
    8: "Inverse Request who-is {target} tell {sha}",
    9: "Inverse Reply {sha} at {spa}",
    10: "NACK Reply for {spa}",
}


def summarise(data: bytes, link: int, wire_len: int) -> str:
    """The line of a packet of `wire_len` bytes, of which `data` was captured, beginning with a header of DLT `link`.

    Takes any bytes; the line has no control characters.
    """
    line = Line()
    length = max(wire_len, len(data))
    try:
        if link == LinkType.EN10MB:
            _ethernet(line, data, length)
        elif link == LinkType.RAW:
            _ip(line, data, length)
        else:
            line.add(f"link type {link}, length {length}")
    except TooShort:
        line.cut_short()
    return line.text()


def _ethernet(line: Line, data: bytes, length: int) -> None:
    line.protocol = "ether"
    if not line.descend():
        return
    kind, at = header(dpkt.ethernet.Ethernet, data).type, _ETHERNET_SIZE
    while kind in _VLAN_TYPES:
        line.protocol = "vlan"
        if not line.descend():
            return
        tag, kind = unpack(_TWO_U16, data, at)
        line.add(f"vlan {tag & 0x0FFF}, ")
        at += 4
    decode = _BY_ETHERTYPE.get(kind)
    if decode is not None:
        decode(line, data[at:], length - at)
    elif kind <= _LONGEST_8023:
        # of LLC, what bridges say to each other
        is_stp = data[at : at + 2] == b"\x42\x42"
        line.add(f"STP, length {kind - 3}" if is_stp else f"802.3, length {length}")
    elif kind in _NAMED_TYPES:
        line.add(f"{_NAMED_TYPES[kind]}, length {length - at}")
    else:
        line.add(f"ethertype 0x{kind:04x}, length {length}")


def _arp(line: Line, data: bytes, length: int) -> None:
    line.protocol = "arp"
    arp = header(dpkt.arp.ARP, data)
    if arp.pro != 0x0800 or arp.pln != 4 or arp.hln != 6:
        hardware = _ARP_HARDWARE.get(arp.hrd, f"Unknown Hardware ({arp.hrd})")
        line.add(f"ARP, {hardware} (len {arp.hln}), protocol 0x{arp.pro:04x} (len {arp.pln}), length {length}")
        return
    operation = _ARP_OPERATIONS.get(arp.op, f"Unknown ({arp.op})").format(
        spa=ip4(arp.spa),
        tpa=ip4(arp.tpa),
        sha=mac(arp.sha),
        tha=f" ({mac(arp.tha)})" if any(arp.tha) else "",
        target=mac(arp.tha),
    )
    line.add(f"ARP, {operation}, length {length}")


def _ip(line: Line, data: bytes, length: int) -> None:
    line.protocol = "ip"
    (first,) = unpack(_U8, data)
    match first >> 4:
        case 4:
            _ip4(line, data, length)
        case 6:
            _ip6(line, data, length)
        case version:
            line.add(f"unknown ip {version}, length {length}")


def _ip4(line: Line, data: bytes, length: int) -> None:
    if not _enter(line, "ip", data, length, 4):
        return
    packet = header(dpkt.ip.IP, data)
    size, total = packet.hl * 4, packet.len or length  # 0: a GSO packet longer than the field can say
    if length < total:
        line.add(f"truncated-ip - {total - length} bytes missing! ")
    if size < _IP4_SIZE:
        line.add(f"bad-hlen {size}")
        return
    if total < size:
        line.add(f"bad-len {total}")
        return
    line.addresses, number = (ip4(packet.src), ip4(packet.dst)), packet.p
    if packet.offset:
        line.add_addresses()
        line.add(f"ip-proto-{number} frag ({packet.offset * 8}|{total - size})")
        return
    if number not in _PRINTS_PORTS:
        line.add_addresses()
    take(data, 0, size)
    _carried(line, number, data[size:total], total - size, version=4, fragmented=packet.mf)


def _ip6(line: Line, data: bytes, length: int) -> None:
    if not _enter(line, "ip6", data, length, 6):
        return
    packet = header(dpkt.ip6.IP6, data)
    size = packet.plen or length - _IP6_SIZE  # 0: a jumbogram, or a GSO packet longer than the field can say
    if length < _IP6_SIZE + size:
        line.add(f"truncated-ip6 - {_IP6_SIZE + size - length} bytes missing!")
    line.addresses, number = (ip6(packet.src), ip6(packet.dst)), packet.nxt
    if number not in _PRINTS_PORTS:
        line.add_addresses()
    at, end, fragmented = _IP6_SIZE, _IP6_SIZE + size, False
    while number in (_HOP_BY_HOP, _DESTINATION, _ROUTING, _FRAGMENT):
        following, units = unpack(_TWO_U8, data, at)
        step = 8 if number == _FRAGMENT else (units + 1) * 8
        if at + step > end:
            raise TooShort
        if number == _FRAGMENT:
            (place,) = unpack(_U16, data, at + 2)
            line.add(f"frag ({place & 0xFFF8}|{end - at - 8}) ")
            if place & 0xFFF8:
                return
            fragmented = True
        else:
            line.add(_extension(number, take(data, at, step)))
        number, at = following, at + step
    _carried(line, number, data[at:end], end - at, version=6, fragmented=fragmented)


def _enter(line: Line, protocol: str, data: bytes, length: int, version: int) -> bool:
    """Begin a packet of IP, which may be in another; whether its header is one, and long enough."""
    line.protocol = protocol
    if not line.descend():
        return False
    (first,) = unpack(_U8, data)
    if first >> 4 != version:
        swapped = ", wrong link-layer encapsulation" if first >> 4 in (4, 6) else ""
        line.add(f"IP{first >> 4}{swapped} (invalid)")
        return False
    line.add("IP " if version == 4 else "IP6 ")
    if length < (_IP4_SIZE if version == 4 else _IP6_SIZE):
        line.add(f"truncated-{protocol} {length}")
        return False
    return True


def _extension(number: int, data: bytes) -> str:
    """An extension header of IPv6, which begins with the next header's number and its own length."""
    if number == _ROUTING:
        return f"RT6 (len={data[1]}, type={data[2]}, segleft={data[3]}) "
    return "HBH " if number == _HOP_BY_HOP else "DSTOPT "


def _carried(line: Line, number: int, data: bytes, length: int, *, version: int, fragmented: bool) -> None:
    """What IP of this version carries as protocol `number`."""
    while number == _AH:
        line.protocol = "ah"
        if not line.descend():
            return
        following, units = unpack(_TWO_U8, data)
        spi, sequence = unpack(_TWO_U32, data, 4)
        size = (units + 2) * 4
        take(data, 0, size)
        line.add(f"AH(spi=0x{spi:08x},seq=0x{sequence:x}): ")
        number, data, length = following, data[size:], length - size
    if number == _TCP:
        tcp(line, data, length)
    elif number == _UDP:
        udp(line, data, length, _BY_PORT, fragmented=fragmented)
    elif number in _PORTED:
        ported(line, data, length, _PORTED[number])
    elif number in _BY_PROTOCOL:
        name, wanted = _OF_VERSION.get(number, ("", version))
        if version != wanted:
            line.add(f"[{name} requires IPv{wanted}] (invalid)")
        else:
            _BY_PROTOCOL[number](line, data, length)
    elif number in _NAMED:
        line.add(f"{_NAMED[number]}, length {length}")
    else:
        line.add(f"ip-proto-{number} {length}")


def _esp(line: Line, data: bytes, length: int) -> None:
    line.protocol = "esp"
    spi, sequence = unpack(_TWO_U32, data)
    line.add(f"ESP(spi=0x{spi:08x},seq=0x{sequence:x}), length {length}")


def _no_next(line: Line, _data: bytes, _length: int) -> None:
    line.add("no next header")


def _gre(line: Line, data: bytes, length: int) -> None:
    """RFC 2784, 2890 and 2637 (version 1)."""
    line.protocol = "gre"
    gre, at = header(dpkt.gre.GRE, data), 4
    line.add(f"GREv{gre.v}")
    if gre.v > 1 or gre.flags & _GRE_ROUTING:
        line.add(f", length {length}")
        return
    if gre.flags & _GRE_CHECKSUM and gre.v == 0:
        line.add(f", off 0x{unpack(_TWO_U16, data, at)[1]:x}")
        at += 4
    for flag, words in _GRE_FIELDS[gre.v]:
        if gre.flags & flag:
            (value,) = unpack(_U32, data, at)
            line.add(words.format(value, value & 0xFFFF))
            at += 4
    if gre.v == 1 and not gre.flags & _GRE_SEQUENCE:
        line.add(f", no-payload, length {length}")
        return
    line.add(f", length {length}: ")
    decode = _BY_ETHERTYPE.get(gre.p)
    if decode is None:
        line.add(f"gre-proto-0x{gre.p:x}")
    else:
        decode(line, data[at:], length - at)


def _vxlan(line: Line, data: bytes, length: int) -> None:
    """RFC 7348, section 5."""
    line.protocol = "vxlan"
    flags, network = unpack(_TWO_U32, data)
    known = "I" if flags >> 24 & _VNI_KNOWN else "."
    line.add(f"VXLAN, flags [{known}] (0x{flags >> 24:02x}), vni {network >> 8}: ")
    _ethernet(line, data[_TUNNEL_SIZE:], length - _TUNNEL_SIZE)


def _geneve(line: Line, data: bytes, length: int) -> None:
    """RFC 8926, 3.4."""
    line.protocol = "geneve"
    first, flags, kind, network = unpack(_GENEVE, data)
    words = "".join(letter for bit, letter in ((0x80, "O"), (0x40, "C")) if flags & bit) or "none"
    line.add(f"Geneve, Flags [{words}], vni 0x{network >> 8:x}")
    options = (first & _GENEVE_OPTIONS) * 4
    if options:
        line.add(f", options [{options} bytes]")
    at = _TUNNEL_SIZE + options
    if at > length:
        line.add(" (invalid)")
        return
    take(data, 0, at)
    line.add(": ")
    decode = _BY_ETHERTYPE.get(kind)
    if decode is None:
        line.add(f"geneve-proto-0x{kind:x}")
    else:
        decode(line, data[at:], length - at)


def _mpls(line: Line, data: bytes, length: int) -> None:
    """RFC 3032, section 2.1; what lies behind the last label is known by its first bits."""
    line.protocol = "mpls"
    if not line.descend():
        return
    at, bottom = 0, False
    line.add("MPLS ")
    while not bottom:
        (entry,) = unpack(_U32, data, at)
        bottom = bool(entry & _BOTTOM)
        stop = ", [S]" if bottom else ""
        line.add(f"(label {entry >> 12}, tc {entry >> 9 & 7}{stop}, ttl {entry & 0xFF}) ")
        at += 4
        if at > _MOST_LABELS * 4:
            return
    (first,) = unpack(_U8, data, at)
    if first >> 4 in (4, 6):
        _ip(line, data[at:], length - at)


def _pppoe(line: Line, data: bytes, length: int) -> None:
    """RFC 2516, section 4."""
    line.protocol = "pppoe"
    _, code, session, _ = unpack(_PPPOE, data)
    if code:
        name = _PPPOE_CODES.get(code, f"PAD-{code:x}")
        line.add(f"PPPoE {name}{f' [ses 0x{session:x}]' if session else ''}")
        return
    (protocol,) = unpack(_U16, data, 6)
    line.add(f"PPPoE [ses 0x{session:x}] ")
    if protocol in _PPP:
        _BY_ETHERTYPE[_PPP[protocol]](line, data[8:], length - 8)
    else:
        line.add(f"{_PPP_NAMES.get(protocol, f'ppp-proto-0x{protocol:x}')}, length {length - 6}")


_GRE_FIELDS = (
    ((_GRE_KEY, ", key=0x{0:x}"), (_GRE_SEQUENCE, ", seq {0}")),
    ((_GRE_KEY, ", call {1}"), (_GRE_SEQUENCE, ", seq {0}"), (_GRE_ACK, ", ack {0}")),
)
_BY_ETHERTYPE: dict[int, Decoder] = {
    0x0800: _ip4,
    0x0806: _arp,
    _TRANSPARENT_ETHERNET: _ethernet,
    0x8035: _arp,
    0x86DD: _ip6,
    0x8847: _mpls,
    0x8848: _mpls,
    0x8863: _pppoe,
    0x8864: _pppoe,
}
_BY_PORT: dict[int, Decoder] = {
    53: at_least(DNS_SIZE, dns),
    67: dhcp,
    68: dhcp,
    123: ntp,
    4789: at_least(_TUNNEL_SIZE, _vxlan),
    5353: at_least(DNS_SIZE, mdns),
    6081: at_least(_TUNNEL_SIZE, _geneve),
}
_BY_PROTOCOL: dict[int, Decoder] = {
    _ICMP: icmp,
    _IGMP: igmp,
    _IPIP: _ip4,
    _IPV6: _ip6,
    _GRE: _gre,
    _ESP: _esp,
    _ICMP6: icmp6,
    _NO_NEXT: _no_next,
}
