r"""Quotes in attach points: `uprobe:"/opt/my app/bin":main`. What they hold stands for itself: it may have blanks and
colons, its '*' is no wildcard, and its '$' no parameter. `\"` and `\\` are a quote and a backslash, `\xNN` is a byte.
"""

from __future__ import annotations

import glob
import re

STRING = r'"(?:\\.|[^"\\\n])*"'
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "e": "\x1b", '"': '"', "\\": "\\"}
"""What stands behind a backslash, in every string."""

_PIECE = re.compile(rf"{STRING}|.", re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_PLAIN = re.compile(r"[\w.+%=~^&!#'<>-]+")
_PLAIN_PATH = re.compile(r"[\w.+@%=~^&!#'<>/-]+")
_WILDCARDS = frozenset("*?[")


def pieces(text: str) -> list[str]:
    """Its characters one by one, and each quoted string with its quotes as one piece."""
    return _PIECE.findall(text)


def partition(text: str, separator: str) -> tuple[str, str, str]:
    """As str.partition(): a separator within quotes parts nothing."""
    found = pieces(text)
    at = found.index(separator) if separator in found else len(found)
    return "".join(found[:at]), "".join(found[at : at + 1]), "".join(found[at + 1 :])


def split(text: str, separator: str, most: int = -1) -> list[str]:
    """As str.rsplit(): the separators within quotes part nothing."""
    parts = [""]
    for piece in reversed(pieces(text)):
        if piece == separator and len(parts) != most + 1:
            parts.append("")
        else:
            parts[-1] = piece + parts[-1]
    return parts[::-1]


def unquoted(text: str) -> str:
    """What a text with quoted parts stands for. Bytes that are no UTF-8 become what os.fsdecode() makes of them."""
    return "".join(_content(piece) if _is_quoted(piece) else piece for piece in pieces(text))


def begun(text: str) -> str:
    """As `unquoted`, of a text that is still being typed, whose last quotes may be open."""
    return unquoted(text + '"' if '"' in pieces(text) else text)


def has_wildcard(text: str) -> bool:
    """Whether it stands for all that matches, by a '*', '?' or '[' outside of quotes."""
    return not _WILDCARDS.isdisjoint(pieces(text))


def pattern(text: str) -> str:
    """What fnmatch takes for it: what is quoted matches itself alone."""
    return "".join(glob.escape(_content(piece)) if _is_quoted(piece) else piece for piece in pieces(text))


def quoted(text: str, *, path: bool = False) -> str:
    """As it can be typed in an attach point: in quotes, unless it can do without; a `path` may have slashes."""
    if (_PLAIN_PATH if path else _PLAIN).fullmatch(text) and text.isprintable():
        return text
    return '"' + "".join(map(_typed, text)) + '"'


def _is_quoted(piece: str) -> bool:
    return len(piece) > 1


def _content(piece: str) -> str:
    data = piece[1:-1].encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(_meant, data).decode("utf-8", "surrogateescape")


def _meant(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode()) if match[1] else ESCAPES.get(chr(match[2][0]), "").encode()


def _typed(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
