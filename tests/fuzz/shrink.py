"""The least of a program that still fails: lines are left out, then tokens."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.fuzz.mutations import TOKEN


def shrunk(text: str, fails: Callable[[str], bool], seconds: float) -> str:
    """A text of which no piece can be left out; the best that was found when the time is over."""
    end = time.monotonic() + seconds
    while True:
        before = text
        for pieces in (text.splitlines(keepends=True), TOKEN.findall(text)):
            text = _without(pieces, fails, end) if "".join(pieces) == text else text
        text = _without(TOKEN.findall(text), fails, end)
        if text == before or time.monotonic() > end:
            return text


def _without(pieces: list[str], fails: Callable[[str], bool], end: float) -> str:
    size = max(1, len(pieces) // 2)
    while size:
        at = 0
        while at < len(pieces) and time.monotonic() < end:
            fewer = pieces[:at] + pieces[at + size :]
            if fails("".join(fewer)):
                pieces = fewer
            else:
                at += size
        size //= 2
    return "".join(pieces)
