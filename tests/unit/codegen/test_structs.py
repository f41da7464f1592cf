"""The structs that are written in C must have their members where the layouts say."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from xcapscript.codegen.maps import key_layout
from xcapscript.codegen.structs import ctype, members, struct_text
from xcapscript.layout import EVENT, PACKET, Layout, lay_out
from xcapscript.types import (
    S32,
    S64,
    TASK_COMM,
    U8,
    U16,
    U32,
    U64,
    EnumType,
    InternedType,
    IntType,
    OpaqueType,
    PointerType,
    StackType,
    StringType,
    Type,
)
from xcapscript.unit import Aggregation

COMPILER = shutil.which("cc")

REASON = EnumType("skb_drop_reason", ())
S8, S16 = IntType(8, signed=True), IntType(16, signed=True)
KINDS: list[Type] = [U8, U16, U32, U64, S8, S16, S32, S64, TASK_COMM, StringType(3), REASON, InternedType()]
KINDS += [PointerType("void"), StackType(1), StackType(5)]

TYPEDEFS = """\
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64;
typedef int8_t s8; typedef int16_t s16; typedef int32_t s32; typedef int64_t s64;
"""


def layouts() -> list[Layout]:
    rng = random.Random(2)
    found = [
        EVENT,
        PACKET,
        key_layout("no_key", (), Aggregation.COUNT),
        key_layout("bucket_only", (), Aggregation.HIST),
        key_layout("key_and_bucket", (U64, TASK_COMM), Aggregation.HIST),
    ]
    for number in range(60):
        kinds = rng.choices(KINDS, k=rng.randrange(1, 10))
        found.append(lay_out(f"random_{number}", [(f"m{index}", kind) for index, kind in enumerate(kinds)]))
    return found


LAYOUTS = layouts()
by_name = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)


@pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed")
def test_a_c_compiler_puts_the_members_where_the_layout_says(tmp_path: Path) -> None:
    lines = []
    for layout in LAYOUTS:
        lines += [f'printf("%zu ", offsetof(struct {layout.name}, {name}));' for name, _, _ in members(layout)]
        lines.append(f'printf("%zu\\n", sizeof(struct {layout.name}));')
    text = "\n".join([TYPEDEFS, *map(struct_text, LAYOUTS), "int main(void) {", *lines, "return 0; }"])
    (tmp_path / "x.c").write_text(text)
    command = [str(COMPILER), "-Wall", "-Wpadded", "-Werror", "-o", tmp_path / "x", tmp_path / "x.c"]
    subprocess.run(command, check=True)
    done = subprocess.run([tmp_path / "x"], check=True, capture_output=True, text=True)
    for layout, line in zip(LAYOUTS, done.stdout.splitlines(), strict=True):
        *offsets, size = map(int, line.split())
        named = {name: at for (name, _, _), at in zip(members(layout), offsets, strict=True)}
        assert {field.name: field.offset for field in layout.fields}.items() <= named.items(), layout
        assert size == layout.size, layout


@by_name
def test_members_and_gaps_fill_the_struct(layout: Layout) -> None:
    at = 0
    for _, offset, size in members(layout):
        assert offset in {at, -1}
        assert size > 0
        at += size
    assert at == layout.size


@by_name
def test_no_two_members_have_one_name(layout: Layout) -> None:
    names = [name for name, _, _ in members(layout)]
    assert len(set(names)) == len(names)


def test_a_map_without_keys_has_a_key_that_is_all_gap() -> None:
    assert members(key_layout("k", (), Aggregation.COUNT)) == [("gap_0", -1, 8)]


def test_the_gaps_of_a_struct_are_members() -> None:
    layout = lay_out("x", [("a", U8), ("b", U32), ("c", U8)])
    assert struct_text(layout) == "struct x {\n\tu8 a;\n\tu8 gap_1[3];\n\tu32 b;\n\tu8 c;\n\tu8 gap_9[7];\n};"


@pytest.mark.parametrize(
    ("kind", "text"),
    [(U8, "u8"), (S16, "s16"), (U64, "u64"), (REASON, "u32"), (InternedType(), "u32"), (PointerType("x"), "u64")],
    ids=str,
)
def test_numbers_have_the_kernels_names(kind: Type, text: str) -> None:
    assert ctype(kind) == text


@pytest.mark.parametrize("kind", [TASK_COMM, StackType(5), OpaqueType("struct sockaddr")], ids=str)
def test_what_is_no_number_has_no_c_type(kind: Type) -> None:
    with pytest.raises(ValueError, match="is not a number in C"):
        ctype(kind)


@pytest.mark.parametrize(("name", "member"), [("x; }", "a"), ("x", "a[0]; u8 b"), ("", "a"), ("x", "1a")])
def test_names_that_are_no_identifiers_are_refused(name: str, member: str) -> None:
    with pytest.raises(ValueError, match="is not a C identifier"):
        struct_text(lay_out(name, [(member, U8)]))
