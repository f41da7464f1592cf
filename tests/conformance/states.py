"""Packets in the states that the kernel holds them in: for each the sk_buff to be made, and what is on the wire.

What is on the wire is known here because every sk_buff is made from it; nothing is asked of what is tested.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum
from itertools import pairwise

from tests.packets import Packet, eth, ipv4, tcp, udp
from xcapscript.unit import LinkType

MACS = 12
ETHERNET_HEADER = 14
TAG = 4
TAG_TYPES = (0x8100, 0x88A8)
TAGS = ((0x8100, 100), (0x8100, 0xE064), (0x8100, 0), (0x88A8, 10), (0x8100, 4095))
PACKET_TYPES = 5
"""PACKET_HOST to PACKET_OUTGOING (linux/if_packet.h)."""

IFINDEX = 7
"""Of every device that there is."""

EDGES = (14, 34, 42, 54, 64, 128, 256, 302, 602, 614, 1002, 1014)

GSO_PAGED = (1, 1448, 40000, 65160)
GSO_PAYLOAD = random.Random(24).randbytes(max(GSO_PAGED))
"""Of all GSO packets: what is in their pages."""

LARGEST_COPY = 16384
"""Bytes of a packet that can be read where bytes in pages are found by hand."""

MOST_PIECES = 6


class Device(IntEnum):
    """What skb->dev is: a device of an ARPHRD_* type, or no device."""

    ETHER = 1
    PPP = 512
    TUNNEL = 768
    LOOPBACK = 772
    IEEE80211_RADIOTAP = 803
    NONE = 65534
    NULL = -1
    UNREADABLE = -2

    @property
    def ifindex(self) -> int:
        return IFINDEX if self > 0 else 0


class Data(Enum):
    """Where skb->data points."""

    MAC = "mac"
    NETWORK = "network"
    TRANSPORT = "transport"


class Layout(Enum):
    """Where the bytes are: all in the linear part; some in pages; many in pages, as a GSO packet has them."""

    LINEAR = "linear"
    PAGED = "paged"
    GSO = "gso"


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a packet that are in pages: `size` of those of `source`; those that cannot be read have none."""

    source: bytes | None
    start: int
    size: int

    @property
    def data(self) -> bytes | None:
        return None if self.source is None else self.source[self.start : self.start + self.size]


@dataclass(frozen=True, slots=True)
class Listed:
    """An sk_buff of another one's list: its linear part, and its pages."""

    linear: Piece
    frags: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Paged:
    """What is not in the linear part: the packet's own pages, then its list."""

    frags: tuple[Piece, ...] = ()
    listed: tuple[Listed, ...] = ()

    @property
    def readable(self) -> bytes:
        """All before what cannot be read."""
        found = b""
        for piece in (*self.frags, *(piece for one in self.listed for piece in (one.linear, *one.frags))):
            if piece.data is None:
                break
            found += piece.data
        return found


@dataclass(frozen=True, slots=True)
class Skb:
    """An sk_buff to be made. Offsets count from the first byte of `linear`; None is a header that is not set."""

    linear: bytes
    mac: int | None
    network: int | None
    data: int
    length: int
    paged: int
    device: Device
    tag: tuple[int, int] | None = None
    pkt_type: int = 0
    pages: Paged = Paged()


@dataclass(frozen=True, slots=True)
class View:
    """The packet on the wire: what of it can be read, and how long it is, as pcap has them; what is known of it;
    and how long the linear part is.
    """

    link: LinkType
    captured: bytes
    wire_len: int
    pkt_type: int
    ifindex: int
    linear: int


@dataclass(frozen=True, slots=True)
class Case:
    """A packet in a state; no view is no packet, which must be said so."""

    state: str
    skb: Skb
    view: View | None


@dataclass(frozen=True, slots=True)
class State:
    """How a packet is held; `mac` is what the MAC header says of a packet without one."""

    data: Data
    layout: Layout = Layout.LINEAR
    device: Device = Device.ETHER
    network: bool = True
    tag: bool = False
    mac: str = "unset"

    @property
    def name(self) -> str:
        network = "" if self.network else ", network header unset"
        tag = ", tag in the skb" if self.tag else ""
        return f"data at {self.data.value}{network}, {self.layout.value}, {self.device.name}{tag}"


FRAME_STATES = (
    *(
        State(data, layout, network=network, tag=tag)
        for data in Data
        for layout in Layout
        for network in (True, False)
        for tag in (False, True)
    ),
    *(
        State(data, device=device, tag=tag)
        for device in (Device.LOOPBACK, Device.NULL, Device.UNREADABLE)
        for data in Data
        for tag in (False, True)
    ),
)

