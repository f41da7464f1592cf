import fcntl
import io
import os
import pty
import struct
import termios
import time
from collections.abc import Callable, Iterator

import pytest

from xcapscript.errors import CompilerBug
from xcapscript.event import Event
from xcapscript.layout import EVENT, PACKET, PacketFlag, Value, lay_out
from xcapscript.sinks.lines import StreamLines
from xcapscript.sinks.printer import Printer, wants_colour
from xcapscript.sinks.values import ValueText
from xcapscript.source import Source
from xcapscript.types import IFNAME, S32, U32, U64, EnumType, InternedType, StackType, Type
from xcapscript.unit import Aggregation, EventKind, EventSpec, MapSpec

SpecMaker = Callable[..., EventSpec]
RecordMaker = Callable[..., bytes]

TIME = 1_700_000_000_123_456_789
PING = bytes.fromhex("450000540000400040010000" + "0a4d0001" + "0a4d0002" + "0800f7ff00030001") + bytes(56)
LINE = "drop veth-b IP 10.77.0.1 > 10.77.0.2: ICMP echo request, id 3, seq 1, length 64  NETFILTER_DROP\n"
STATE = EnumType("state", ((1, "UP"),))


@pytest.fixture(autouse=True)
def east_of_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST-5:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def resolve(addresses: tuple[int, ...], depth: int) -> list[str]:
    return [f"frame_{address}+0x1" for address in addresses[:depth]]


def printed(*events: Event, colour: bool = False) -> str:
    stream = io.StringIO()
    printer = Printer(StreamLines(stream, "a stream"), ValueText(("drop", "two\n"), resolve), width=80, colour=colour)
    for event in events:
        printer.write(event)
    printer.flush()
    return stream.getvalue()


def packet_event(spec: EventSpec, record: bytes, extra: tuple[Value, ...] = (), when: int = TIME) -> Event:
    return Event(spec, when, 0, (*PACKET.decode(record), *extra), record[PACKET.size :])


def values_event(make_spec: SpecMaker, kind: EventKind, *fields: tuple[Type, Value], text: str | None = None) -> Event:
    named = [(f"v{number}", kind) for number, (kind, _) in enumerate(fields)]
    layout = lay_out("values", [*((f.name, f.type) for f in EVENT.fields), *named])
    return Event(make_spec(kind, layout, format=text), TIME, 0, (3, 0, 0, *(value for _, value in fields)))


