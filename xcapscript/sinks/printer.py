"""Events as text for people: packet lines, stacks, bytes, values, printf and maps."""

from __future__ import annotations

import time as clock
from collections.abc import Mapping
from typing import TextIO

from xcapscript.errors import CompilerBug
from xcapscript.event import Event
from xcapscript.layout import Value
from xcapscript.sinks.aggregate import MapText
from xcapscript.sinks.base import HookCounts
from xcapscript.sinks.hexdump import hex_lines
from xcapscript.sinks.lines import Lines
from xcapscript.sinks.packet import PacketMeta
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
    """An EventSink for people; maps are `width` characters wide."""

    def __init__(self, lines: Lines, values: ValueText, *, width: int, colour: bool = False) -> None:
        self._lines = lines
        self._values = values
        self._formatter = Formatter(values)
        self._maps = MapText(values, width)
        self._colour = colour
        self._second = -1
        self._clock = ""
        self._reasons = ReasonNames()

    def write(self, event: Event) -> None:
        self._lines.write(self._text(event))

    def print_map(self, spec: MapSpec, content: Mapping[bytes, Value], _time: int, top: int | None) -> None:
        self._lines.write("".join(f"{line}\n" for line in self._maps.lines(spec, content, top)))

    def flush(self) -> None:
        self._lines.flush()

    def close(self, _time: int, _counts: Mapping[str, HookCounts], _missed: Mapping[str, int]) -> None:
        self._lines.close()

    def _text(self, event: Event) -> str:
        match event.spec.kind:
            case EventKind.LINE:
                return f"{self._line(event)}\n"
            case EventKind.STACK:
                return f"{self._line(event)}\n{self._stacks(event)}"
            case EventKind.HEX:
                return "".join(f"{line}\n" for line in (self._line(event), *hex_lines(event.packet or b"")))
            case EventKind.PRINT:
                return self._print(event)
            case EventKind.PRINTF:
                return self._formatter.text(event)
            case kind:
                raise CompilerBug(f"{kind} was sent to be printed")

    def _line(self, event: Event) -> str:
        spec, packet = event.spec, PacketMeta.of(event.values)
        device = text_of(packet.ifname) or NO_DEVICE
        summary = summarise(event.packet or b"", packet.link, packet.wire_len)
        line = f"{self._time(event.time)} {self._paint(_DIM, spec.hook)} {device} {summary}"
        return f"{line}  {self._paint(_RED, packet.reason_text(self._reasons.of(spec)))}" if spec.has_reason else line

    def _time(self, when: int) -> str:
        second, rest = divmod(when, _SECOND)
        if second != self._second:
            self._second = second
            self._clock = clock.strftime("%H:%M:%S", clock.localtime(second))
        return f"{self._clock}.{rest // 1000:06}"

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colour else text

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
