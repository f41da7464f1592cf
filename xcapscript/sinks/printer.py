"""Events as text for people: packet lines, stacks, values and printf."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TextIO

from xcapscript.errors import CompilerBug
from xcapscript.event import Event
from xcapscript.layout import EVENT, Value
from xcapscript.printf_format import Piece, conversions, parse_format, render_format
from xcapscript.sinks.base import SinkError
from xcapscript.sinks.packet import PacketMeta
from xcapscript.sinks.summary import summarise
from xcapscript.sinks.values import ReasonNames, ValueText, text_of
from xcapscript.types import StackType, Type
from xcapscript.unit import EventKind, EventSpec

INDENT = "    "
NO_DEVICE = "-"

_DIM, _RED, _PLAIN = "\x1b[2m", "\x1b[31m", "\x1b[0m"
_SECOND = 1_000_000_000


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is a terminal, and neither NO_COLOR nor TERM=dumb speaks against colours there."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


class Printer:
    """An EventSink for LINE, STACK, PRINT and PRINTF."""

    def __init__(self, stream: TextIO, values: ValueText, *, colour: bool = False) -> None:
        self._stream = stream
        self._values = values
        self._colour = colour
        self._second = -1
        self._clock = ""
        self._reasons = ReasonNames()
        self._formats: dict[int, tuple[Piece, ...]] = {}

    def write(self, event: Event) -> None:
        self.write_text(self._text(event))

    def write_text(self, text: str) -> None:
        """Print a text as it is. Raises SinkError."""
        try:
            self._stream.write(text)
        except OSError as error:
            raise SinkError.writing("standard output", error) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise SinkError.writing("standard output", error) from error

    def _text(self, event: Event) -> str:
        match event.spec.kind:
            case EventKind.LINE:
                return f"{self._line(event)}\n"
            case EventKind.STACK:
                return f"{self._line(event)}\n{self._stacks(event)}"
            case EventKind.PRINT:
                return self._print(event)
            case EventKind.PRINTF:
                return self._printf(event)
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
            self._clock = time.strftime("%H:%M:%S", time.localtime(second))
        return f"{self._clock}.{rest // 1000:06}"

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colour else text

    def _stacks(self, event: Event) -> str:
        return "".join(self._indented(kind, value) for kind, value in _payload(event) if isinstance(kind, StackType))

    def _indented(self, kind: Type, value: Value) -> str:
        return "".join(f"{INDENT}{frame}\n" for frame in self._values.text(kind, value).splitlines())

    def _print(self, event: Event) -> str:
        """Values on one line; a stack begins a line of its own for each of its frames."""
        text, fresh = "", True
        for kind, value in _payload(event):
            if isinstance(kind, StackType):
                text += ("" if fresh else "\n") + self._indented(kind, value)
            else:
                text += ("" if fresh else " ") + self._values.text(kind, value)
            fresh = isinstance(kind, StackType)
        return text if text and fresh else f"{text}\n"

    def _printf(self, event: Event) -> str:
        pieces = self._format(event.spec)
        values = [
            value if isinstance(value, int) and conversion.letter != "s" else self._string(kind, value)
            for conversion, (kind, value) in zip(conversions(pieces), _payload(event), strict=True)
        ]
        return render_format(pieces, values)

    def _string(self, kind: Type, value: Value) -> str:
        return f"\n{self._indented(kind, value)}" if isinstance(kind, StackType) else self._values.text(kind, value)

    def _format(self, spec: EventSpec) -> tuple[Piece, ...]:
        if spec.id not in self._formats:
            self._formats[spec.id] = parse_format(spec.format or "")
        return self._formats[spec.id]


def _payload(event: Event) -> Iterator[tuple[Type, Value]]:
    """The values that the statement sent, with their types."""
    own = slice(len(EVENT.fields), None)
    for field, value in zip(event.spec.layout.fields[own], event.values[own], strict=True):
        yield field.type, value
