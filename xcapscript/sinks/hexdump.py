"""A packet's bytes in hex and ASCII, in the columns of tcpdump -XX."""

from __future__ import annotations

from collections.abc import Iterator

_ROW = 16
_HEX_WIDTH = 40


def hex_lines(data: bytes) -> Iterator[str]:
    """A line for each 16 bytes."""
    for at in range(0, len(data), _ROW):
        row = data[at : at + _ROW]
        pairs = "".join(f" {row[start : start + 2].hex()}" for start in range(0, len(row), 2))
        yield f"\t0x{at:04x}: {pairs:<{_HEX_WIDTH}}  {''.join(map(_character, row))}"


def _character(code: int) -> str:
    return chr(code) if 0x21 <= code <= 0x7E else "."
