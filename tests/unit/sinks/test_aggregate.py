import struct
from textwrap import dedent

import pytest

from xcapscript.layout import Value, lay_out
from xcapscript.sinks.aggregate import MapText
from xcapscript.sinks.values import ValueText
from xcapscript.source import Source
from xcapscript.types import (
    IFNAME,
    S64,
    TASK_COMM,
    U32,
    U64,
    EnumType,
    InternedType,
    IpType,
    MacType,
    StackType,
    SymbolType,
    Type,
)
from xcapscript.unit import Aggregation, Buckets, MapSpec

REASON = EnumType("skb_drop_reason", ((6, "SKB_DROP_REASON_NO_SOCKET"), (8, "SKB_DROP_REASON_NETFILTER_DROP")))
NAMES = {0x10: "nf_hook_slow+0xa5", 0x20: "ip_local_deliver+0xcc", 0x30: "ip_rcv+0x1"}
ENTRY_FRAMES = (0x1, 0x2)


def resolve(addresses: tuple[int, ...], depth: int) -> list[str]:
    return [NAMES[address] for address in addresses if address not in ENTRY_FRAMES][:depth]


AVERAGES = (Aggregation.AVG, Aggregation.STATS)


def spec(
    aggregation: Aggregation,
    *types: Type,
    name: str = "count",
    value: Type = S64,
    signed: bool = True,
    buckets: Buckets | None = None,
) -> MapSpec:
    key = lay_out("key", [(f"k{number}", kind) for number, kind in enumerate(types)])
    members = [("count", U64), ("total", S64)] if aggregation in AVERAGES else [("value", value)]
    span = Source("x", "x").span(0, 1)
    return MapSpec(
        name, "map_0", key, lay_out("value", members), aggregation, signed, max_entries=10, span=span, buckets=buckets
    )


def show(of: MapSpec, rows: dict[bytes, Value], *, top: int | None = None, width: int = 60) -> str:
    return "\n".join(MapText(ValueText(("drop", "a\nb"), resolve)).lines(of, rows, width, top))


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
    assert show(of, rows, width=40) == text("""
        @size[lo]:
        [4, 8)                   5 |           |
        [8, 16)          123456789 |@@@@@@@@@@@|
        @size[eth0]:
        [2, 4)                  1 |@@@@@@@@@@@@|
    """)
    assert show(of, rows, top=1, width=40).count("@size") == 1


def u32(number: int) -> bytes:
    return struct.pack("=I4x", number)


@pytest.mark.parametrize(
    ("aggregation", "first"),
    [(Aggregation.SUM, 30), (Aggregation.MAX, 30), (Aggregation.VALUE, 30), (Aggregation.MIN, -7)],
)
def test_the_row_that_matters_most_is_the_first(aggregation: Aggregation, first: int) -> None:
    rows: dict[bytes, Value] = {u32(1): 4, u32(2): 30, u32(3): -7}
    shown = show(spec(aggregation, U32, name="n"), rows).splitlines()
    assert shown == [f"@n[{key}]: {value}" for key, value in ([(2, 30), (1, 4), (3, -7)][:: 1 if first == 30 else -1])]


def test_averages_are_rounded_toward_zero_and_ordered() -> None:
    rows: dict[bytes, Value] = {u32(1): (3, 15), u32(2): (2, -3), u32(3): (10, 79), u32(4): (0, 0)}
    assert show(spec(Aggregation.AVG, U32, name="n"), rows) == "@n[3]: 7\n@n[1]: 5\n@n[4]: 0\n@n[2]: -1"


def test_stats_are_ordered_by_their_totals() -> None:
    rows: dict[bytes, Value] = {u32(1): (3, 15), u32(2): (2, -3), u32(3): (1, 9)}
    assert show(spec(Aggregation.STATS, U32, name="n"), rows) == text("""
        @n[1]: count 3, average 5, total 15
        @n[3]: count 1, average 9, total 9
        @n[2]: count 2, average -1, total -3
    """)


@pytest.mark.parametrize(
    ("aggregation", "one", "other", "shown"),
    [
        (Aggregation.SUM, 5, -2, "3"),
        (Aggregation.MIN, 5, -2, "-2"),
        (Aggregation.MAX, 5, -2, "5"),
        (Aggregation.AVG, (1, 10), (3, 6), "4"),
        (Aggregation.STATS, (1, 10), (3, 6), "count 4, average 4, total 16"),
    ],
)
def test_what_stacks_that_look_alike_hold_is_put_together(
    aggregation: Aggregation, one: Value, other: Value, shown: str
) -> None:
    rows = {stack(0x1, 0x10): one, stack(0x2, 0x10): other}
    assert show(spec(aggregation, StackType(2)), rows).splitlines()[-1] == f"]: {shown}"


def test_histograms_of_stacks_that_look_alike_are_one() -> None:
    rows: dict[bytes, Value] = {stack(0x1, 0x10) + u32(1): 1, stack(0x2, 0x10) + u32(1): 2}
    assert "\n[0]                     3 |@" in show(spec(Aggregation.HIST, StackType(2), U32), rows)


