"""The only way from a user's text into C: integers, strings, identifiers and comments."""

from __future__ import annotations

import re
import sys

WORD = 8

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def c_int(value: int) -> str:
    """A 64-bit integer constant; ValueError if it does not fit."""
    if 0 <= value < 2**64:
        return f"{value}ULL"
    if value == -(2**63):
        return "(-9223372036854775807LL - 1)"
    if -(2**63) < value < 0:
        return f"({value}LL)"
    raise ValueError(f"{value} does not fit in 64 bits")


def c_string(text: str) -> str:
    """A string constant; octal escapes, because a hexadecimal one would swallow the digits that follow."""
    return '"' + "".join(_c_char(byte) for byte in text.encode("utf-8", "surrogateescape")) + '"'


def _c_char(byte: int) -> str:
    char = chr(byte)
    # '?' too: two of them begin a trigraph.
    return char if char.isascii() and (char.isalnum() or char in " _-+.,:;=<>()[]{}@#$%&*/!~^|'") else f"\\{byte:03o}"


def c_identifier(name: str) -> str:
    """The name itself; ValueError if it is not one."""
    if not IDENTIFIER.fullmatch(name):
        raise ValueError(f"{name!r} is not a C identifier")
    return name


def c_comment(text: str) -> str:
    """Text that can stand inside a comment, on one line."""
    plain = "".join(c if c.isascii() and c.isprintable() and c != "\\" else "?" for c in text)
    return plain.replace("*/", "* /").replace("/*", "/ *")


def c_word(data: bytes) -> str:
    """Bytes in memory as a word of 64 bits, zeros behind them."""
    return c_int(int.from_bytes(data.ljust(WORD, b"\0"), sys.byteorder))


def c_ip(value: int) -> str:
    """A struct xcap_ip: its bytes lie in network order."""
    data = value.to_bytes(2 * WORD, "big")
    return f"((struct xcap_ip){{{{{c_word(data[:WORD])}, {c_word(data[WORD:])}}}}})"
