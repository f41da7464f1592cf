"""Draws the lines of a terminal, with their colours, as SVG."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape

SIZE, CELL, LINE, MARGIN = 13, 7.83, 17, 16
"""Pixels: of a letter, its width in the usual fonts (0.602 of its size), a line's height, and the border."""

PAPER, INK, DIM, RED, GREEN, BLUE = "#16181d", "#d6d9df", "#7f8896", "#f2727f", "#8fce82", "#7fb4f0"
MAGENTA, CYAN = "#c792ea", "#6fc9c9"
COLOURS: Mapping[str, str] = {
    "0": INK,
    "": INK,
    "39": INK,
    "2": DIM,
    "90": DIM,
    "31": RED,
    "32": GREEN,
    "34": BLUE,
    "35": MAGENTA,
    "36": CYAN,
}
REVERSED, UPRIGHT = "7", frozenset({"0", "", "27"})
_PALETTE = re.compile(r"[34]8;(?:5;\d+|2;\d+;\d+;\d+);?")
"""Colours of the 256 or all: menus have them, and are drawn without."""

SEQUENCE = re.compile(r"\x1b\[([0-9;]*)m")

Cell = tuple[str, str, bool]
"""A character, its colour, and whether it stands in the colour of the paper on its colour."""


def cells(line: str, base: str = INK) -> list[Cell]:
    """The characters of a line with their colours."""
    colour, turned, found = base, False, list[Cell]()
    for index, piece in enumerate(SEQUENCE.split(line)):
        if index % 2:
            for code in _PALETTE.sub("", piece).split(";"):
                colour = base if code in ("0", "", "39") else COLOURS.get(code, colour)
                turned = code == REVERSED or (turned and code not in UPRIGHT)
        else:
            found += [(letter, colour, turned) for letter in piece.expandtabs()]
    return found


def _runs(row: Sequence[Cell]) -> Iterator[tuple[int, int]]:
    """From where to where all is of one colour."""
    at = 0
    while at < len(row):
        end = next((n for n in range(at, len(row)) if row[n][1:] != row[at][1:]), len(row))
        yield at, end
        at = end


def _drawn(row: Sequence[Cell], number: int) -> Iterator[str]:
    """A line of the picture: a piece of text for each run of one colour, at its own place."""
    for at, end in _runs(row):
        run = "".join(letter for letter, _, _ in row[at:end])
        _, colour, turned = row[at]
        x, y, width = MARGIN + at * CELL, MARGIN + (number + 0.8) * LINE, (end - at) * CELL
        if turned:
            top = MARGIN + number * LINE
            yield f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{LINE}" fill="{colour}"/>\n'
        if run.strip():
            fill = PAPER if turned else colour
            place = f'x="{x:.1f}" y="{y:.1f}" fill="{fill}" textLength="{width:.1f}"'
            yield f'<text {place} xml:space="preserve">{escape(run)}</text>\n'


def picture(rows: Sequence[Sequence[Cell]], columns: int, title: str) -> str:
    """The picture of a terminal that is so many columns wide."""
    width, height = 2 * MARGIN + columns * CELL, 2 * MARGIN + len(rows) * LINE
    fonts = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
        f'font-family="{fonts}" font-size="{SIZE}">\n<title>{escape(title)}</title>\n'
        f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>\n'
    )
    return head + "".join(piece for number, row in enumerate(rows) for piece in _drawn(row, number)) + "</svg>\n"