@pytest.mark.parametrize("aggregation", [Aggregation.MIN, Aggregation.MAX])
@pytest.mark.parametrize("signed", [False, True])
def test_extremes_that_were_zeroed_are_zero(aggregation: Aggregation, signed: bool) -> None:  # noqa: FBT001
    of = spec(aggregation, U32, signed=signed)
    assert show(of, {u32(1): of.unfold(0)}) == "@count[1]: 0"
    assert show(of, {u32(1): of.unfold(5 ^ of.fold)}) == "@count[1]: 5"


def test_histograms_that_were_zeroed_are_not_shown() -> None:
    assert show(spec(Aggregation.HIST, IFNAME, U32), {struct.pack("=16sI4x", b"lo", 3): 0}) == ""


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        (U64, (1 << 64) - 1, " 18446744073709551615"),
        (TASK_COMM, b"a\n\xff", " a\\x0a\\xff"),
        (InternedType(), 1, " a\\x0ab"),
        (REASON, 8, " NETFILTER_DROP"),
        (IpType(), bytes(10) + b"\xff\xff\x0a\0\0\1", " 10.0.0.1"),
        (MacType(), 0x0A01, " 00:00:00:00:0a:01"),
        (SymbolType(), 0x30, " ip_rcv+0x1"),
        (StackType(2), (0x1, 0x10, 0x20), "\n    nf_hook_slow+0xa5\n    ip_local_deliver+0xcc"),
    ],
)
def test_plain_maps_hold_values_of_any_type(kind: Type, value: Value, shown: str) -> None:
    assert show(spec(Aggregation.VALUE, U32, name="last", value=kind), {u32(7): value}) == f"@last[7]:{shown}"


def test_plain_maps_of_no_numbers_are_ordered_by_key() -> None:
    rows: dict[bytes, Value] = {u32(2): b"a", u32(1): b"b", u32(10): b"c"}
    shown = show(spec(Aggregation.VALUE, U32, value=TASK_COMM), rows)
    assert shown == "@count[1]: b\n@count[2]: a\n@count[10]: c"


def test_plain_values_of_keys_that_look_alike_stay_apart_unless_they_are_alike() -> None:
    rows: dict[bytes, Value] = {stack(0x1, 0x10): 7, stack(0x2, 0x10): 7, stack(0x10): 5}
    shown = show(spec(Aggregation.VALUE, StackType(2)), rows)
    assert [line for line in shown.splitlines() if line.startswith("]")] == ["]: 7", "]: 5"]


def test_linear_histograms_have_the_buckets_they_were_given() -> None:
    of = spec(Aggregation.LHIST, U32, name="len", buckets=Buckets(0, 1000, 400))
    rows: dict[bytes, Value] = {u32(bucket): count for bucket, count in enumerate((1, 2, 4, 0, 16))}
    assert show(of, rows, width=44) == text("""
        @len:
        (..., 0)                1 |@               |
        [0, 400)                2 |@@              |
        [400, 800)              4 |@@@@            |
        [800, 1000)             0 |                |
        [1000, ...)            16 |@@@@@@@@@@@@@@@@|
    """)


@pytest.mark.parametrize(
    ("buckets", "bucket", "label"),
    [
        (Buckets(0, 4096, 1024), 0, "(..., 0)"),
        (Buckets(0, 4096, 1024), 1, "[0, 1K)"),
        (Buckets(0, 4096, 1024), 5, "[4K, ...)"),
        (Buckets(-2048, 2, 1), 1, "[-2K, -2047)"),
        (Buckets(0, 10, 1), 1, "[0, 1)"),
    ],
)
def test_linear_bucket_labels(buckets: Buckets, bucket: int, label: str) -> None:
    line = show(spec(Aggregation.LHIST, U32, buckets=buckets), {u32(bucket): 1}).splitlines()[1]
    assert line.split("  ")[0] == label


@pytest.mark.parametrize("width", [40, 41, 50, 80, 200])
@pytest.mark.parametrize("count", [1, 10**9, (1 << 64) - 1])
def test_bars_never_make_a_line_wrap(width: int, count: int) -> None:
    for of in (
        spec(Aggregation.HIST, U32),
        spec(Aggregation.LHIST, U32, buckets=Buckets(0, 3 << 40, 1 << 30)),
        spec(Aggregation.LHIST, U32, buckets=Buckets(10**9, 2 * 10**9, 10**8 + 1)),
    ):
        shown = show(of, {u32(bucket): count // (bucket or 1) for bucket in range(9)}, width=width).splitlines()[1:]
        assert all(len(line) == width or (len(line) > width - 3 and "|" not in line) for line in shown)


def test_labels_that_leave_no_room_have_no_bars() -> None:
    buckets = Buckets(-(10**18) - 1, 10**18, 10**18)
    shown = show(spec(Aggregation.LHIST, U32, buckets=buckets), {u32(1): 1}, width=40)
    assert shown.splitlines()[1] == "[-1000000000000000001, -1) 1 |@@@@@@@@@|"
    shown = show(spec(Aggregation.LHIST, U32, buckets=buckets), {u32(1): 10**12}, width=40)
    assert shown.splitlines()[1] == "[-1000000000000000001, -1) 1000000000000"
