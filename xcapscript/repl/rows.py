"""Lists of words and what they mean, as wide as the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap

INDENT = "    "
NARROW = 24
"""Columns that a meaning has beside its word at the least: else it stands below."""


def rows(pairs: Iterable[tuple[str, str]], width: int) -> str:
    """A word and its meaning a row, the meanings below each other."""
    listed = list(pairs)
    left = max(len(word) for word, _ in listed) + 2
    return "\n".join(line for word, meaning in listed for line in _row(word, meaning, left, width - 1))


def _row(word: str, meaning: str, left: int, width: int) -> Iterator[str]:
    if width - left >= NARROW:
        first, *rest = wrap(meaning, width - left) or [""]
        yield f"{word:<{left}}{first}".rstrip()
        yield from (f"{'':<{left}}{line}" for line in rest)
    else:
        yield word
        yield from (f"{INDENT}{line}" for line in wrap(meaning, max(NARROW, width - len(INDENT))))


def paragraph(text: str, width: int) -> str:
    """A sentence in lines of at most so many columns."""
    return "\n".join(wrap(text, width - 1))
