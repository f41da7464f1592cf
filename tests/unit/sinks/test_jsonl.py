"""The JSON lines, and that docs/json.md shows them as they are."""

import io
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.event_schema import SCHEMA, check
from xcapscript.errors import CompilerBug
from xcapscript.event import Event
from xcapscript.layout import EVENT, PACKET, PacketFlag, Value, lay_out
from xcapscript.sinks.base import HookCounts
from xcapscript.sinks.jsonl import JsonSink
from xcapscript.sinks.lines import StreamLines
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
    PointerType,
    StackType,
    Type,
)
from xcapscript.unit import Aggregation, Buckets, EventKind, EventSpec, MapSpec

SpecMaker = Callable[..., EventSpec]
RecordMaker = Callable[..., bytes]

TIME = 1_795_374_594_025_757_747
PAGE = Path(__file__).resolve().parents[3] / "docs" / "json.md"
PING = bytes.fromhex(
    "0000000000000000000000000800" + "45000020a7784000400195627f0000017f000001" + "0800af944666000100010203"
)
REASON = EnumType("skb_drop_reason", ((6, "SKB_DROP_REASON_NO_SOCKET"),))
STATE = EnumType("state", ((1, "UP"),))


def resolve(addresses: tuple[int, ...], depth: int) -> list[str]:
    return [f"frame_{address}+0x1" for address in addresses[:depth]]


Sending = Callable[[JsonSink], None]


def lines_of(*sendings: Sending) -> list[str]:
    stream = io.StringIO()
    sink = JsonSink(StreamLines(stream, "a stream"), ValueText(("drop", "two\n", "\udcff"), resolve))
    for send in sendings:
        send(sink)
    sink.flush()
    return stream.getvalue().splitlines()


def found(*sendings: Sending) -> Any:
    """The one object that was written."""
    (line,) = lines_of(*sendings)
    assert line.isascii()
    conforms(json.loads(line))
    return json.loads(line)


def packet(spec: EventSpec, record: bytes, extra: tuple[Value, ...] = ()) -> Sending:
    event = Event(spec, TIME, 1, (*PACKET.decode(record), *extra), record[PACKET.size :])
    return lambda sink: sink.write(event)


def values(make_spec: SpecMaker, kind: EventKind, *fields: tuple[Type, Value], text: str | None = None) -> Sending:
    named = [(f"v{number}", kind) for number, (kind, _) in enumerate(fields)]
    layout = lay_out("values", [*((f.name, f.type) for f in EVENT.fields), *named])
    event = Event(make_spec(kind, layout, format=text), TIME, 1, (3, 0, 0, *(value for _, value in fields)))
    return lambda sink: sink.write(event)


def map_of(
    aggregation: Aggregation,
    *keys: Type,
    name: str = "@m",
    value: Type = S64,
    buckets: Buckets | None = None,
    content: Mapping[tuple[int | bytes, ...], Value],
    top: int | None = None,
    when: int = TIME,
) -> Sending:
    key = lay_out("key", [(f"k{number}", kind) for number, kind in enumerate(keys)])
    pair = aggregation in (Aggregation.AVG, Aggregation.STATS)
    held = lay_out("value", [("count", U64), ("total", S64)] if pair else [("value", value)])
    span = Source("x", "x").span(0, 1)
    of = MapSpec(name, "map_0", key, held, aggregation, signed=True, max_entries=9, span=span, buckets=buckets)
    packed = {}
    for parts, kept in content.items():
        data = bytearray(key.size)
        for field, part in zip(key.fields, parts, strict=True):
            encoded = part if isinstance(part, bytes) else part.to_bytes(4, "little")
            data[field.offset : field.offset + len(encoded)] = encoded
        packed[bytes(data)] = kept
    return lambda sink: sink.print_map(of, packed, when, top)


def stack(*addresses: int) -> bytes:
    return b"".join(address.to_bytes(8, "little") for address in addresses)


