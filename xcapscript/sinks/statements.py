"""What print() and printf() send: their values with their types, and the text that a format makes of them."""

from __future__ import annotations

from collections.abc import Iterator

from xcapscript.event import Event
from xcapscript.layout import EVENT, Value
from xcapscript.printf_format import Piece, conversions, parse_format, render_format
from xcapscript.sinks.values import ValueText
from xcapscript.types import StackType, Type
from xcapscript.unit import EventSpec

INDENT = "    "


def payload(event: Event) -> Iterator[tuple[Type, Value]]:
    """The values that the statement sent, with their types."""
    own = slice(len(EVENT.fields), None)
    for field, value in zip(event.spec.layout.fields[own], event.values[own], strict=True):
        yield field.type, value


def indented(values: ValueText, kind: Type, value: Value) -> str:
    """A stack, a line for each of its frames."""
    return "".join(f"{INDENT}{frame}\n" for frame in values.text(kind, value).splitlines())


class Formatter:
    """Renders PRINTF events; each format is parsed once."""

    def __init__(self, values: ValueText) -> None:
        self._values = values
        self._formats: dict[int, tuple[Piece, ...]] = {}

    def text(self, event: Event) -> str:
        pieces = self._format(event.spec)
        values = [
            value if isinstance(value, int) and conversion.letter != "s" else self._string(kind, value)
            for conversion, (kind, value) in zip(conversions(pieces), payload(event), strict=True)
        ]
        return render_format(pieces, values)

    def _string(self, kind: Type, value: Value) -> str:
        if isinstance(kind, StackType):
            return f"\n{indented(self._values, kind, value)}"
        return self._values.text(kind, value)

    def _format(self, spec: EventSpec) -> tuple[Piece, ...]:
        if spec.id not in self._formats:
            self._formats[spec.id] = parse_format(spec.format or "")
        return self._formats[spec.id]