RAW_STATES = (
    *(State(data, layout, device) for data in Data for layout in Layout for device in (Device.ETHER, Device.NULL)),
    # tun, ipip and the like: the MAC header is set where the network header is
    *(State(data, layout, Device.NONE, mac="at network") for data in Data for layout in (Layout.LINEAR, Layout.GSO)),
    State(Data.NETWORK, device=Device.TUNNEL, mac="at network"),
    State(Data.NETWORK, device=Device.ETHER, mac="at network"),
    # devices with a header that is not Ethernet's
    State(Data.MAC, device=Device.PPP, mac="before"),
    State(Data.NETWORK, device=Device.PPP, mac="before"),
    State(Data.TRANSPORT, Layout.PAGED, Device.IEEE80211_RADIOTAP, mac="before"),
    # what an earlier journey left
    State(Data.NETWORK, mac="behind data"),
    State(Data.NETWORK, Layout.GSO, mac="behind data"),
    State(Data.NETWORK, tag=True),
)


def edges() -> tuple[tuple[Packet, ...], tuple[Packet, ...]]:
    """Frames, and raw IP packets, that end at and around the offsets at which loads, windows and headers end."""
    lengths = [at + more for at in EDGES for more in range(-3, 5)]
    room = bytes(255 - at % 251 for at in range(max(lengths)))
    whole = (ipv4(6, tcp(40000, 80, 0x18, room)), ipv4(17, udp(40000, 53, room)))
    frames = tuple(eth(0x0800, data) for data in whole)
    cut = [tuple(Packet(data[:length], length) for data in kinds for length in lengths) for kinds in (frames, whole)]
    return cut[0], cut[1]


def frame_cases(packets: tuple[Packet, ...], seed: int) -> Iterator[Case]:
    """Each Ethernet frame in each state, and in some that no packet is in."""
    rng = random.Random(seed)
    for number, packet in enumerate(packets):
        for state in FRAME_STATES:
            yield _frame_case(rng, packet, state, number)
        yield Case("neither header", _bare(packet.data, None, None, 0), None)
        yield Case("not Ethernet, no network header", _bare(packet.data, 0, None, 0, Device.NONE), None)
        if len(packet.data) > ETHERNET_HEADER:
            yield Case("stale MAC header alone", _bare(packet.data, ETHERNET_HEADER + 1, None, 2), None)


def raw_cases(packets: tuple[Packet, ...], seed: int) -> Iterator[Case]:
    """Each packet that begins with its IP header in each state."""
    rng = random.Random(seed)
    for number, packet in enumerate(packets):
        for state in RAW_STATES:
            yield _raw_case(rng, packet, state, number)
        yield Case("all in pages", Skb(b"", None, 0, 0, packet.wire_len, packet.wire_len, Device.ETHER), None)


def _bare(data: bytes, mac: int | None, network: int | None, at: int, device: Device = Device.ETHER) -> Skb:
    at = min(at, len(data))
    return Skb(data, mac, network, at, len(data) - at, 0, device)


def _frame_case(rng: random.Random, packet: Packet, state: State, number: int) -> Case:
    frame, tag = packet.data, None
    if state.tag:
        frame, tag = _untag(frame, TAGS[number % len(TAGS)])
    length = max(packet.wire_len, len(frame))
    linear, wire_len, pages = _lay_out(rng, frame, length, state.layout, ETHERNET_HEADER)
    if tag is not None and len(linear) < MACS:
        tag = None  # a driver takes the tag out of a whole Ethernet header
    network = ETHERNET_HEADER + (TAG if _type(frame) in TAG_TYPES else 0)
    offsets = {Data.MAC: 0, Data.NETWORK: network, Data.TRANSPORT: _transport(frame, network)}
    data, paged, kind = min(offsets[state.data], len(linear)), wire_len - len(linear), number % PACKET_TYPES
    skb = Skb(
        linear, 0, network if state.network else None, data, wire_len - data, paged, state.device, tag, kind, pages
    )
    if not linear:
        return Case(state.name, skb, None)
    if tag is None:
        captured = _captured(linear, pages)
        return Case(state.name, skb, View(LinkType.EN10MB, captured, wire_len, kind, state.device.ifindex, len(linear)))
    spliced = linear[:MACS] + b"".join(part.to_bytes(2, "big") for part in tag) + linear[MACS:]
    captured = _captured(spliced, pages)
    return Case(
        state.name, skb, View(LinkType.EN10MB, captured, wire_len + TAG, kind, state.device.ifindex, len(spliced))
    )