def conforms(entry: dict[str, Any]) -> None:
    check(entry)
    second = datetime.strptime(entry["time"][:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    assert int(second.timestamp()) * 10**9 + int(entry["time"][20:29]) == entry["ns"]


def examples() -> list[str]:
    blocks = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("line", examples())
def test_documented_lines_are_as_documented(line: str) -> None:
    entry = json.loads(line)
    conforms(entry)
    assert json.dumps(entry, separators=(",", ":")) == line


def test_every_type_and_aggregation_has_an_example() -> None:
    entries = [json.loads(line) for line in examples()]
    kinds = {reference["$ref"].removeprefix("#/$defs/") for reference in SCHEMA["oneOf"]}
    assert {entry["type"] for entry in entries} == kinds
    assert {entry.get("aggregation", "count") for entry in entries} == {str(kind) for kind in Aggregation}
    assert {key for entry in entries if entry["type"] == "packet" for key in entry} == {
        *SCHEMA["$defs"]["packet"]["properties"]
    }


LO = b"lo"
FRAMES = (StackType(2),)


@pytest.mark.parametrize(
    "sending",
    [
        map_of(Aggregation.COUNT, REASON, name="count", content={(6,): 3}),
        map_of(Aggregation.MIN, IFNAME, name="@least", content={(LO,): 46}),
        map_of(Aggregation.MAX, IFNAME, name="@most", content={(LO,): 98}),
        map_of(Aggregation.AVG, IFNAME, name="@mean", content={(LO,): (3, 190)}),
        map_of(Aggregation.STATS, IFNAME, name="@len", content={(LO,): (3, 190)}),
        map_of(Aggregation.HIST, IFNAME, U32, name="@sizes", content={(LO, 8): 1, (LO, 7): 2}),
        map_of(
            Aggregation.LHIST,
            U32,
            name="@steps",
            buckets=Buckets(50, 100, 25),
            content={(0,): 2, (1,): 1, (2,): 0, (3,): 4},
        ),
        map_of(
            Aggregation.VALUE,
            U32,
            name="@last",
            value=IpType(),
            content={(18022,): bytes(10) + b"\xff\xff\x0a\0\0\1"},
        ),
    ],
)
def test_documented_maps_are_what_is_written(sending: Sending) -> None:
    entry = found(sending)
    documented = [json.loads(line) for line in examples()]
    assert {**entry, "time": None, "ns": None} in [{**each, "time": None, "ns": None} for each in documented]


def test_a_packet(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    assert found(packet(make_spec(EventKind.LINE), make_record(PING, wire_len=1500))) == {
        "type": "packet",
        "time": "2026-11-22T19:09:54.025757747Z",
        "ns": TIME,
        "hook": "drop",
        "ifname": "veth-b",
        "ifindex": 2,
        "netns": 4026532281,
        "pid": 812,
        "tid": 812,
        "comm": "ping",
        "cpu": 1,
        "reason": "NETFILTER_DROP",
        "len": 1500,
        "summary": "IP 127.0.0.1 > 127.0.0.1: ICMP echo request, id 18022, seq 1, length 12",
    }


def test_what_a_packet_may_lack(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    data = make_record(b"", ifname=b"", comm=b"\xffa\x1b", reason=99)
    entry = found(packet(make_spec(EventKind.LINE), data))
    assert (entry["ifname"], entry["comm"], entry["reason"]) == ("", "\\xffa\x1b", "99")
    assert "reason" not in found(packet(make_spec(EventKind.LINE, has_reason=False), data))


def test_a_packet_made_up_from_a_socket(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    made_up = make_record(PING, flags=PacketFlag.SYNTHETIC | PacketFlag.PARTIAL)
    assert found(packet(make_spec(EventKind.LINE), made_up))["synthetic"] is True
    assert found(packet(make_spec(EventKind.LINE), made_up))["partial"] is True
    assert "synthetic" not in found(packet(make_spec(EventKind.LINE), make_record(PING, flags=PacketFlag.PARTIAL)))
    assert "partial" not in found(packet(make_spec(EventKind.LINE), make_record(PING, flags=PacketFlag.SYNTHETIC)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "packets"},
        {"ns": -1},
        {"time": "2026-11-22 19:09:54"},
        {"hook": None},
        {"cpu": "1"},
        {"bytes": "abc"},
        {"more": 1},
    ],
)
def test_the_schema_tells_what_is_wrong(make_spec: SpecMaker, make_record: RecordMaker, wrong: dict[str, Any]) -> None:
    entry = found(packet(make_spec(EventKind.LINE), make_record(PING)))
    with pytest.raises((AssertionError, KeyError)):
        check({**entry, **wrong})


@pytest.mark.parametrize(
    ("aggregation", "value"),
    [("count", "1"), ("stats", 1), ("hist", {"buckets": []}), ("value", 1.5), ("mode", 1), ("lhist", 3)],
)
def test_the_schema_knows_what_each_aggregation_gives(aggregation: str, value: object) -> None:
    entry = found(map_of(Aggregation.COUNT, U32, content={(1,): 5}))
    with pytest.raises(AssertionError):
        check({**entry, "aggregation": aggregation, "rows": [{"key": [], "value": value}]})


def test_stacks_and_bytes(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    layout = lay_out("stack", [*((f.name, f.type) for f in PACKET.fields), ("stack", StackType(2))])
    entry = found(packet(make_spec(EventKind.STACK, layout), make_record(PING), extra=((1, 2, 3),)))
    assert entry["stack"] == ["frame_1+0x1", "frame_2+0x1"]
    assert found(packet(make_spec(EventKind.HEX), make_record(PING)))["bytes"] == PING.hex()


def test_values(make_spec: SpecMaker) -> None:
    fields: list[tuple[Type, Value]] = [
        (U64, (1 << 64) - 1),
        (S64, -(1 << 63)),
        (TASK_COMM, "é\n".encode()),
        (STATE, 1),
        (STATE, 2),
        (InternedType(), 2),
        (PointerType("void"), 255),
        (StackType(2), (7, 8)),
    ]
    assert found(values(make_spec, EventKind.PRINT, *fields))["values"] == [
        (1 << 64) - 1,
        -(1 << 63),
        "é\n",
        "UP",
        "2",
        "\\xff",
        "0xff",
        ["frame_7+0x1", "frame_8+0x1"],
    ]


def test_printf(make_spec: SpecMaker) -> None:
    sending = values(make_spec, EventKind.PRINTF, (U32, 7), (TASK_COMM, b"a\x1b"), text="%d\t%s\udcff\n")
    assert found(sending)["text"] == "7\ta\\x1b\\xff\n"


def test_rows_are_ordered_and_cut_as_in_text() -> None:
    entry = found(map_of(Aggregation.COUNT, U32, content={(1,): 5, (2,): 9, (3,): 7}, top=2))
    assert entry["rows"] == [{"key": [2], "value": 9}, {"key": [3], "value": 7}]


def test_stacks_in_maps() -> None:
    content = {(stack(1, 2),): (1 << 64) - 1}
    entry = found(map_of(Aggregation.VALUE, *FRAMES, value=U64, content=content))
    assert entry["rows"] == [{"key": [["frame_1+0x1", "frame_2+0x1"]], "value": (1 << 64) - 1}]
    entry = found(map_of(Aggregation.VALUE, value=StackType(2), content={(): (3, 4)}))
    assert entry["rows"] == [{"key": [], "value": ["frame_3+0x1", "frame_4+0x1"]}]


def test_the_ends_of_histograms() -> None:
    entry = found(map_of(Aggregation.HIST, U32, content={(0,): 1, (1,): 2, (65,): 3}))
    assert [list(bucket.values()) for bucket in entry["rows"][0]["value"]["buckets"]] == [
        [None, 0, 1],
        [0, 1, 2],
        [1 << 63, None, 3],
    ]


def test_the_end() -> None:
    counts = {"drop": HookCounts(6, 1, 3), "interval:1s": HookCounts(2, 0)}
    assert found(lambda sink: sink.close(TIME, counts, {"count": 12})) == {
        "type": "end",
        "time": "2026-11-22T19:09:54.025757747Z",
        "ns": TIME,
        "hooks": [
            {"hook": "drop", "hits": 6, "lost": 1, "missed": 3},
            {"hook": "interval:1s", "hits": 2, "lost": 0, "missed": 0},
        ],
        "full": [{"name": "@count", "missed": 12}],
    }


def test_what_is_not_to_be_written(make_spec: SpecMaker) -> None:
    with pytest.raises(CompilerBug):
        lines_of(values(make_spec, EventKind.EXIT))
