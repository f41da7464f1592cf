"""The C function around a program's body, and how it reaches the hook's arguments."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from xcapscript.codegen.shell import TEMPLATES, argument, function_text
from xcapscript.resources import bpf_directory
from xcapscript.unit import TC_ACT_UNSPEC, XDP_PASS, HookKind

COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed")

TYPEDEFS = """\
#include <stdint.h>
#include <stdio.h>
typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64;
typedef int8_t s8; typedef int16_t s16; typedef int32_t s32; typedef int64_t s64;
struct bpf_raw_tracepoint_args { u64 args[12]; };
struct pt_regs { u64 di; };
"""

RAW = HookKind.RAWTRACEPOINT
ANSWERS = {HookKind.XDP: XDP_PASS, HookKind.TC: TC_ACT_UNSPEC}
RECORD = bytes(range(0x78, 0xB8))
"""A tracepoint's record, or the arguments of a raw one: the top bits of some of its numbers are set."""


def run_c(directory: Path, text: str) -> str:
    (directory / "x.c").write_text(TYPEDEFS + text)
    subprocess.run([str(COMPILER), "-Wall", "-Werror", "-o", directory / "x", directory / "x.c"], check=True)
    return subprocess.run([directory / "x"], check=True, capture_output=True, text=True).stdout


def test_every_kind_of_hook_has_its_function() -> None:
    assert set(TEMPLATES) == set(HookKind)


def test_every_file_of_the_probes_is_used() -> None:
    assert {path.name for path in (bpf_directory() / "probes").iterdir()} == set(TEMPLATES.values())


@needs_compiler
@pytest.mark.parametrize("kind", HookKind)
def test_the_function_runs_its_body_and_lets_the_packet_pass(kind: HookKind, tmp_path: Path) -> None:
    text = function_text(kind, "drop in x.xcap, line 1", "xcap_probe_3", '\tprintf("%d ", ctx != 0);')
    call = 'int main(void) { u64 a[12] = {0}; printf("%d\\n", xcap_probe_3((void *)a)); return 0; }'
    assert run_c(tmp_path, f"{text}\n{call}") == f"1 {ANSWERS.get(kind, 0)}\n"


@needs_compiler
@pytest.mark.parametrize("title", ["*/ #error out", "a\nb", "/* x", "\\", "${BODY}", "$FUNCTION", "$", "żółć"])
def test_no_title_gets_out_of_its_comment(title: str, tmp_path: Path) -> None:
    text = function_text(RAW, title, "f", "\tif (!ctx)\n\t\treturn 9;")
    call = 'int main(void) { struct bpf_raw_tracepoint_args a = {{0}}; printf("%d\\n", f(&a)); return 0; }'
    assert run_c(tmp_path, f"{text}\n{call}") == "0\n"


@pytest.mark.parametrize("body", ["\t/* $TITLE ${FUNCTION} $$ */", "\t${nonsense}"])
def test_dollar_signs_in_the_body_stay(body: str) -> None:
    assert body in function_text(RAW, "title", "f", body)


@pytest.mark.parametrize("name", ["", "1f", "f(void) { } int g", "ż"])
def test_a_function_has_an_identifier_for_its_name(name: str) -> None:
    with pytest.raises(ValueError, match="is not a C identifier"):
        function_text(RAW, "title", name, "")


@needs_compiler
@pytest.mark.parametrize(
    ("ctype", "code"),
    [("u8", "B"), ("u16", "H"), ("u32", "I"), ("u64", "Q"), ("s8", "b"), ("s16", "h"), ("s32", "i"), ("s64", "q")],
)
def test_arguments_are_what_is_there(ctype: str, code: str, tmp_path: Path) -> None:
    size = struct.calcsize(code)
    fields = range(0, len(RECORD), size)
    slots = range(len(RECORD) // 8)
    lines = [
        f"static const u8 record[] __attribute__((aligned(8))) = {{{', '.join(map(str, RECORD))}}};",
        "int main(void) {",
        "\tconst struct bpf_raw_tracepoint_args *ctx = (const void *)record;",
        *(f'\tprintf("%lld ", (long long){argument(HookKind.TRACEPOINT, at, ctype)});' for at in fields),
        *(f'\tprintf("%lld ", (long long){argument(RAW, slot, ctype)});' for slot in slots),
        "\treturn 0;\n}",
    ]
    read = [struct.unpack_from(f"={code}", RECORD, at)[0] for at in fields]
    # a raw tracepoint's argument is the low part of a word
    words = struct.unpack(f"={len(slots)}Q", RECORD)
    cut = [
        int.from_bytes((word % 256**size).to_bytes(size, "little"), "little", signed=code.islower()) for word in words
    ]
    found = [int(number) for number in run_c(tmp_path, "\n".join(lines)).split()]
    assert [number % 2**64 for number in found] == [number % 2**64 for number in (*read, *cut)]