def _untag(frame: bytes, otherwise: tuple[int, int]) -> tuple[bytes, tuple[int, int]]:
    """A frame without its outermost tag, and that; one without a tag gets the other."""
    if _type(frame) in TAG_TYPES and len(frame) >= MACS + TAG:
        return frame[:MACS] + frame[MACS + TAG :], (_type(frame), int.from_bytes(frame[14:16], "big"))
    return frame, otherwise


def _raw_case(rng: random.Random, packet: Packet, state: State, number: int) -> Case:
    linear, wire_len, pages = _lay_out(rng, packet.data, packet.wire_len, state.layout, 0)
    # a link header of four bytes stands before it, or room that is none of the packet's
    before = rng.randbytes(4 if state.mac == "before" else ETHERNET_HEADER)
    offsets = {Data.MAC: 0, Data.NETWORK: len(before), Data.TRANSPORT: len(before) + _transport(linear, 0)}
    data = min(offsets[state.data], len(before) + len(linear))
    mac = {"unset": None, "at network": len(before), "before": 0, "behind data": data + 9}[state.mac]
    skb = Skb(
        before + linear,
        mac,
        len(before),
        data,
        len(before) + wire_len - data,
        wire_len - len(linear),
        state.device,
        TAGS[0] if state.tag else None,
        number % PACKET_TYPES,
        pages,
    )
    name = f"{state.name}, MAC header {state.mac}"
    if not linear or linear[0] >> 4 not in (4, 6):
        return Case(name, skb, None)
    captured, kind = _captured(linear, pages), number % PACKET_TYPES
    view = View(LinkType.RAW, captured, wire_len, kind, state.device.ifindex, len(linear))
    return Case(name, skb, view)


def _captured(linear: bytes, pages: Paged) -> bytes:
    return (linear + pages.readable)[: max(len(linear), LARGEST_COPY)]


def _lay_out(rng: random.Random, data: bytes, wire_len: int, layout: Layout, least: int) -> tuple[bytes, int, Paged]:
    """The linear part, the length on the wire, and the pages; a packet that was cut short is a short packet if it is
    linear, and else what was cut off cannot be read.
    """
    match layout:
        case Layout.LINEAR:
            return data, len(data), Paged()
        case Layout.PAGED:
            kept = rng.choice((rng.randrange(len(data) + 1), min(len(data), least + 40)))
            return data[:kept], max(len(data), wire_len), _in_pages(rng, data, kept, wire_len - len(data))
        case Layout.GSO:
            linear, paged = data[: least + rng.choice((20, 40, 54, 128, 200, 400))], rng.choice(GSO_PAGED)
            missing = paged // 2 if rng.random() < 0.1 else 0
            pages = _in_pages(rng, GSO_PAYLOAD, len(GSO_PAYLOAD) - paged + missing, missing)
            return linear, len(linear) + paged, pages


def _in_pages(rng: random.Random, source: bytes, start: int, missing: int) -> Paged:
    """The bytes from `start` on in pieces, of which the last are in a list, and as many as are missing behind them."""
    cuts = sorted(
        {start, len(source), *(rng.randrange(start, len(source) + 1) for _ in range(rng.randrange(MOST_PIECES)))}
    )
    pieces = [Piece(source, first, last - first) for first, last in pairwise(cuts)]
    if missing > 0:
        pieces.append(Piece(None, 0, missing))
    own = rng.randrange(len(pieces) + 1) if pieces and rng.random() < 0.4 else len(pieces)
    frags, rest, listed = tuple(pieces[:own]), pieces[own:], []
    while rest:
        size = rng.randrange(1, len(rest) + 1)
        # what is in a list may begin with pages alone
        first = rest.pop(0) if rest[0].source is not None and rng.random() < 0.7 else Piece(source, 0, 0)
        size = min(size, len(rest))
        listed.append(Listed(first, tuple(rest[:size])))
        rest = rest[size:]
    return Paged(frags, tuple(listed))


def _type(frame: bytes) -> int:
    return int.from_bytes(frame[MACS:ETHERNET_HEADER], "big")


def _transport(data: bytes, network: int) -> int:
    """Where the kernel would take the transport header to be."""
    if len(data) <= network:
        return network
    if data[network] >> 4 == 4:
        return network + (data[network] & 0xF) * 4
    return network + (40 if data[network] >> 4 == 6 else 0)
