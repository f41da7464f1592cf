"""Events as text for people: packet lines, stacks, bytes, values, printf and maps."""

from __future__ import annotations

import time as clock
from collections.abc import Iterator, Mapping
from typing import TextIO

from xcapscript.errors import CompilerBug
from xcapscript.event import Event
from xcapscript.layout import Value
from xcapscript.sinks.aggregate import MapText
from xcapscript.sinks.base import HookCounts
from xcapscript.sinks.flood import Flood
from xcapscript.sinks.hexdump import hex_lines
from xcapscript.sinks.lines import Lines
from xcapscript.sinks.packet import SYNTHETIC, PacketMeta
from xcapscript.sinks.statements import Formatter, indented, payload
from xcapscript.sinks.summary import summarise
from xcapscript.sinks.values import ReasonNames, ValueText, text_of
from xcapscript.types import StackType
from xcapscript.unit import EventKind, MapSpec

NO_DEVICE = "-"

_DIM, _RED, _PLAIN = "\x1b[2m", "\x1b[31m", "\x1b[0m"
_SECOND = 1_000_000_000


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is a terminal, and neither NO_COLOR nor TERM=dumb speaks against colours there."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


class Printer:
    """An EventSink for people.

    Maps and bytes are as wide as the terminal, or `width` where there is none; packet lines are as long as they are,
    as tcpdump's. With `flood` not every event is shown, but the others are counted.
    """

    def __init__(
        self, lines: Lines, values: ValueText, *, width: int, colour: bool = False, flood: Flood | None = None
    ) -> None:
        self._lines = lines
        self._values = values
        self._formatter = Formatter(values)
        self._maps = MapText(values)
        self._width = width
        self._colour = colour
        self._flood = flood
        self._torn = False
        self._second = -1
        self._clock = ""
        self._reasons = ReasonNames()

    def write(self, event: Event) -> None:
        if self._flood is None:
            self._lines.write(self._text(event))
            return
        self._release(self._flood)
        if self._flood.shows(event, continued=self._torn):
            self._release(self._flood, now=True)
            self._put(self._flood, self._text(event))

    def print_map(self, spec: MapSpec, content: Mapping[bytes, Value], _time: int, top: int | None) -> None:
        if self._flood is not None:
            self._release(self._flood, now=True)
        self._lines.write("".join(f"{line}\n" for line in self._maps.lines(spec, content, self._columns(), top)))

    def flush(self) -> None:
        if self._flood is not None:
            self._release(self._flood)
        self._lines.flush()

    def close(self, _time: int, _counts: Mapping[str, HookCounts], _missed: Mapping[str, int]) -> None:
        try:
            if self._flood is not None:
                self._release(self._flood, now=True)
        finally:
            self._lines.close()

    def _release(self, flood: Flood, *, now: bool = False) -> None:
        """Show what was held back, and how many more there were."""
        unseen, shown = flood.release(now=now)
        if unseen:
            line = self._paint(_DIM, f"... {unseen:,} more")
            self._put(flood, f"\n{line}\n" if self._torn else f"{line}\n")
        for event in shown:
            self._put(flood, self._text(event))

    def _put(self, flood: Flood, text: str) -> None:
        flood.spend(max(1, text.count("\n")))
        self._torn = not text.endswith("\n")
        self._lines.write(text)

    def _text(self, event: Event) -> str:
        match event.spec.kind:
            case EventKind.LINE:
                return f"{self._line(event)}\n"
            case EventKind.STACK:
                return f"{self._line(event)}\n{self._stacks(event)}"
            case EventKind.HEX:
                return "".join(f"{line}\n" for line in (self._line(event), *self._bytes(event)))
            case EventKind.PRINT:
                return self._print(event)
            case EventKind.PRINTF:
                return self._formatter.text(event)
            case kind:
                raise CompilerBug(f"{kind} was sent to be printed")

    def _line(self, event: Event) -> str:
        spec, packet = event.spec, PacketMeta.of(event.values)
        device = text_of(packet.ifname) or (text_of(packet.comm) if event.spec.attachment.path else "") or NO_DEVICE
        summary = summarise(event.packet or b"", packet.link, packet.wire_len)
        parts = [f"{self._time(event.time)} {self._paint(_DIM, spec.hook)} {device} {summary}"]
        if packet.synthetic:
            parts.append(self._paint(_DIM, SYNTHETIC))
        if spec.has_reason:
            parts.append(self._paint(_RED, packet.reason_text(self._reasons.of(spec))))
        return "  ".join(parts)

    def _time(self, when: int) -> str:
        second, rest = divmod(when, _SECOND)
        if second != self._second:
            self._second = second
            self._clock = clock.strftime("%H:%M:%S", clock.localtime(second))
        return f"{self._clock}.{rest:09}"

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colour else text

    def _bytes(self, event: Event) -> Iterator[str]:
        return hex_lines(event.packet or b"", self._columns())

    def _columns(self) -> int:
        return self._lines.columns() or self._width

    def _stacks(self, event: Event) -> str:
        return "".join(
            indented(self._values, kind, value) for kind, value in payload(event) if isinstance(kind, StackType)
        )

    def _print(self, event: Event) -> str:
        """Values on one line; a stack begins a line of its own for each of its frames."""
        text, fresh = "", True
        for kind, value in payload(event):
            if isinstance(kind, StackType):
                text += ("" if fresh else "\n") + indented(self._values, kind, value)
            else:
                text += ("" if fresh else " ") + self._values.text(kind, value)
            fresh = isinstance(kind, StackType)
        return text if text and fresh else f"{text}\n"
