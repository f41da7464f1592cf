"""Addresses and flows compared, and addresses in networks, against Python's ipaddress."""

from __future__ import annotations

import random
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path

import pytest

from tests.packets import IPV4_PAIRS, IPV6_PAIRS, arp, eth, icmp, ipv4, ipv6, tcp, udp
from tests.values_in_c import SPAN, Writer, needs_compiler, packet_view
from xcapscript.builtins import PACKET_FIELDS
from xcapscript.codegen.maps import key_layout, value_layout
from xcapscript.nodes.expressions import (
    AddressConstant,
    Compare,
    Expression,
    FieldValue,
    FlowValue,
    Has,
    Inlined,
    InNetwork,
    MapValue,
    Number,
    Ternary,
    Variable,
)
from xcapscript.nodes.statements import SetKey, SetVariable
from xcapscript.types import U8, U64, FlowType, IpType, Type
from xcapscript.unit import Aggregation, LinkType, MapSpec

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
NOTHING = IPv6Address(0)
"""What an absent address is."""


def mapped(address: Address) -> IPv6Address:
    """RFC 4291, 2.5.5.2."""
    return address if address.version == 6 else IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)


def constant(address: Address) -> AddressConstant:
    return AddressConstant(int(mapped(address)), IpType())


def within(value: Expression, network: Network) -> InNetwork:
    """As `value in network`: an IPv4 network is one of mapped addresses."""
    start = int(mapped(network.network_address))
    ones = network.prefixlen + (96 if network.version == 4 else 0)
    return InNetwork(value, start, (2**128 - 1) ^ (2 ** (128 - ones) - 1), U8)


def is_within(address: Address, network: Network) -> bool:
    """An IPv4 address is in an IPv6 network that has its mapped form."""
    if network.version == 6:
        return mapped(address) in network
    if address.version == 6:
        return address.ipv4_mapped is not None and address.ipv4_mapped in network
    return address in network


def networks(rng: random.Random) -> Iterator[Network]:
    """Of every prefix length."""
    for length in range(33):
        yield ip_network((rng.getrandbits(32), length), strict=False)
    for length in range(129):
        number = rng.getrandbits(128) | 0x2000 << 112
        yield ip_network((IPv6Address(number), length), strict=False)
    yield ip_network("::ffff:0:0/96")
    yield ip_network("::ffff:10.0.0.0/104")


def near(network: Network, rng: random.Random) -> list[Address]:
    """Addresses at a network's edges, inside, and where one bit is another."""
    kind = IPv4Address if network.version == 4 else IPv6Address
    first, last = int(network.network_address), int(network.broadcast_address)
    bits = network.max_prefixlen
    numbers = [first, last, first - 1, last + 1, rng.randint(first, last), rng.getrandbits(bits)]
    numbers += [first ^ 1 << bit for bit in rng.sample(range(bits), 4)]
    if network.prefixlen:
        numbers.append(first ^ 1 << (bits - network.prefixlen))
    return [kind(number) for number in numbers if 0 <= number < 2**bits]


