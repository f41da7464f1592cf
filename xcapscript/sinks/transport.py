"""Lines of what has ports: TCP with its options, UDP, and the names of others; and of what UDP carries that has no
file of its own. The wording is tcpdump's.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import dpkt

from xcapscript.sinks.decoding import Decoder, Line, TooShort, header, mac, take, unpack
from xcapscript.sinks.dns import dns_over_tcp

_PORTS = struct.Struct("!HH")
_U8, _U16, _TWO_U32 = struct.Struct("!B"), struct.Struct("!H"), struct.Struct("!II")
_TCP_SIZE, _UDP_SIZE = 20, 8
_FLAGS = tuple((1 << bit, letter) for bit, letter in enumerate("FSRP.UEW"))
_FIN_SYN_RST, _ACK, _URG = 0x07, 0x10, 0x20
_DOMAIN = 53

_EOL, _NOP, _FAST_OPEN = 0, 1, 34
_OPTION_NAMES = {
    0: "eol", 1: "nop", 2: "mss", 3: "wscale", 4: "sackOK", 5: "sack", 8: "TS", 19: "md5", 28: "uto", 29: "tcp-ao",
    30: "mptcp", 34: "tfo", 254: "exp",
}  # fmt: skip
_REQUEST = 1
_DHCP_OPERATIONS = {_REQUEST: "Request", 2: "Reply"}
_NTP_MODES = (
    "unspecified", "symmetric active", "symmetric passive", "Client", "Server", "Broadcast", "Control Message",
    "Reserved",
)  # fmt: skip


def _ports(line: Line, data: bytes, protocol: str) -> None:
    line.protocol = protocol
    if len(data) < _PORTS.size:
        line.add_addresses()
        raise TooShort
    line.add_ports(*_PORTS.unpack_from(data))


def ported(line: Line, data: bytes, length: int, name: str) -> None:
    """A protocol that begins with two ports, of which we know no more."""
    _ports(line, data, name.lower())
    line.add(f"{name}, length {length}")


def udp(line: Line, data: bytes, length: int, carried: Mapping[int, Decoder], *, fragmented: bool) -> None:
    """`carried` has by port what is known of payloads."""
    _ports(line, data, "udp")
    if length < _UDP_SIZE:
        line.add(f"truncated-udp {length}")
        return
    datagram = header(dpkt.udp.UDP, data)
    size = datagram.ulen
    if size == 0 and length > 0xFFFF:  # RFC 2675
        size = length
    if size < _UDP_SIZE:
        line.add(f"truncated-udplength {size}")
    elif size > length and not fragmented:
        line.add(f"UDP, bad length {size - _UDP_SIZE} > {length - _UDP_SIZE}")
    else:
        decode = carried.get(datagram.dport) or carried.get(datagram.sport) or _datagram
        decode(line, data[_UDP_SIZE:size], size - _UDP_SIZE)


def _datagram(line: Line, _data: bytes, length: int) -> None:
    line.add(f"UDP, length {length}")


def at_least(size: int, decode: Decoder) -> Decoder:
    """`decode`, where there are `size` bytes: a datagram that has fewer is something else."""
    return lambda line, data, length: (decode if length >= size else _datagram)(line, data, length)


def dhcp(line: Line, data: bytes, length: int) -> None:
    """RFC 2131, section 2."""
    line.protocol = "bootp"
    operation, hardware, size = take(data, 0, 3)
    line.add(f"BOOTP/DHCP, {_DHCP_OPERATIONS.get(operation, f'unknown (0x{operation:02x})')}")
    if operation == _REQUEST and (hardware, size) == (1, 6):
        line.add(f" from {mac(take(data, 28, 6))}")
    line.add(f", length {length}")


def ntp(line: Line, data: bytes, length: int) -> None:
    """RFC 5905, 7.3."""
    line.protocol = "ntp"
    (first,) = unpack(_U8, data)
    line.add(f"NTPv{first >> 3 & 7}, {_NTP_MODES[first & 7]}, length {length}")


def tcp(line: Line, data: bytes, length: int) -> None:
    _ports(line, data, "tcp")
    segment = header(dpkt.tcp.TCP, data)
    flags, size = segment.flags & 0xFF, segment.off * 4
    if size < _TCP_SIZE:
        line.add(f"tcp {length - size} [bad hdr length {size} - too short, < {_TCP_SIZE}]")
        return
    line.add(f"Flags [{''.join(letter for bit, letter in _FLAGS if flags & bit) or 'none'}]")
    if size > length:
        line.add(f" [bad hdr length {size} - too long, > {length}]")
        return
    payload = length - size
    if payload:
        line.add(f", seq {segment.seq}:{(segment.seq + payload) & 0xFFFFFFFF}")
    elif flags & _FIN_SYN_RST:
        line.add(f", seq {segment.seq}")
    if flags & _ACK:
        line.add(f", ack {segment.ack}")
    line.add(f", win {segment.win}")
    if flags & _URG:
        line.add(f", urg {segment.urp}")
    if size > _TCP_SIZE:
        line.add(", options [")
        if not _options(line, data[_TCP_SIZE:size], size - _TCP_SIZE):
            line.add("[bad opt]]")
            return
        line.add("]")
    line.add(f", length {payload}")
    if _DOMAIN in (segment.sport, segment.dport):
        dns_over_tcp(line, data[size:], payload)


def _options(line: Line, data: bytes, room: int) -> bool:
    """Print TCP options (RFC 9293, 3.1), of which `data` holds what was captured; False if their lengths are wrong."""
    at = 0
    while at < room:
        (kind,) = unpack(_U8, data, at)
        size = 1
        if kind not in (_EOL, _NOP):
            (size,) = unpack(_U8, data, at + 1)
            if size < 2 or at + size > room:
                return False
        line.add(f"{',' if at else ''}{_OPTION_NAMES.get(kind, f'unknown-{kind}')}")
        if size > 2:
            line.add(_option(kind, take(data, at + 2, size - 2)))
        elif kind == _FAST_OPEN:
            line.add(" cookiereq")
        if kind == _EOL:
            break
        at += size
    return True


def _option(kind: int, value: bytes) -> str:
    match kind, len(value):
        case 2, 2:
            return f" {_U16.unpack(value)[0]}"
        case 3, 1:
            return f" {value[0]}"
        case 5, size if size % 8 == 0:
            edges = "".join(f"{{{left}:{right}}}" for left, right in _TWO_U32.iter_unpack(value))
            return f" {size // 8} {edges}"
        case 8, 8:
            sent, echoed = _TWO_U32.unpack(value)
            return f" val {sent} ecr {echoed}"
        case 34, size:
            return f" cookie {value.hex()}" if 4 <= size <= 16 and size % 2 == 0 else " (invalid)"
        case 254, size if size >= 2:
            return f"-{value[:2].hex()}"
        case 30, size:
            return f" {size + 2}"
        case _:
            return f" 0x{value.hex()}"
