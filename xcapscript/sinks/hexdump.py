"""A packet's bytes in hex and ASCII, in the columns of tcpdump -XX."""

from __future__ import annotations

from collections.abc import Iterator

_ROWS = (16, 8, 4)
_MARGIN = 8
"""Columns of the tab."""


def hex_lines(data: bytes, width: int) -> Iterator[str]:
    """A line for each 16 bytes, or for fewer where a terminal of `width` columns would wrap it."""
    size = next((size for size in _ROWS if _columns(size) <= width), _ROWS[-1])
    for at in range(0, len(data), size):
        row = data[at : at + size]
        pairs = "".join(f" {row[start : start + 2].hex()}" for start in range(0, len(row), 2))
        yield f"\t0x{at:04x}: {pairs:<{_pairs(size)}}  {''.join(map(_character, row))}"


def _columns(size: int) -> int:
    return _MARGIN + len("0x0000: ") + _pairs(size) + 2 + size


def _pairs(size: int) -> int:
    return size // 2 * len(" 0000")


def _character(code: int) -> str:
    return chr(code) if 0x21 <= code <= 0x7E else "."
