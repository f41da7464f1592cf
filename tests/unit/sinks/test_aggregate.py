import struct
from textwrap import dedent

import pytest

from xcapscript.layout import Layout, lay_out
from xcapscript.sinks.aggregate import MapText
from xcapscript.sinks.values import ValueText
from xcapscript.source import Source
from xcapscript.types import IFNAME, U32, EnumType, InternedType, StackType, Type
from xcapscript.unit import Aggregation, MapSpec

REASON = EnumType("skb_drop_reason", ((6, "SKB_DROP_REASON_NO_SOCKET"), (8, "SKB_DROP_REASON_NETFILTER_DROP")))
NAMES = {0x10: "nf_hook_slow+0xa5", 0x20: "ip_local_deliver+0xcc", 0x30: "ip_rcv+0x1"}
ENTRY_FRAMES = (0x1, 0x2)


def resolve(addresses: tuple[int, ...], depth: int) -> list[str]:
    return [NAMES[address] for address in addresses if address not in ENTRY_FRAMES][:depth]


def spec(aggregation: Aggregation, *types: Type, name: str = "count") -> MapSpec:
    key: Layout = lay_out("key", [(f"k{number}", kind) for number, kind in enumerate(types)])
    return MapSpec(name, "map_0", key, aggregation, signed=True, max_entries=10, span=Source("x", "x").span(0, 1))


def show(of: MapSpec, rows: dict[bytes, int], *, top: int | None = None, width: int = 60) -> str:
    return "\n".join(MapText(ValueText(("drop", "a\nb"), resolve), width).lines(of, rows, top))


def stack(*addresses: int) -> bytes:
    return struct.pack("=6Q", *addresses, *[0] * (6 - len(addresses)))


def text(block: str) -> str:
    return dedent(block).strip("\n")


def test_counts_are_shown_largest_first_and_ties_by_key() -> None:
    of = spec(Aggregation.COUNT, REASON, IFNAME)
    rows = {
        struct.pack("=I16s", 6, b"eth0"): 7,
        struct.pack("=I16s", 8, b"veth-b"): 5,
        struct.pack("=I16s", 8, b"veth-a"): 5,
        struct.pack("=I16s", 99, b"\x1b"): 1,
    }
    assert show(of, rows) == text("""
        @count[NO_SOCKET, eth0]: 7
        @count[NETFILTER_DROP, veth-a]: 5
        @count[NETFILTER_DROP, veth-b]: 5
        @count[99, \\x1b]: 1
    """)
    assert show(of, rows, top=1) == "@count[NO_SOCKET, eth0]: 7"


def test_numbers_are_ordered_as_numbers() -> None:
    rows = {struct.pack("=I4x", number): 1 for number in (10, 9, 100)}
    assert show(spec(Aggregation.COUNT, U32), rows) == "@count[9]: 1\n@count[10]: 1\n@count[100]: 1"


@pytest.mark.parametrize(("name", "shown"), [("bytes", "@bytes"), ("@bytes", "@bytes"), ("", "@"), ("@", "@")])
def test_a_map_without_key(name: str, shown: str) -> None:
    assert show(spec(Aggregation.SUM, name=name), {bytes(4): -12}) == f"{shown}: -12"
    assert show(spec(Aggregation.SUM, name=name), {}) == ""


def test_strings_of_the_script_stay_on_their_line() -> None:
    assert show(spec(Aggregation.COUNT, InternedType()), {struct.pack("=I4x", 1): 1}) == "@count[a\\x0ab]: 1"


def test_stacks_that_look_alike_are_one_key() -> None:
    of = spec(Aggregation.COUNT, REASON, StackType(2))
    rows = {
        struct.pack("=I4x", 8) + stack(0x1, 0x2, 0x10, 0x20): 2,
        struct.pack("=I4x", 8) + stack(0x2, 0x10, 0x20, 0x30): 3,
        struct.pack("=I4x", 8) + stack(0x10): 1,
        struct.pack("=I4x", 6) + stack(): 1,
    }
    assert show(of, rows) == text("""
        @count[NETFILTER_DROP,
            nf_hook_slow+0xa5
            ip_local_deliver+0xcc
        ]: 5
        @count[NO_SOCKET,
        ]: 1
        @count[NETFILTER_DROP,
            nf_hook_slow+0xa5
        ]: 1
    """)


def test_a_stack_may_stand_anywhere_in_the_key() -> None:
    rows = {stack(0x10) + struct.pack("=I4x", 8): 1}
    assert show(spec(Aggregation.COUNT, StackType(2), REASON), rows) == text("""
        @count[
            nf_hook_slow+0xa5
        , NETFILTER_DROP]: 1
    """)


def test_histograms_show_every_bucket_from_the_first_to_the_last() -> None:
    rows = {struct.pack("=I4x", bucket): count for bucket, count in {0: 1, 1: 2, 2: 4, 4: 1, 5: 8}.items()}
    assert show(spec(Aggregation.HIST, U32, name="size"), rows, width=44) == text("""
        @size:
        (..., 0)                1 |@@              |
        [0]                     2 |@@@@            |
        [1]                     4 |@@@@@@@@        |
        [2, 4)                  0 |                |
        [4, 8)                  1 |@@              |
        [8, 16)                 8 |@@@@@@@@@@@@@@@@|
    """)


@pytest.mark.parametrize(
    ("bucket", "label"),
    [(11, "[512, 1K)"), (12, "[1K, 2K)"), (21, "[512K, 1M)"), (33, "[2G, 4G)"), (65, "[8E, 16E)")],
)
def test_bucket_labels(bucket: int, label: str) -> None:
    line = show(spec(Aggregation.HIST, U32), {struct.pack("=I4x", bucket): 1}).splitlines()[1]
    assert line.startswith(f"{label}  ")
    assert len(line) == 60


def test_keyed_histograms_are_ordered_by_their_counts() -> None:
    of = spec(Aggregation.HIST, IFNAME, U32, name="size")
    rows = {
        struct.pack("=16sI4x", device, bucket): count
        for device, bucket, count in [(b"eth0", 3, 1), (b"lo", 4, 5), (b"lo", 5, 123456789), (b"eth1", 3, 0)]
    }
    assert show(of, rows, width=20) == text("""
        @size[lo]:
        [4, 8)                   5 |          |
        [8, 16)          123456789 |@@@@@@@@@@|
        @size[eth0]:
        [2, 4)                  1 |@@@@@@@@@@|
    """)
    assert show(of, rows, top=1, width=20).count("@size") == 1
