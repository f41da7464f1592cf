"""What a terminal shows when there is more than a person can read."""

import io
from collections.abc import Callable

from xcapscript.event import Event
from xcapscript.layout import EVENT, lay_out
from xcapscript.sinks.flood import BUDGET, LAST, MOMENT, Flood
from xcapscript.sinks.lines import StreamLines
from xcapscript.sinks.printer import Printer
from xcapscript.sinks.values import ValueText
from xcapscript.source import Source
from xcapscript.types import U32, U64, StackType
from xcapscript.unit import Aggregation, Attachment, EventKind, EventSpec, HookKind, MapSpec

SpecMaker = Callable[..., EventSpec]

NUMBER = lay_out("number", [*((f.name, f.type) for f in EVENT.fields), ("v0", U32)])
STACK = lay_out("stack", [*((f.name, f.type) for f in EVENT.fields), ("v0", StackType(4))])


class Terminal:
    """A printer on a terminal, and a clock that the test moves."""

    def __init__(self, *, colour: bool = False) -> None:
        self.now = 7 * MOMENT
        self._stream = io.StringIO()
        values = ValueText((), lambda addresses, depth: [f"frame_{address}" for address in addresses[:depth]])
        flood = Flood(lambda: self.now)
        self.printer = Printer(StreamLines(self._stream, "a stream"), values, width=80, colour=colour, flood=flood)

    def shown(self) -> list[str]:
        """The lines since the last look."""
        text = self._stream.getvalue()
        self._stream.seek(0)
        self._stream.truncate()
        return text.splitlines()


def number(make_spec: SpecMaker, value: int, text: str | None = None, **given: object) -> Event:
    kind = EventKind.PRINT if text is None else EventKind.PRINTF
    return Event(make_spec(kind, NUMBER, format=text, **given), 0, 0, (3, 0, 0, value))


def numbers(first: int, behind: int) -> list[str]:
    return [str(value) for value in range(first, behind)]


def test_what_fits_is_shown(make_spec: SpecMaker) -> None:
    terminal = Terminal()
    for value in range(5 * BUDGET):
        terminal.printer.write(number(make_spec, value))
        terminal.now += MOMENT // BUDGET
    terminal.printer.close(0, {}, {})
    assert terminal.shown() == numbers(0, 5 * BUDGET)


def test_the_rest_is_counted_and_the_last_are_shown(make_spec: SpecMaker) -> None:
    terminal = Terminal()
    for value in range(5000):
        terminal.printer.write(number(make_spec, value))
    terminal.printer.flush()
    assert terminal.shown() == numbers(0, BUDGET)
    terminal.now += MOMENT
    terminal.printer.flush()
    assert terminal.shown() == [f"... {5000 - BUDGET - LAST:,} more", *numbers(5000 - LAST, 5000)]
    terminal.printer.close(0, {}, {})
    assert terminal.shown() == []


def test_a_flood_that_lasts_fills_each_moment_once(make_spec: SpecMaker) -> None:
    terminal = Terminal()
    for value in range(3000):
        terminal.printer.write(number(make_spec, value))
        terminal.now += MOMENT // 1000
    lines = terminal.shown()
    terminal.printer.close(0, {}, {})
    lines += terminal.shown()
    told = [line for line in lines if line.startswith("...")]
    counted = sum(int(line.split()[1].replace(",", "")) for line in told)
    assert len(told) == 3
    assert counted + len(lines) - len(told) == 3000
    assert len(lines) < 3 * (BUDGET + LAST + 2)
    assert lines[-1] == "2999"
    kept = [int(line) for line in lines if line not in told]
    assert kept == sorted(kept)


def test_last_words_are_shown(make_spec: SpecMaker) -> None:
    terminal = Terminal()
    for value in range(100):
        terminal.printer.write(number(make_spec, value))
    terminal.printer.write(number(make_spec, 1, "found %d\n"))
    terminal.printer.close(0, {}, {})
    assert terminal.shown()[-2:] == ["99", "found 1"]


def test_nothing_is_told_where_nothing_is_missing(make_spec: SpecMaker) -> None:
    terminal = Terminal()
    for value in range(BUDGET + LAST):
        terminal.printer.write(number(make_spec, value))
    terminal.printer.close(0, {}, {})
    assert terminal.shown() == numbers(0, BUDGET + LAST)


def test_maps_and_what_begin_end_and_intervals_say_are_always_shown(make_spec: SpecMaker) -> None:
    span = Source("x", "x").span(0, 1)
    of = MapSpec(
        "@n",
        "m",
        lay_out("k", []),
        lay_out("v", [("v", U64)]),
        Aggregation.COUNT,
        signed=False,
        max_entries=1,
        span=span,
    )
    terminal = Terminal()
    for value in range(100):
        terminal.printer.write(number(make_spec, value))
    terminal.printer.print_map(of, {b"": 3}, 0, None)
    assert terminal.shown()[BUDGET:] == [f"... {100 - BUDGET - LAST} more", *numbers(100 - LAST, 100), "@n: 3"]
    for value in range(100, 200):
        terminal.printer.write(number(make_spec, value))
    for kind in (HookKind.BEGIN, HookKind.INTERVAL, HookKind.END):
        for value in range(50):
            terminal.printer.write(number(make_spec, value, attachment=Attachment(kind)))
    assert terminal.shown() == [f"... {100 - LAST} more", *numbers(200 - LAST, 200), *numbers(0, 50) * 3]


def test_lines_are_counted_not_events(make_spec: SpecMaker) -> None:
    terminal = Terminal()
    spec = make_spec(EventKind.PRINT, STACK)
    for _ in range(100):
        terminal.printer.write(Event(spec, 0, 0, (3, 0, 0, (1, 2, 3, 4))))
    assert len(terminal.shown()) == BUDGET


def test_a_line_of_several_pieces_is_not_torn(make_spec: SpecMaker) -> None:
    terminal = Terminal()
    for value in range(BUDGET - 1):
        terminal.printer.write(number(make_spec, value))
    for text in ("a%d ", "b%d ", "c%d\n", "d%d\n"):
        terminal.printer.write(number(make_spec, 1, text, id=ord(text[0])))
    assert terminal.shown() == [*numbers(0, BUDGET - 1), "a1 b1 c1"]


def test_pieces_without_end_are_counted_too(make_spec: SpecMaker) -> None:
    terminal = Terminal()
    for _ in range(1000):
        terminal.printer.write(number(make_spec, 1, "%d"))
    terminal.printer.close(0, {}, {})
    assert terminal.shown() == ["1" * 2 * BUDGET, f"... {1000 - 2 * BUDGET - LAST} more", "1" * LAST]


def test_the_count_is_dim(make_spec: SpecMaker) -> None:
    terminal = Terminal(colour=True)
    for value in range(100):
        terminal.printer.write(number(make_spec, value))
    terminal.printer.close(0, {}, {})
    assert "\x1b[2m... 75 more\x1b[0m" in terminal.shown()


def test_a_file_gets_everything(make_spec: SpecMaker) -> None:
    stream = io.StringIO()
    printer = Printer(StreamLines(stream, "a stream"), ValueText((), lambda _a, _d: []), width=80)
    for value in range(1000):
        printer.write(number(make_spec, value))
    printer.close(0, {}, {})
    assert stream.getvalue().splitlines() == numbers(0, 1000)
