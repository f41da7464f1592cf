"""Where a clause's events and maps are shown: the sink between a session and the screen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from xcapscript.cli.options import Options
from xcapscript.event import Event
from xcapscript.layout import Value
from xcapscript.repl.maptable import map_lines
from xcapscript.repl.screen import Voice
from xcapscript.sinks.base import EventSink, HookCounts
from xcapscript.sinks.jsonl import JsonSink
from xcapscript.sinks.outputs import Destinations, Form
from xcapscript.sinks.printer import Printer
from xcapscript.sinks.rotation import Rotation
from xcapscript.sinks.values import ValueText
from xcapscript.unit import EventSpec, MapSpec


class VoiceLines:
    """Whole lines to the screen: a part of one waits for its end. `mark` stands before each."""

    def __init__(self, voice: Voice, columns: Callable[[], int], mark: Callable[[], str]) -> None:
        self._voice = voice
        self._columns = columns
        self.mark = mark
        self._part = ""

    def columns(self) -> int:
        return self._columns()

    def write(self, text: str) -> None:
        whole, end, self._part = (self._part + text).rpartition("\n")
        if end:
            mark = self.mark()
            self._voice.show("".join(f"{mark}{line}\n" for line in whole.split("\n")))

    def tear(self) -> None:
        """What comes next does not belong to the line that was begun."""
        if self._part:
            self.write("\n")

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.tear()


class Shown:
    """An EventSink for the screen. Maps are tables, and are shown whatever else is."""

    def __init__(self, lines: VoiceLines, say: Callable[[str], None], values: ValueText, *, colour: bool) -> None:
        self._lines = lines
        self._say = say
        self._values = values
        self._printer = Printer(lines, values, width=lines.columns(), colour=colour)

    def write(self, event: Event) -> None:
        self._printer.write(event)

    def print_map(self, spec: MapSpec, content: Mapping[bytes, Value], time: int, top: int | None) -> None:
        del time
        self._lines.tear()
        mark = self._lines.mark().strip()
        lines = map_lines(spec, content, self._values, self._lines.columns(), top)
        self._say("\n".join([*([mark] if mark else []), *lines]))

    def flush(self) -> None:
        self._lines.flush()

    def close(self, time: int, counts: Mapping[str, HookCounts], missed: Mapping[str, int]) -> None:
        del time, counts, missed
        self._lines.close()


def wanted_by(voice: Voice, lines: VoiceLines) -> Callable[[EventSpec], bool]:
    """What is asked before an event is read."""

    def wanted(spec: EventSpec) -> bool:
        if voice.wanted(spec):
            return True
        lines.tear()
        return False

    return wanted


def destinations(
    options: Options, voice: Voice, lines: VoiceLines, say: Callable[[str], None], *, colour: bool
) -> Destinations:
    """Where a clause's packets go, and what it shows: to the screen, if that has no file of its own."""
    form = Form(options.format)

    def on_screen(values: ValueText) -> EventSink:
        return JsonSink(lines, values) if form is Form.JSON else Shown(lines, say, values, colour=colour)

    in_file = options.output is not None
    return Destinations(
        stream=sys.stdout,
        packets=options.write,
        snaplen=options.snaplen or 0,
        lines=options.output,
        form=form,
        last=options.last,
        rotation=Rotation.of(options.file_size, options.file_seconds, options.file_count),
        at_once=options.at_once,
        show=None if in_file else on_screen,
        wanted=None if in_file else wanted_by(voice, lines),
    )