@needs_compiler
@pytest.mark.parametrize("seed", range(3))
def test_addresses_in_networks(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    pairs = [(address, network) for network in networks(rng) for address in near(network, rng)]
    every = [network for _, network in pairs]
    pairs += [(IPv4Address(rng.getrandbits(32)), rng.choice(every)) for _ in range(200)]
    pairs += [(IPv6Address(rng.getrandbits(128)), rng.choice(every)) for _ in range(200)]
    pairs += [(NOTHING, network) for network in networks(rng)]
    writer = Writer()
    for address, network in pairs:
        writer.print(within(constant(address), network))
    found = [bool(number) for number in writer.numbers(tmp_path)]
    wanted = [is_within(address, network) for address, network in pairs]
    assert found == wanted
    assert 200 < sum(wanted) < len(wanted) - 200


EVERY_ADDRESS = sorted({IPv4Address(text) for pair in IPV4_PAIRS for text in pair})
SOME: list[Address] = [*EVERY_ADDRESS, *(IPv6Address(text) for pair in IPV6_PAIRS for text in pair), NOTHING]
SOME += [IPv6Address("::a00:1"), IPv6Address("2001:db8::1:0:0:1"), IPv6Address(2**128 - 1)]


@needs_compiler
def test_addresses_are_equal_when_all_their_bits_are(tmp_path: Path) -> None:
    rng = random.Random(1)
    flipped = [IPv6Address(int(mapped(one)) ^ 1 << rng.randrange(128)) for one in SOME]
    pairs = [(one, other) for one in SOME for other in SOME] + list(zip(SOME, flipped, strict=True))
    writer = Writer()
    for operator in ("==", "!="):
        for one, other in pairs:
            writer.print(Compare(operator, constant(one), constant(other), U8))
    equal = [mapped(one) == mapped(other) for one, other in pairs]
    assert [bool(number) for number in writer.numbers(tmp_path)] == [*equal, *(not each for each in equal)]


HELD = MapSpec(
    "@m",
    "xcap_map_0",
    key_layout("xcap_key_0", (U64,), Aggregation.VALUE),
    value_layout("xcap_value_0", Aggregation.VALUE, IpType(), signed=False),
    Aggregation.VALUE,
    signed=False,
    max_entries=16,
    span=SPAN,
)
KEY = (Number(1, U64),)


def ways(value: Expression, writer: Writer) -> list[Expression]:
    """The same address from everywhere where one can come from; writes what must be done before."""
    kind: Type = IpType()
    variable, result, other = Variable(0, kind), Variable(1, kind), constant(NOTHING)
    writer.do(SetVariable(variable, value, SPAN, first=True), SetKey("@m", KEY, "", value, SPAN))
    return [
        value,
        variable,
        MapValue("@m", KEY, kind),
        Ternary(Number(1, U8), value, other, kind),
        Ternary(Number(0, U8), other, value, kind),
        Inlined("f", (SetVariable(result, value, SPAN),), result, kind),
    ]


def field(name: str) -> FieldValue:
    return FieldValue(PACKET_FIELDS[name], PACKET_FIELDS[name].type)


PACKETS = [
    *((ipv4(17, udp(1, 2), pair), "ip", IPv4Address(pair[0]), IPv4Address(pair[1])) for pair in IPV4_PAIRS[:4]),
    *((ipv6(6, tcp(1, 2, 3), pair), "ip", IPv6Address(pair[0]), IPv6Address(pair[1])) for pair in IPV6_PAIRS),
]
FRAMES = [
    *((eth(0x0800 if a.version == 4 else 0x86DD, data), layer, a, b) for data, layer, a, b in PACKETS),
    (eth(0x0806, arp(1)), "arp", IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")),
    (eth(0x0806, arp(1)), "ip", NOTHING, NOTHING),
    (eth(0x1234, bytes(60)), "arp", NOTHING, NOTHING),
]


@needs_compiler
@pytest.mark.parametrize(("data", "layer", "src", "dst"), FRAMES, ids=range(len(FRAMES)))
def test_addresses_of_packets(data: bytes, layer: str, src: Address, dst: Address, tmp_path: Path) -> None:
    rng = random.Random(2)
    near_to = [ip_network((one, rng.randrange(8, 33)), strict=False) for one in (src, dst) for _ in range(4)]
    some = [ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"), ip_network("0.0.0.0/0"), ip_network("fe80::/10")]
    some += [ip_network((src, src.max_prefixlen)), ip_network((src, 11), strict=False), *rng.sample(near_to, 2)]
    writer = Writer(maps=[HELD])
    values = ways(field(f"{layer}.src"), writer)
    for value in values:
        for network in some:
            writer.print(within(value, network))
        for other in (constant(src), constant(dst), field(f"{layer}.dst"), value):
            writer.print(Compare("==", value, other, U8))
    found = writer.numbers(tmp_path, view=packet_view(data, LinkType.EN10MB))
    wanted = [*(is_within(src, network) for network in some), True, src == dst, src == dst, True]
    assert [bool(number) for number in found] == wanted * len(values)


FLOWS = {
    "udp": ipv4(17, udp(1, 2)),
    "back": ipv4(17, udp(2, 1), IPV4_PAIRS[0][::-1]),
    "port": ipv4(17, udp(1, 3)),
    "tcp": ipv4(6, tcp(1, 2, 0)),
    "ping": ipv4(1, icmp(8)),
    "udp6": ipv6(17, udp(1, 2)),
    "none": b"\x50" + bytes(40),
}


@needs_compiler
@pytest.mark.parametrize("held", FLOWS)
def test_flows_are_equal_when_all_of_them_is(held: str, tmp_path: Path) -> None:
    """The flow of one packet is kept, and compared with those of others."""
    writer, kept = Writer(), Variable(0, FlowType())
    writer.do(SetVariable(kept, FlowValue(FlowType()), SPAN, first=True))
    for name, data in FLOWS.items():
        with writer.out.block():
            writer.out.lines(packet_view(data, LinkType.RAW).replace("packet", f"packet_{name}"))
            for operator in ("==", "!="):
                writer.print(Compare(operator, FlowValue(FlowType()), kept, U8))
    found = [bool(number) for number in writer.numbers(tmp_path, view=packet_view(FLOWS[held], LinkType.RAW))]
    assert found == [truth for name in FLOWS for truth in (name == held, name != held)]


@needs_compiler
@pytest.mark.parametrize(
    ("data", "layers"),
    [
        (eth(0x0800, FLOWS["udp"]), {"eth", "ip", "udp"}),
        (eth(0x86DD, FLOWS["udp6"]), {"eth", "ip", "ip6", "udp"}),
        (eth(0x0806, arp(1)), {"eth", "arp"}),
        (eth(0x0800, ipv4(6, tcp(1, 2, 0), fragment=0x2000)), {"eth", "ip", "tcp", "frag"}),
        (eth(0x0800, FLOWS["ping"]), {"eth", "ip", "icmp"}),
        (eth(0x1234, bytes(50)), {"eth"}),
    ],
    ids=["udp", "udp6", "arp", "frag", "icmp", "other"],
)
def test_has_asks_for_its_own_layer(data: bytes, layers: set[str], tmp_path: Path) -> None:
    names = ("eth", "arp", "vlan", "ip", "ip6", "tcp", "udp", "icmp", "frag")
    writer = Writer()
    for name in names:
        writer.print(Has(name, U8))
    found = writer.numbers(tmp_path, view=packet_view(data, LinkType.EN10MB))
    assert {name for name, truth in zip(names, found, strict=True) if truth} == layers
