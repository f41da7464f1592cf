"""Script texts and places in them."""

from __future__ import annotations

import errno
import os
import re
import select
import stat
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial

LARGEST_SCRIPT = 1 << 20
"""Bytes: many times what anybody writes, and what is read of a file without an end."""

PIPE_SECONDS = 1.0
"""How long a named pipe may be without a writer before it is told that we wait."""


@dataclass(frozen=True, slots=True)
class Source:
    """One script: its name as the user knows it, and its whole text."""

    name: str
    text: str = field(repr=False)
    imported_at: Span | None = field(default=None, compare=False, repr=False)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both from 1; an offset past the end is the end."""
        starts = _line_starts(self.text)
        line = bisect_right(starts, min(offset, len(self.text)))
        return line, min(offset, len(self.text)) - starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its end."""
        starts = _line_starts(self.text)
        end = starts[number] - 1 if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].rstrip("\r")

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


@lru_cache(maxsize=64)
def _line_starts(text: str) -> tuple[int, ...]:
    """The offsets at which lines begin; every statement's C asks for its line."""
    return (0, *(match.end() for match in re.finditer("\n", text)))


def read_script(path: str | os.PathLike[str], encoding: str = "utf-8", waits: Callable[[], None] = lambda: None) -> str:
    """The text of a script's file. OSError if it cannot be read, or is larger than a script may be.

    `waits` is called when the file is a named pipe that nobody has written to: signals end the waiting.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            _wait_for_writer(descriptor, waits)
        os.set_blocking(descriptor, True)
        data = _read_at_most(partial(os.read, descriptor), LARGEST_SCRIPT + 1)
    finally:
        os.close(descriptor)
    check_size(len(data))
    return data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def check_size(size: int) -> None:
    """OSError for more bytes than a script may have."""
    if size > LARGEST_SCRIPT:
        raise OSError(errno.EFBIG, f"it is larger than {LARGEST_SCRIPT:,} bytes")


def _read_at_most(read: Callable[[int], bytes], size: int) -> bytes:
    """A pipe gives what it has, which may be less than is wanted."""
    pieces, left = [], size
    while left and (piece := read(min(left, 1 << 16))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _wait_for_writer(descriptor: int, waits: Callable[[], None]) -> None:
    """A named pipe that was never opened to write says nothing; one whose writer has gone hangs up."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if not poll.poll(PIPE_SECONDS * 1000):
        waits()
        poll.poll()
