"""What a user wrote, in C: a C compiler must give it back."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from xcapscript.codegen.literals import c_comment, c_identifier, c_int, c_string

COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed")

NASTY = [
    "",
    '"',
    "\\",
    "a\\",
    "*/",
    "/*",
    "/*/",
    "*//*",
    "**//",
    "//",
    "// \\",
    "??/",
    "??=",
    "???/",
    "a??/\nb",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "\0" + "7",
    "\x1b[0m",
    "%s%n",
    "${TITLE}",
    '\\"',
    "\\\n",
    "#include <x>",
    "\u2028",
    "żółć 漢 \U0001f600",
    "\x7f\x80\xff",
    "\udc80\udcff",
    "';*/int main;/*",
]


def random_texts() -> list[str]:
    rng = random.Random(1)
    return ["".join(rng.choices('ab01?/*\\"\n\r\0#%= \x80ż', k=rng.randrange(1, 12))) for _ in range(300)]


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def run_c(directory: Path, text: str) -> bytes:
    """What a C program prints; trigraphs are on, and every warning is an error."""
    source = directory / "x.c"
    source.write_text(text, encoding="utf-8")
    flags = ["-std=c99", "-Wall", "-Wcomment", "-Wtrigraphs", "-Werror"]
    subprocess.run([str(COMPILER), *flags, "-o", directory / "x", source], check=True)
    return subprocess.run([directory / "x"], check=True, capture_output=True).stdout


def contents_in_c(directory: Path, texts: Sequence[str]) -> list[bytes]:
    """The bytes of the string constants for the texts, as a compiled program has them."""
    lines = [f"static const char s{number}[] = {c_string(text)};" for number, text in enumerate(texts)]
    prints = [
        f'printf("%zu ", sizeof(s{number}) - 1); fwrite(s{number}, 1, sizeof(s{number}) - 1, stdout);'
        for number in range(len(texts))
    ]
    out = run_c(directory, "\n".join(["#include <stdio.h>", *lines, "int main(void) {", *prints, "return 0; }"]))
    found = []
    while out:
        size, _, rest = out.partition(b" ")
        found.append(rest[: int(size)])
        out = rest[int(size) :]
    return found


@needs_compiler
def test_every_byte_is_the_same_in_c_whatever_digit_follows(tmp_path: Path) -> None:
    texts = [
        bytes([byte, following]).decode("utf-8", "surrogateescape")
        for byte in range(256)
        for following in b'0789aAfF?"'
    ]
    assert contents_in_c(tmp_path, texts) == [as_bytes(text) for text in texts]


@needs_compiler
def test_texts_that_look_like_c_are_the_same_in_c(tmp_path: Path) -> None:
    texts = [*NASTY, *random_texts()]
    assert contents_in_c(tmp_path, texts) == [as_bytes(text) for text in texts]


@pytest.mark.parametrize("text", [*NASTY, *random_texts()[:50]])
def test_a_string_constant_is_one_line_of_plain_characters(text: str) -> None:
    written = c_string(text)
    assert re.fullmatch(r'"([ -~])*"', written)
    assert "??" not in written


@needs_compiler
def test_a_file_name_in_a_line_directive_is_the_name_of_the_file(tmp_path: Path) -> None:
    # gcc itself trips over what ends a line in __FILE__
    names = [name for name in NASTY if name and not set("\0\n\r") & set(name)]
    pieces = [f"#line 7 {c_string(name)}\nfwrite(__FILE__, 1, sizeof(__FILE__), stdout);" for name in names]
    out = run_c(tmp_path, "\n".join(["#include <stdio.h>", "int main(void) {", *pieces, "return 0; }"]))
    assert out == b"".join(as_bytes(name) + b"\0" for name in names)


@needs_compiler
def test_nothing_in_a_comment_ends_it(tmp_path: Path) -> None:
    texts = [*NASTY, *random_texts(), *map(chr, range(256))]
    lines = [f'/* {c_comment(text)} */ fputs("{number} ", stdout);' for number, text in enumerate(texts)]
    out = run_c(tmp_path, "\n".join(["#include <stdio.h>", "int main(void) {", *lines, "return 0; }"]))
    assert out.split() == [str(number).encode() for number in range(len(texts))]


@pytest.mark.parametrize("text", NASTY)
def test_a_comment_is_one_line_of_plain_characters(text: str) -> None:
    assert re.fullmatch(r"[ -~]*", c_comment(text))


def test_a_plain_comment_can_be_read() -> None:
    text = "drop in drops.xcap, line 5: net 10.0.0.0/8 and tcp[13] & 2 != 0"
    assert c_comment(text) == text


INTEGERS = [0, 1, 7, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]


@needs_compiler
def test_integers_are_the_same_in_c(tmp_path: Path) -> None:
    values = [*INTEGERS, *(-value for value in INTEGERS if value <= 2**63)]
    prints = [
        f'printf("%llu ", (unsigned long long){c_int(v)}); printf("%lld ", (long long){c_int(v)});' for v in values
    ]
    out = run_c(tmp_path, "\n".join(["#include <stdio.h>", "int main(void) {", *prints, "return 0; }"]))
    expected = [number for value in values for number in (value % 2**64, (value + 2**63) % 2**64 - 2**63)]
    assert [int(number) for number in out.split()] == expected


@needs_compiler
def test_an_integer_is_one_operand_of_any_operator(tmp_path: Path) -> None:
    values = [5, -5, -(2**62)]
    prints = [f'printf("%lld ", (long long)-{c_int(v)}); printf("%lld ", (long long)(1-{c_int(v)}));' for v in values]
    out = run_c(tmp_path, "\n".join(["#include <stdio.h>", "int main(void) {", *prints, "return 0; }"]))
    wrapped = [(n + 2**63) % 2**64 - 2**63 for v in values for n in (-v, 1 - v)]
    assert [int(number) for number in out.split()] == wrapped


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**30])
def test_an_integer_that_does_not_fit_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="does not fit in 64 bits"):
        c_int(value)


@pytest.mark.parametrize("name", ["x", "_", "xcap_probe_0", "A1"])
def test_an_identifier_is_taken_as_it_is(name: str) -> None:
    assert c_identifier(name) == name


@pytest.mark.parametrize("name", ["", "1a", "a b", "a;", "a\n", "a-b", "ż", "a\0", "a.b", "٣"])
def test_what_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a C identifier"):
        c_identifier(name)
