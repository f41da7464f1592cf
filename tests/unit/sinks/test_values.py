import ipaddress
import struct

import pytest

from xcapscript.layout import Value
from xcapscript.sinks.values import ValueText, label, labels, text_of
from xcapscript.types import (
    S32,
    TASK_COMM,
    U64,
    EnumType,
    FlowType,
    InternedType,
    IpType,
    MacType,
    PointerType,
    StackType,
    SymbolType,
    Type,
)

DROP_REASONS = EnumType(
    "skb_drop_reason",
    ((0, "SKB_NOT_DROPPED_YET"), (1, "SKB_CONSUMED"), (2, "SKB_DROP_REASON_NOT_SPECIFIED")),
)
STATES = EnumType("tcp_state", ((1, "TCP_ESTABLISHED"), (13, "TCP_MAX_STATES"), (13, "TCP_OTHER_NAME")))


V4, OTHER_V4 = (bytes(10) + b"\xff\xff" + bytes(address) for address in ((10, 0, 0, 1), (10, 0, 0, 2)))
V6, OTHER_V6 = (ipaddress.IPv6Address(address).packed for address in ("2001:db8::1", "fe80::a01"))


def flow(src: bytes, dst: bytes, sport: int, dport: int, proto: int) -> bytes:
    return src + dst + struct.pack("=HHB3x", sport, dport, proto)


def frames(addresses: tuple[int, ...], depth: int) -> list[str]:
    return [f"f{address:x}\x1b" for address in addresses[1 : depth + 1]]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (U64, 1 << 63, "9223372036854775808"),
        (S32, -5, "-5"),
        (TASK_COMM, b"a b\xff\x1b", "a b\\xff\\x1b"),
        (TASK_COMM, "vé".encode(), "vé"),
        (PointerType("struct sk_buff"), 0xFFFF888100001234, "0xffff888100001234"),
        (InternedType(), 1, "two\n"),
        (InternedType(), 9, "9"),
        (DROP_REASONS, 2, "NOT_SPECIFIED"),
        (DROP_REASONS, 77, "77"),
        (STATES, 1, "TCP_ESTABLISHED"),
        (StackType(2), (1, 2, 3, 4), "f2\\x1b\nf3\\x1b"),
        (StackType(2), (), ""),
        (IpType(), V4, "10.0.0.1"),
        (IpType(), V6, "2001:db8::1"),
        (IpType(), bytes(16), "::"),
        (MacType(), 0x0200_0000_0A01, "02:00:00:00:0a:01"),
        (FlowType(), flow(V4, OTHER_V4, 80, 1024, 6), "TCP 10.0.0.1:80 > 10.0.0.2:1024"),
        (FlowType(), flow(V6, OTHER_V6, 53, 9, 17), "UDP [2001:db8::1]:53 > [fe80::a01]:9"),
        (FlowType(), flow(V4, OTHER_V4, 0, 0, 1), "ICMP 10.0.0.1 > 10.0.0.2"),
        (FlowType(), flow(V4, OTHER_V4, 0, 0, 253), "proto 253 10.0.0.1 > 10.0.0.2"),
        (FlowType(), bytes(40), "- :: > ::"),
        (SymbolType(), 0, "0"),
        (SymbolType(), 0xFFFF, "0xffff"),
    ],
)
def test_each_type_has_its_text(kind: Type, value: Value, text: str) -> None:
    assert ValueText(("one", "two\n"), frames).text(kind, value) == text


def test_a_symbol_is_named() -> None:
    assert (
        ValueText((), lambda addresses, depth: [f"f{addresses[0]:x}+0x{depth}\x1b"]).text(SymbolType(), 0xAB)
        == "fab+0x1\\x1b"
    )


@pytest.mark.parametrize(
    ("kind", "value", "data"),
    [
        (U64, (1 << 64) - 1, (1 << 64) - 1),
        (S32, -5, -5),
        (TASK_COMM, "é\x1b".encode() + b"\xff", "é\x1b\\xff"),
        (PointerType("void"), 0xFFFF888100001234, "0xffff888100001234"),
        (InternedType(), 1, "two\n\x1b"),
        (InternedType(), 2, "\\xff"),
        (InternedType(), 9, "9"),
        (DROP_REASONS, 77, "77"),
        (StackType(2), (1, 2, 3, 4), ["f2\\x1b", "f3\\x1b"]),
        (MacType(), 1, "00:00:00:00:00:01"),
    ],
)
def test_values_for_programs(kind: Type, value: Value, data: object) -> None:
    assert ValueText(("one", "two\n\x1b", "\udcff"), frames).data(kind, value) == data


def test_drop_reasons_go_without_their_prefix() -> None:
    assert [label(DROP_REASONS, value) for value in range(4)] == ["NOT_DROPPED_YET", "CONSUMED", "NOT_SPECIFIED", "3"]
    assert labels(STATES) == {1: "TCP_ESTABLISHED", 13: "TCP_MAX_STATES"}


def test_strings_of_the_kernel_cannot_steer_a_terminal() -> None:
    assert text_of(b"\x1b[2J\xe2\x80\xae\n\xc3\x28") == "\\x1b[2J\\u202e\\x0a\\xc3("
