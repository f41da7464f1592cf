"""Lines of DNS messages (RFC 1035), over UDP, over TCP and as multicast DNS (RFC 6762). The wording is tcpdump's."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from xcapscript.diagnostics import escape
from xcapscript.sinks.decoding import Line, TooShort, ip4, ip6, take, unpack

DNS_SIZE = 12
"""Bytes of the header."""

_U8, _U16, _TWO_U16 = struct.Struct("!B"), struct.Struct("!H"), struct.Struct("!HH")
_HEADER, _THREE_U16, _RECORD = struct.Struct("!6H"), struct.Struct("!3H"), struct.Struct("!HHIH")

_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSION_WANTED = 0x8000, 0x0400, 0x0200, 0x0100
_RECURSION_AVAILABLE, _AUTHENTIC, _UNCHECKED = 0x0080, 0x0020, 0x0010
_ODD_IN_QUERY = 0x06CF
"""Flags that have no meaning in a query."""
_INVERSE_QUERY = 1

_OPERATIONS = ("", " inv_q", " stat", " op3", " notify", " update", *(f" op{number}" for number in range(6, 16)))
_CODES = (
    "", " FormErr", " ServFail", " NXDomain", " NotImp", " Refused", " YXDomain", " YXRRSet", " NXRRSet", " NotAuth",
    " NotZone", *(f" Resp{number}" for number in range(11, 16)),
)  # fmt: skip
_TYPES: Mapping[int, str] = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 10: "NULL", 11: "WKS", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 17: "RP",
    18: "AFSDB", 25: "KEY", 28: "AAAA", 29: "LOC", 33: "SRV", 35: "NAPTR", 39: "DNAME", 41: "OPT", 43: "DS",
    44: "SSHFP", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 52: "TLSA", 64: "SVCB", 65: "HTTPS", 99: "SPF", 249: "TKEY",
    250: "TSIG", 251: "IXFR", 252: "AXFR", 255: "ANY", 257: "CAA",
}  # fmt: skip
_A, _CNAMES, _MX, _TXT, _AAAA, _SRV, _OPT = 1, (2, 5, 12, 39), 15, 16, 28, 33, 41
_INTERNET, _CLASSES = 1, {3: "CHAOS", 4: "HS", 254: "NONE", 255: "ANY"}
_UNICAST_WANTED = _CACHE_FLUSH = 0x8000
"""The upper bit of a class, in multicast DNS."""
_DNSSEC_OK = 0x8000

_POINTER, _LONGEST_NAME, _MOST = 0xC0, 255, 32
"""A hostile message makes names of pointers, and long lists of them: so many questions and answers are told."""


def dns(line: Line, data: bytes, length: int) -> None:
    """A message of `length` bytes."""
    _message(line, data, length, multicast=False)


def mdns(line: Line, data: bytes, length: int) -> None:
    _message(line, data, length, multicast=True)


def dns_over_tcp(line: Line, data: bytes, length: int) -> None:
    """Messages that begin where a segment does, and end in it; what else a segment holds is not told."""
    if length < 2 + DNS_SIZE or len(data) < 2 or unpack(_U16, data) != (length - 2,):
        return
    line.add(" ")
    dns(line, data[2:], length - 2)


def _message(line: Line, data: bytes, length: int, *, multicast: bool) -> None:
    line.protocol = "domain"
    identity, flags, *counts = unpack(_HEADER, data)
    line.add(f"{identity}{_OPERATIONS[flags >> 11 & 15]}")
    if flags & _RESPONSE:
        _response(line, data, flags, counts, multicast=multicast)
    else:
        _query(line, data, flags, counts, multicast=multicast)
    line.add(f" ({length})")


def _query(line: Line, data: bytes, flags: int, counts: list[int], *, multicast: bool) -> None:
    line.add(f"{'+' if flags & _RECURSION_WANTED else ''}{'%' if flags & _UNCHECKED else ''}")
    if flags & _ODD_IN_QUERY:
        line.add(f" [b2&3=0x{flags:x}]")
    usual = (0, 1, 0, 0) if flags >> 11 & 15 == _INVERSE_QUERY else (1, 0, 0, 0)
    for index, unit in ((1, "a"), (0, "q"), (2, "n"), (3, "au")):
        if counts[index] != usual[index]:
            line.add(f" [{counts[index]}{unit}]")
    at = DNS_SIZE
    for number in range(counts[0]):
        if number == _MOST:
            line.add(" ...")
            return
        at = _question(line, data, at, multicast=multicast)


def _question(line: Line, data: bytes, at: int, *, multicast: bool) -> int:
    """Returns where the next one begins."""
    name, at = _name(data, at)
    kind, group = unpack(_TWO_U16, data, at)
    line.add(f" {_TYPES.get(kind, f'Type{kind}')}{_class(group & ~_UNICAST_WANTED if multicast else group)}")
    if multicast:
        line.add(" (QU)" if group & _UNICAST_WANTED else " (QM)")
    line.add(f"? {name}")
    return at + 4


def _response(line: Line, data: bytes, flags: int, counts: list[int], *, multicast: bool) -> None:
    line.add(_CODES[flags & 15])
    for flag, mark in ((_AUTHORITATIVE, "*"), (_RECURSION_AVAILABLE, ""), (_TRUNCATED, "|"), (_AUTHENTIC, "$")):
        line.add(mark if flags & flag else "-" if flag == _RECURSION_AVAILABLE else "")
    questions, answers, authorities, others = counts
    if questions != 1:
        line.add(f" [{questions}q]")
    at = DNS_SIZE
    for _ in range(min(questions, _MOST)):
        _, at = _name(data, at)
        at += 4
    line.add(f" {answers}/{authorities}/{others}")
    if questions > _MOST:
        return
    for number in range(answers):
        if number and at >= len(data):
            raise TooShort
        line.add("," if number else "")
        if number == _MOST:
            line.add(" ...")
            return
        at = _answer(line, data, at, multicast=multicast)


def _answer(line: Line, data: bytes, at: int, *, multicast: bool) -> int:
    """Returns where the next one begins."""
    _, at = _name(data, at)
    kind, group, life, size = unpack(_RECORD, data, at)
    at, end = at + _RECORD.size, at + _RECORD.size + int(size)
    if kind != _OPT:
        line.add(_class(group & ~_CACHE_FLUSH if multicast else group))
    if multicast and group & _CACHE_FLUSH:
        line.add(" (Cache flush)")
    line.add(f" {_TYPES.get(kind, f'Type{kind}')}")
    take(data, at, size)
    if kind == _OPT:  # RFC 6891: the class is a size, the life has flags
        line.add(f" UDPsize={group}{' DO' if life & _DNSSEC_OK else ''}")
    else:
        line.add(_content(kind, data, at, size))
    return end


def _content(kind: int, data: bytes, at: int, size: int) -> str:
    """What a record says, where names in it may point to what stands before."""
    if kind == _A and size == 4:
        return f" {ip4(data[at : at + 4])}"
    if kind == _AAAA and size == 16:
        return f" {ip6(data[at : at + 16])}"
    if kind in _CNAMES:
        return f" {_name(data, at)[0]}"
    if kind == _MX:
        return f" {_name(data, at + 2)[0]} {unpack(_U16, data, at)[0]}"
    if kind == _SRV:
        priority, weight, port = unpack(_THREE_U16, data, at)
        return f" {_name(data, at + 6)[0]}:{port} {priority} {weight}"
    if kind == _TXT:
        return "".join(f' "{text}"' for text in _texts(data[at : at + size]))
    return ""


def _texts(data: bytes) -> list[str]:
    """The strings of a TXT record, of which the last may claim to be longer than it is."""
    found, at = [], 0
    while at < len(data):
        found.append(_text(data[at + 1 : at + 1 + data[at]]))
        at += 1 + data[at]
    return found


def _name(data: bytes, at: int) -> tuple[str, int]:
    """The name at `at`, with a dot at its end, and where what follows it begins; raises TooShort.

    A name that goes in circles, or is longer than names can be, ends in `<invalid>`.
    """
    labels: list[str] = []
    end, length = 0, 0
    while True:
        (size,) = unpack(_U8, data, at)
        if size & _POINTER == _POINTER:
            (target,) = unpack(_U16, data, at)
            end, at, length = end or at + 2, target & 0x3FFF, length + 2
        elif size & _POINTER:
            labels.append("<invalid>")
            return ".".join(labels), end or at + 1
        elif size == 0:
            return f"{'.'.join(labels)}.", end or at + 1
        else:
            labels.append(_text(take(data, at + 1, size)))
            at, length = at + 1 + size, length + 1 + size
        if length > _LONGEST_NAME:
            return ".".join((*labels, "<invalid>")), end or at


def _text(data: bytes) -> str:
    return escape(data.decode("utf-8", "backslashreplace"))


def _class(group: int) -> str:
    """Said of what is not of the Internet."""
    return "" if group == _INTERNET else f" {_CLASSES.get(group, f'(Class {group})')}"
