"""A terminal, as far as the tests need one: what is to be seen after text was written to it."""

from __future__ import annotations

import re

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Screen:
    """Lines of `columns` characters; a line that is longer goes on in the next one."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._lines = [""]
        self._at = 0
        self.widest = 0
        """Characters of the longest line that was ever there, before it was wrapped."""

    def write(self, text: str) -> None:
        for char in _COLOUR.sub("", text):
            if char == "\r":
                self._at = 0
            elif char == "\n":
                self._lines.append("")
                self._at = 0
            else:
                assert char.isprintable(), repr(char)
                self._put(char)

    def lines(self) -> list[str]:
        """What is to be seen, without blanks at the end of a line."""
        return [line.rstrip() for line in self._lines]

    def _put(self, char: str) -> None:
        if self._at == self._columns:
            self._lines.append("")
            self._at = 0
        line = self._lines[-1].ljust(self._at)
        self._lines[-1] = f"{line[: self._at]}{char}{line[self._at + 1 :]}"
        self._at += 1
        self.widest = max(self.widest, self._at)
