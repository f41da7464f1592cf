"""printf formats: parsed once, checked against types by the compiler, and filled in by the printer.

As in C: `%[-0+ #][width][.precision][hh|h|l|ll|z]` and one of `d i u x X p s c`, or `%%`. Numbers are of 64 bits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from xcapscript.types import EnumType, IntType, MacType, PointerType, SymbolType, Type

MAX_WIDTH = 4096
"""A width or precision beyond this is taken for a mistake."""

_PIECE = re.compile(
    r"(?P<literal>[^%]+)|"
    r"%(?P<flags>[-0+ #]*)(?P<width>[0-9]{0,9})(?:\.(?P<precision>[0-9]{0,9}))?(?:hh?|ll?|z)?(?P<letter>.?)",
    re.DOTALL,
)
_LETTERS = frozenset("diuxXpsc")
_PYTHON_LETTERS = {"i": "d", "u": "d", "p": "x", "c": "s"}
_SIGNED = "di"
_MODULUS = 1 << 64


class FormatError(ValueError):
    """The format is wrong, from character `offset` on."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that is printed as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """A `%` and what belongs to it, characters [start, end) of the format; `python` is the same for Python's `%`."""

    letter: str
    python: str
    start: int
    end: int

    def takes(self, kind: Type) -> bool:
        """Whether it prints values of this type: `s` all of them, the others numbers."""
        return self.letter == "s" or isinstance(kind, IntType | EnumType | PointerType | SymbolType | MacType)


Piece = Literal | Conversion


def parse_format(text: str) -> tuple[Piece, ...]:
    """The pieces of a format, in order. Raises FormatError."""
    return tuple(_piece(match) for match in _PIECE.finditer(text))


def conversions(pieces: Sequence[Piece]) -> tuple[Conversion, ...]:
    """Those of the pieces that take a value, in order."""
    return tuple(piece for piece in pieces if isinstance(piece, Conversion))


def render_format(pieces: Sequence[Piece], values: Sequence[int | str]) -> str:
    """The text; `values` has one for each conversion: a str for `s`, an int for the others."""
    rest = iter(values)
    return "".join(piece.text if isinstance(piece, Literal) else _render(piece, next(rest)) for piece in pieces)


def _piece(match: re.Match[str]) -> Piece:
    if match["literal"]:
        return Literal(match["literal"])
    whole, letter = match[0], match["letter"]
    if whole == "%%":
        return Literal("%")
    if letter not in _LETTERS:
        problem = f"unknown conversion '{whole}'" if letter else f"'{whole}' lacks its conversion"
        raise FormatError(f"{problem}; a percent sign is written '%%'", match.start())
    if any(int(match[size] or 0) > MAX_WIDTH for size in ("width", "precision")):
        raise FormatError(f"'{whole}' is wider than {MAX_WIDTH} characters", match.start())
    flags = match["flags"] if letter in _SIGNED else match["flags"].replace("+", "").replace(" ", "")
    if letter == "p":
        flags += "#"
    precision = "" if match["precision"] is None or letter == "c" else f".{match['precision']}"
    python = f"%{flags}{match['width']}{precision}{_PYTHON_LETTERS.get(letter, letter)}"
    return Conversion(letter, python, match.start(), match.end())


def _render(conversion: Conversion, value: int | str) -> str:
    if isinstance(value, str):
        return conversion.python % value
    value %= _MODULUS
    if conversion.letter == "c":
        return conversion.python % _character(value % 256)
    if conversion.letter in _SIGNED and value >= _MODULUS // 2:
        value -= _MODULUS
    return conversion.python % value


def _character(code: int) -> str:
    """What came from a packet must not steer a terminal."""
    return chr(code) if 0x20 <= code < 0x7F else f"\\x{code:02x}"
