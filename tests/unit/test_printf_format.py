import ctypes

import pytest

from xcapscript.printf_format import Conversion, FormatError, Literal, conversions, parse_format, render_format
from xcapscript.types import (
    S32,
    TASK_COMM,
    U64,
    EnumType,
    InternedType,
    OpaqueType,
    PointerType,
    StackType,
)


def render(text: str, *values: int | str) -> str:
    return render_format(parse_format(text), values)


def c_printf(text: str, value: int) -> str:
    """What the C library makes of it."""
    buffer = ctypes.create_string_buffer(5000)
    ctypes.CDLL(None).snprintf(buffer, len(buffer), text.encode(), ctypes.c_uint64(value % (1 << 64)))
    return buffer.value.decode()


@pytest.mark.parametrize("value", [0, 5, -5, 255, 1 << 40, (1 << 64) - 1, 1 << 63])
@pytest.mark.parametrize(
    "flags", ["", "-", "0", "+", " ", "-+", "0+", "05", "12", "-12", "012", "+12", ".3", "12.3", "-+12"]
)
@pytest.mark.parametrize("letter", "diuxX")
def test_numbers_are_printed_as_in_c(letter: str, flags: str, value: int) -> None:
    assert render(f"<%{flags}{letter}>", value) == c_printf(f"<%{flags}ll{letter}>", value)


@pytest.mark.parametrize("text", ["%#x", "%#X", "%#10x", "%#010x", "%-#10x|", "%p", "%20p", "%-20p|"])
def test_prefixes_are_printed_as_in_c(text: str) -> None:
    assert render(text, 0xFFFF_8881_0000_1234) == c_printf(
        text.replace("x", "llx").replace("X", "llX"), 0xFFFF_8881_0000_1234
    )


def test_strings_and_characters() -> None:
    assert render("[%s|%8s|%-8s|%.2s]", "ping", "ping", "ping", "ping") == "[ping|    ping|ping    |pi]"
    assert render("%c%3c", 65, 66 + 256) == "A  B"
    assert render("%c%c", 0x1B, 0xE9) == "\\x1b\\xe9"


def test_literal_text_is_printed_as_it_is() -> None:
    assert render("100 %%\n\ttab é %d\x1b[0m %%d", 3) == "100 %\n\ttab é 3\x1b[0m %d"
    assert render("") == ""


@pytest.mark.parametrize("length", ["hh", "h", "l", "ll", "z"])
def test_lengths_are_accepted(length: str) -> None:
    assert render(f"%{length}d %-4{length}u|", -1, 3) == "-1 3   |"


def test_pieces_know_their_places() -> None:
    pieces = parse_format("pid %-5lld of %s")
    assert [piece.text for piece in pieces if isinstance(piece, Literal)] == ["pid ", " of "]
    assert [(c.letter, c.start, c.end) for c in conversions(pieces)] == [("d", 4, 10), ("s", 14, 16)]


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("a %y", "unknown conversion '%y'", 2),
        ("%d %", "'%' lacks its conversion", 3),
        ("%ll", "'%ll' lacks its conversion", 0),
        ("%*d", "unknown conversion '%*'", 0),
        ("%5%", "unknown conversion '%5%'", 0),
        ("%f", "unknown conversion '%f'", 0),
        ("%\n", "unknown conversion '%\n'", 0),
        ("x%99999d", "'%99999d' is wider than 4096 characters", 1),
        ("x%.99999s", "'%.99999s' is wider than 4096 characters", 1),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, message: str, offset: int) -> None:
    with pytest.raises(ValueError, match=r"conversion|wider") as caught:
        parse_format(text)
    assert isinstance(caught.value, FormatError)
    assert caught.value.message.startswith(message)
    assert caught.value.offset == offset


def test_which_types_a_conversion_takes() -> None:
    numbers, texts = (U64, S32, PointerType("void")), (TASK_COMM, InternedType(), StackType(3))
    for text in ("%d", "%i", "%u", "%x", "%X", "%p", "%c"):
        (conversion,) = conversions(parse_format(text))
        assert all(conversion.takes(kind) for kind in (*numbers, EnumType("e", ())))
        assert not any(conversion.takes(kind) for kind in (*texts, OpaqueType("struct x")))
    string = Conversion("s", "%s", 0, 2)
    assert all(string.takes(kind) for kind in (*texts, *numbers, EnumType("e", ())))
