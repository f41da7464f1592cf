"""Lines of ICMP, ICMPv6 and IGMP messages. The wording is tcpdump's."""

from __future__ import annotations

import struct
from typing import Any

import dpkt

from xcapscript.sinks.decoding import Line, TooShort, header, ip4, ip6, take, unpack

_U16, _U32, _TWO_U16 = struct.Struct("!H"), struct.Struct("!I"), struct.Struct("!HH")
_PORT_NAMES = {6: "tcp", 17: "udp"}

_UNREACHABLE = {
    0: "net {} unreachable",
    1: "host {} unreachable",
    5: "{} unreachable - source route failed",
    6: "net {} unreachable - unknown",
    7: "host {} unreachable - unknown",
    8: "{} unreachable - source host isolated",
    9: "net {} unreachable - admin prohibited",
    10: "host {} unreachable - admin prohibited",
    11: "net {} unreachable - tos prohibited",
    12: "host {} unreachable - tos prohibited",
    13: "host {} unreachable - admin prohibited filter",
    14: "host {} unreachable - host precedence violation",
    15: "host {} unreachable - precedence cutoff",
}
_REDIRECT = {
    0: "redirect {} to net",
    1: "redirect {} to host",
    2: "redirect-tos {} to net",
    3: "redirect-tos {} to host",
}
_OTHER = {
    4: "source quench",
    9: "router advertisement",
    10: "router solicitation",
    13: "time stamp request",
    14: "time stamp reply",
    15: "information request",
    16: "information reply",
    17: "address mask request",
    18: "address mask reply",
}

_TYPES6 = {
    1: "destination unreachable",
    2: "packet too big",
    3: "time exceeded in-transit",
    4: "parameter problem",
    128: "echo request",
    129: "echo reply",
    130: "multicast listener query",
    131: "multicast listener report",
    132: "multicast listener done",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbor solicitation",
    136: "neighbor advertisement",
    137: "redirect",
    138: "router renumbering",
    139: "node information query",
    140: "node information reply",
    141: "inverse neighbor solicitation",
    142: "inverse neighbor advertisement",
    143: "multicast listener report v2",
    144: "ha discovery request",
    145: "ha discovery reply",
    146: "mobile router solicitation",
    147: "mobile router advertisement",
}
_UNREACHABLE6 = {
    0: "unreachable route {dst}",
    1: "unreachable prohibited {dst}",
    2: "beyond scope {dst}, source address {src}",
    3: "unreachable address {dst}",
}
_USUAL_DELAY = 100
_PROBLEM6 = {0: "erroneous", 1: "next header", 2: "option", 3: "incomplete header chain"}


def icmp(line: Line, data: bytes, length: int) -> None:
    line.protocol = "icmp"
    message = header(dpkt.icmp.ICMP, data)
    line.add(f"ICMP {_icmp(message.type, message.code, data)}, length {length}")


def _icmp(kind: int, code: int, data: bytes) -> str:
    match kind:
        case 0 | 8:
            identifier, sequence = unpack(_TWO_U16, data, 4)
            return f"echo {'request' if kind else 'reply'}, id {identifier}, seq {sequence}"
        case 3:
            return _unreachable(code, data)
        case 5:
            gateway, about = ip4(take(data, 4, 4)), ip4(_quoted(data).dst)
            return f"{_REDIRECT.get(code, f'redirect-#{code} {{}} to').format(about)} {gateway}"
        case 11:
            names = {0: "time exceeded in-transit", 1: "ip reassembly time exceeded"}
            return names.get(code, f"time exceeded-#{code}")
        case 12:
            return f"parameter problem - code {code}" if code else f"parameter problem - octet {take(data, 4, 1)[0]}"
        case _:
            return _OTHER.get(kind, f"type-#{kind}")


def _unreachable(code: int, data: bytes) -> str:
    quoted = _quoted(data)
    about = ip4(quoted.dst)
    match code:
        case 2:
            return f"{about} protocol {quoted.p} unreachable"
        case 3:
            (port,) = unpack(_U16, data, 8 + quoted.hl * 4 + 2)
            name = _PORT_NAMES.get(quoted.p, f"protocol {quoted.p}")
            return f"{about} {name} port {port} unreachable"
        case 4:
            (mtu,) = unpack(_U16, data, 6)
            return f"{about} unreachable - need to frag{f' (mtu {mtu})' if mtu else ''}"
        case _:
            return _UNREACHABLE.get(code, f"{{}} unreachable - #{code}").format(about)