def test_a_packet_line(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    event = packet_event(make_spec(EventKind.LINE), make_record(PING, link=101))
    assert printed(event) == f"03:43:20.123456789 {LINE}"


def test_times_of_one_second_and_the_next(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    spec, record = make_spec(EventKind.LINE), make_record(PING, link=101)
    lines = printed(*(packet_event(spec, record, when=TIME + delay) for delay in (0, 999, 900_000_000)))
    assert [line.split(" ")[0] for line in lines.splitlines()] == [
        "03:43:20.123456789",
        "03:43:20.123457788",
        "03:43:21.023456789",
    ]


def test_what_is_unknown_in_a_packet_line(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    record = make_record(PING[:10], wire_len=84, link=101, ifname=b"", reason=77)
    assert printed(packet_event(make_spec(EventKind.LINE), record)).endswith(" drop - IP [|ip]  77\n")
    spec = make_spec(EventKind.LINE, has_reason=False, hook="rx")
    assert printed(packet_event(spec, make_record(b"", ifname=b"\x1b"))).endswith(" rx \\x1b [|ether]\n")


def test_a_line_says_that_its_packet_was_made_up(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    record = make_record(PING, link=101, flags=PacketFlag.SYNTHETIC)
    assert printed(packet_event(make_spec(EventKind.LINE), record)).endswith("length 64  synthetic  NETFILTER_DROP\n")
    spec = make_spec(EventKind.LINE, has_reason=False)
    assert printed(packet_event(spec, record)).endswith("length 64  synthetic\n")


def test_colours(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    line = printed(packet_event(make_spec(EventKind.LINE), make_record(PING, link=101)), colour=True)
    assert " \x1b[2mdrop\x1b[0m veth-b IP 10.77.0.1 " in line
    assert line.endswith("length 64  \x1b[31mNETFILTER_DROP\x1b[0m\n")


@pytest.mark.parametrize(
    ("terminal", "environ", "wanted"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),  # as no-color.org has it
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals(terminal: bool, environ: dict[str, str], wanted: bool) -> None:  # noqa: FBT001
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    assert wants_colour(stream, environ) is wanted


def test_a_stack_stands_under_its_line(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    layout = lay_out("stack", [*((f.name, f.type) for f in PACKET.fields), ("stack", StackType(2))])
    event = packet_event(make_spec(EventKind.STACK, layout), make_record(PING, link=101), extra=((1, 2, 3),))
    assert printed(event) == f"03:43:20.123456789 {LINE}    frame_1+0x1\n    frame_2+0x1\n"


def test_values_are_separated_by_spaces(make_spec: SpecMaker) -> None:
    values = [(S32, -3), (IFNAME, b"eth0"), (STATE, 1), (STATE, 2), (InternedType(), 0)]
    assert printed(values_event(make_spec, EventKind.PRINT, *values)) == "-3 eth0 UP 2 drop\n"


def test_a_stack_among_values_has_its_own_lines(make_spec: SpecMaker) -> None:
    stack: tuple[Type, Value] = (StackType(2), (7, 8))
    frames = "    frame_7+0x1\n    frame_8+0x1\n"
    for values, text in [
        ([(U32, 1), stack, (U32, 2), (U32, 3)], f"1\n{frames}2 3\n"),
        ([stack], frames),
        ([stack, (U32, 2)], f"{frames}2\n"),
        ([(StackType(2), ())], "\n"),
        ([(InternedType(), 1), (U32, 2)], "two\n 2\n"),
    ]:
        assert printed(values_event(make_spec, EventKind.PRINT, *values)) == text


def test_printf(make_spec: SpecMaker) -> None:
    values = [(U32, 812), (IFNAME, b"a\x1bb"), (STATE, 1), (STATE, 1), (StackType(1), (7,))]
    event = values_event(make_spec, EventKind.PRINTF, *values, text="\x1b[1m%5d %-8s|%s=%d at %s100%%")
    assert printed(event, event) == "\x1b[1m  812 a\\x1bb  |UP=1 at \n    frame_7+0x1\n100%" * 2


def test_what_is_not_to_be_printed(make_spec: SpecMaker) -> None:
    with pytest.raises(CompilerBug):
        printed(values_event(make_spec, EventKind.EXIT))


def test_bytes_stand_under_their_line(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    event = packet_event(make_spec(EventKind.HEX), make_record(PING[:20], link=101, wire_len=84))
    assert printed(event).splitlines()[1:] == [
        "\t0x0000:  4500 0054 0000 4000 4001 0000 0a4d 0001  E..T..@.@....M..",
        "\t0x0010:  0a4d 0002                                .M..",
    ]
    assert printed(packet_event(make_spec(EventKind.HEX), make_record(b""))).count("\n") == 1


def test_bytes_are_as_wide_as_the_terminal_is_by_then(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    ours, theirs = pty.openpty()
    event = packet_event(make_spec(EventKind.HEX), make_record(bytes(16), link=101))
    lines = []
    try:
        with os.fdopen(theirs, "w", encoding="utf-8") as stream:
            printer = Printer(StreamLines(stream, "a terminal"), ValueText((), resolve), width=80)
            for columns in (80, 50, 20, 0):
                fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
                printer.write(event)
                printer.flush()
                lines.append(os.read(ours, 4096).decode().count("\t0x"))
    finally:
        os.close(ours)
    assert lines == [1, 2, 4, 1]


def test_a_map_and_the_end() -> None:
    key, value = lay_out("key", []), lay_out("value", [("value", U64)])
    span = Source("x", "x").span(0, 1)
    of = MapSpec("@n", "map_0", key, value, Aggregation.COUNT, signed=False, max_entries=1, span=span)
    stream = io.StringIO()
    printer = Printer(StreamLines(stream, "a stream"), ValueText((), resolve), width=80)
    printer.print_map(of, {b"": 3}, TIME, None)
    printer.close(TIME, {}, {})
    assert stream.getvalue() == "@n: 3\n"
