"""What the decoders of packet lines share: the line as it grows, and headers by dpkt's tables, one at a time."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

import dpkt

MAX_DEPTH = 8
"""Headers of packets within packets that are decoded; a hostile packet holds thousands."""

TooShort: type[Exception] = dpkt.NeedData
"""The captured bytes end within a header."""


class Line:
    """A packet's line as it grows, and where in the packet its decoding is."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._depth = 0
        self.protocol = "packet"
        """The header being decoded, as tcpdump names it in `[|tcp]`."""
        self.addresses: tuple[str, str] | None = None
        """Source and destination, while they are not in the line: ports go with them."""

    def add(self, text: str) -> None:
        self._parts.append(text)

    def add_addresses(self) -> None:
        if self.addresses:
            self.add("{} > {}: ".format(*self.addresses))
        self.addresses = None

    def add_ports(self, source: int, destination: int) -> None:
        """The ports, and with them the addresses, if they are not in the line."""
        if self.addresses:
            self.add(f"{self.addresses[0]}.{source} > {self.addresses[1]}.{destination}: ")
        else:
            self.add(f"{source} > {destination}: ")
        self.addresses = None

    def descend(self) -> bool:
        """Whether to decode a packet within what has been decoded so far."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self.add("...")
        return self._depth <= MAX_DEPTH

    def cut_short(self) -> None:
        """Mark that the rest was not captured."""
        self._parts = [f"{self.text()} [|{self.protocol}]".lstrip(" ")]

    def text(self) -> str:
        return "".join(self._parts).rstrip(" ")


Decoder = Callable[[Line, bytes, int], None]
"""Adds to the line what it reads in the captured bytes of a header and all behind it; the int is their real length."""


def header(kind: Any, data: bytes) -> Any:
    """The fields of a dpkt packet class at the start of `data`; raises TooShort.

    The class itself is not called: it would go on and decode the payload, by guesses and with other exceptions.
    """
    if len(data) < kind.__hdr_len__:
        raise TooShort
    fields = kind.__new__(kind)
    dpkt.Packet.unpack(fields, data)
    return fields


def unpack(form: struct.Struct, data: bytes, at: int = 0) -> tuple[Any, ...]:
    """Like `form.unpack_from`; raises TooShort."""
    if len(data) < at + form.size:
        raise TooShort
    return form.unpack_from(data, at)


def take(data: bytes, at: int, size: int) -> bytes:
    """`size` bytes from `at` on; raises TooShort."""
    if len(data) < at + size:
        raise TooShort
    return data[at : at + size]


def ip4(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET, address)


def ip6(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6, address)


def mac(address: bytes) -> str:
    return address.hex(":")
