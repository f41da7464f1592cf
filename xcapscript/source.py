"""Script texts and places in them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Source:
    """One script: its name as the user knows it, and its whole text."""

    name: str
    text: str = field(repr=False)
    imported_at: Span | None = field(default=None, compare=False, repr=False)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both from 1; an offset past the end is the end."""
        starts = self._line_starts()
        line = bisect_right(starts, min(offset, len(self.text)))
        return line, min(offset, len(self.text)) - starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its end."""
        starts = self._line_starts()
        end = starts[number] - 1 if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].rstrip("\r")

    def _line_starts(self) -> list[int]:
        return [0, *(at + 1 for at, char in enumerate(self.text) if char == "\n")]

    def span(self, start: int, end: int) -> Span:
        """The half-open range of characters [start, end)."""
        return Span(self, start, end)


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of characters of a source."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        """Line of the first character, from 1."""
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        """Column of the first character, from 1."""
        return self.source.position(self.start)[1]

    @property
    def text(self) -> str:
        """The characters themselves."""
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """From the start of this span to the end of `other`, which lies in the same source."""
        return Span(self.source, self.start, other.end)