def _quoted(data: bytes) -> Any:
    """The IP header of the packet that the message is about."""
    return header(dpkt.ip.IP, data[8:])


def icmp6(line: Line, data: bytes, length: int) -> None:
    line.protocol = "icmp6"
    message = header(dpkt.icmp6.ICMP6, data)
    line.add(f"ICMP6, {_TYPES6.get(message.type, f'unknown icmp6 type ({message.type})')}")
    line.add(f"{_icmp6(message.type, message.code, data, length)}, length {length}")


def _icmp6(kind: int, code: int, data: bytes, length: int) -> str:
    match kind:
        case 1:
            return f", {_unreachable6(code, data)}"
        case 2:
            return f", mtu {unpack(_U32, data, 4)[0]}"
        case 3 if code == 0:
            return f" for {ip6(_quoted6(data).dst)}"
        case 3:
            return " (reassembly)" if code == 1 else f", unknown code ({code})"
        case 4:
            problem = _PROBLEM6.get(code)
            return f", {problem} - octet {unpack(_U32, data, 4)[0]}" if problem else f", code-#{code}"
        case 128 | 129:
            identifier, sequence = unpack(_TWO_U16, data, 4)
            return f", id {identifier}, seq {sequence}"
        case 130 if length >= 28:
            return f" v2 [gaddr {ip6(take(data, 8, 16))}]"
        case 130 | 131 | 132:
            return f" max resp delay: {unpack(_U16, data, 4)[0]} addr: {ip6(take(data, 8, 16))}"
        case 135:
            return f", who has {ip6(take(data, 8, 16))}"
        case 136:
            return f", tgt is {ip6(take(data, 8, 16))}"
        case 137:
            return f", {ip6(take(data, 24, 16))} to {ip6(take(data, 8, 16))}"
        case 143:
            return f", {unpack(_U16, data, 6)[0]} group record(s)"
        case _:
            return ""


def _unreachable6(code: int, data: bytes) -> str:
    quoted = _quoted6(data)
    source, about = ip6(quoted.src), ip6(quoted.dst)
    if code == 4:
        name = _PORT_NAMES.get(quoted.nxt)
        return (
            f"unreachable port, {about} {name} port {unpack(_U16, data, 50)[0]}"
            if name
            else f"unreachable port, {about}"
        )
    return _UNREACHABLE6.get(code, f"unknown unreach code ({code})").format(src=source, dst=about)


def _quoted6(data: bytes) -> Any:
    return header(dpkt.ip6.IP6, data[8:])


def igmp(line: Line, data: bytes, length: int) -> None:
    line.protocol = "igmp"
    if not data:
        raise TooShort
    match data[0]:
        case 0x11:
            line.add(f"igmp query{_query(data, length)}")
        case 0x12 | 0x16:
            version = 1 if data[0] == 0x12 else 2
            line.add(f"igmp v{version} report {ip4(header(dpkt.igmp.IGMP, data).group)}")
        case 0x17:
            line.add(f"igmp leave {ip4(header(dpkt.igmp.IGMP, data).group)}")
        case 0x22:
            line.add(f"igmp v3 report, {unpack(_U16, data, 6)[0]} group record(s)")
        case kind:
            line.add(f"igmp-{kind}")


def _query(data: bytes, length: int) -> str:
    query = header(dpkt.igmp.IGMP, data)
    group = f" [gaddr {ip4(query.group)}" if any(query.group) else ""
    if length >= 12:  # RFC 3376, 4.1: version 3 is known by its length
        (sources,) = unpack(_U16, data, 10)
        delay = "" if query.maxresp == _USUAL_DELAY else f" [max resp time {_tenths(query.maxresp) / 10:.1f}s]"
        return f" v3{delay}{group}{f', {sources} source(s)' if group and sources else ''}{']' if group else ''}"
    delay = "" if query.maxresp in (0, _USUAL_DELAY) else f" [max resp time {query.maxresp}]"
    return f" v{2 if query.maxresp else 1}{delay}{group}{']' if group else ''}"


def _tenths(code: int) -> int:
    """RFC 3376, 4.1.1: from 128 on, a floating-point value."""
    return code if code < 128 else ((code & 0x0F) | 0x10) << (((code >> 4) & 0x07) + 3)
