"""The status line of --progress: rewritten in place on a terminal, and gone before anything else is written there."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TextIO

from xcapscript.numbers import scaled, short

BETWEEN = 0.5
"""Seconds between two looks."""

USUAL_WIDTH = 80
_ECHO = len("^C")


@dataclass(frozen=True, slots=True)
class SoFar:
    """What a run has done: how many of what, events that were lost, and bytes in its files, if there are any."""

    number: int
    unit: str
    lost: int
    size: int | None


class Progress:
    """A status line on `stream`, which is a terminal."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._due = 0.0
        self._before: tuple[float, int] | None = None
        self._length = 0
        self._torn = False

    def tick(self, look: Callable[[], SoFar]) -> None:
        """Draw anew, if it is time to."""
        now = self._clock()
        if now < self._due or self._torn:
            return
        self._due = now + BETWEEN
        found = look()
        rate = 0
        if self._before is not None and now > self._before[0]:
            rate = max(0, round((found.number - self._before[1]) / (now - self._before[0])))
        self._before = now, found.number
        # a line that fills the last column makes some terminals go to the next
        room = _columns(self._stream) - 1
        text = next((line for line in _wordings(found, rate) if len(line) <= room), "")
        self._put(f"\r{text}{' ' * (min(self._length, room) - len(text))}")
        self._length = len(text)

    def make_way(self, text: str) -> None:
        """For text that is about to be written to the same terminal; a line that is there in part is left alone."""
        self.clear()
        self._torn = not text.endswith("\n")

    def clear(self) -> None:
        """Leave an empty line, with the cursor at its beginning."""
        if self._length:
            blank = min(self._length + _ECHO, _columns(self._stream) - 1)
            self._put(f"\r{' ' * blank}\r")
            self._length = 0

    def _put(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _wordings(found: SoFar, rate: int) -> tuple[str, ...]:
    """The same, ever shorter."""
    size = "" if found.size is None else f", {scaled(found.size, ' ')}B"
    number, pace, lost = short(found.number), short(rate), short(found.lost)
    return (
        f"{found.number:,} {found.unit}, {rate:,}/s, {found.lost:,} lost{size}",
        f"{number} {found.unit}, {pace}/s, {lost} lost{size}",
        f"{number} {found.unit}, {lost} lost",
        f"{number}, {lost} lost",
        number,
    )


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL_WIDTH
    except OSError:
        return USUAL_WIDTH
