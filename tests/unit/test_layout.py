"""Layouts against ctypes, which lays structs out as C does, and against a C compiler where there is one."""

from __future__ import annotations

import ctypes
import random
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from xcapscript.layout import EVENT, PACKET, Layout, alignment_of, lay_out, size_of
from xcapscript.types import (
    FRAME_SIZE,
    IFNAME,
    S32,
    S64,
    STACK_SLACK,
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

COMPILER = shutil.which("cc")

REASON = EnumType("skb_drop_reason", ((2, "NOT_SPECIFIED"),))
TYPES: dict[Type, tuple[Any, str]] = {
    U8: (ctypes.c_uint8, "uint8_t {}"),
    U16: (ctypes.c_uint16, "uint16_t {}"),
    U32: (ctypes.c_uint32, "uint32_t {}"),
    U64: (ctypes.c_uint64, "uint64_t {}"),
    IntType(8, signed=True): (ctypes.c_int8, "int8_t {}"),
    IntType(16, signed=True): (ctypes.c_int16, "int16_t {}"),
    S32: (ctypes.c_int32, "int32_t {}"),
    S64: (ctypes.c_int64, "int64_t {}"),
    TASK_COMM: (ctypes.c_char * 16, "char {}[16]"),
    StringType(5): (ctypes.c_char * 5, "char {}[5]"),
    REASON: (ctypes.c_uint32, "enum {{ X_{0} }} {0}"),
    InternedType(): (ctypes.c_uint32, "uint32_t {}"),
    PointerType("struct sk_buff"): (ctypes.c_uint64, "void *{}"),
    StackType(3): (ctypes.c_uint64 * (3 + STACK_SLACK), f"uint64_t {{}}[{3 + STACK_SLACK}]"),
}
"""Each type as ctypes and as C have it."""

OPAQUE = OpaqueType("struct sockaddr")


def random_layouts() -> list[Layout]:
    rng = random.Random(1)
    kinds = list(TYPES)
    return [
        lay_out(f"random_{number}", [(f"m{i}", rng.choice(kinds)) for i in range(rng.randrange(1, 12))])
        for number in range(40)
    ]


LAYOUTS = [EVENT, PACKET, *random_layouts()]
by_name = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)


def as_ctypes(layout: Layout) -> type[ctypes.Structure]:
    fields = [(field.name, TYPES[field.type][0]) for field in layout.fields]
    return type("Struct", (ctypes.Structure,), {"_fields_": fields})


def padded(size: int) -> int:
    """Sizes are multiples of 8: a record's packet and a map's next value are aligned so."""
    return (size + 7) // 8 * 8


@by_name
def test_members_are_where_ctypes_has_them(layout: Layout) -> None:
    oracle = as_ctypes(layout)
    assert [(f.name, f.offset) for f in layout.fields] == [
        (f.name, getattr(oracle, f.name).offset) for f in layout.fields
    ]
    assert layout.size == padded(ctypes.sizeof(oracle))


@pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed")
def test_members_are_where_a_c_compiler_has_them(tmp_path: Path) -> None:
    for layout, (*offsets, size) in zip(LAYOUTS, offsets_by_cc(LAYOUTS, tmp_path), strict=True):
        assert [field.offset for field in layout.fields] == offsets, layout
        assert layout.size == padded(size), layout


def offsets_by_cc(layouts: Sequence[Layout], directory: Path) -> list[list[int]]:
    """The members' offsets and the size of each struct, written as a person would write it."""
    lines = ["#include <stddef.h>", "#include <stdint.h>", "#include <stdio.h>"]
    prints = []
    for layout in layouts:
        names = [f"{layout.name}_{field.name}" for field in layout.fields]
        members = [f"{TYPES[field.type][1].format(name)};" for field, name in zip(layout.fields, names, strict=True)]
        lines.append(f"struct plain_{layout.name} {{ {' '.join(members)} }};")
        prints += [f'printf("%zu ", offsetof(struct plain_{layout.name}, {name}));' for name in names]
        prints.append(f'printf("%zu\\n", sizeof(struct plain_{layout.name}));')
    source = directory / "offsets.c"
    source.write_text("\n".join([*lines, "int main(void) {", *prints, "}"]))
    subprocess.run([str(COMPILER), "-o", source.with_suffix(""), source], check=True)
    done = subprocess.run([source.with_suffix("")], check=True, capture_output=True, text=True)
    return [[int(number) for number in line.split()] for line in done.stdout.splitlines()]


@by_name
def test_what_ctypes_writes_is_read(layout: Layout) -> None:
    rng = random.Random(layout.name)
    record = as_ctypes(layout)()
    expected: list[object] = []
    for field in layout.fields:
        value, read = random_value(field.type, rng)
        if isinstance(field.type, StackType):
            getattr(record, field.name)[:] = value
        else:
            setattr(record, field.name, value)
        expected.append(read)
    data = bytes(record) + bytes(8) + b"what follows"
    assert layout.decode(data) == tuple(expected)
    assert layout.decode(memoryview(data)) == tuple(expected)


def random_value(kind: Type, rng: random.Random) -> tuple[Any, object]:
    """A value for ctypes, and what is to be read of it."""
    match kind:
        case IntType(bits, signed):
            low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
            number = rng.choice([low, high, rng.randint(low, high)])
            return number, number
        case StringType(size):
            text = bytes(rng.choices(range(1, 256), k=rng.randrange(size + 1)))
            return text, text
        case StackType(depth):
            frames = [rng.randrange(1, 2**64) for _ in range(rng.randrange(depth + STACK_SLACK + 1))]
            return frames + [0] * (depth + STACK_SLACK - len(frames)), tuple(frames)
        case _:
            number = rng.randrange(256 ** size_of(kind))
            return number, number


def test_a_string_ends_at_its_first_nul_whatever_follows() -> None:
    layout = lay_out("x", [("comm", TASK_COMM)])
    assert layout.decode(b"ping\0stale\0bytes") == (b"ping",)
    assert layout.decode(b"\0" * 16) == (b"",)
    assert layout.decode(b"sixteen bytes ok") == (b"sixteen bytes ok",)


def test_a_stack_ends_at_its_first_zero() -> None:
    layout = lay_out("x", [("stack", StackType(2))])
    frames = (2**64 - 1, 7, 0, 9, 0, 0)
    assert layout.decode(struct.pack("=6Q", *frames)) == ((2**64 - 1, 7),)


def test_a_layout_without_members_reads_nothing() -> None:
    assert lay_out("empty", []).decode(b"12345678") == ()


def test_a_packet_begins_as_every_event_does() -> None:
    assert PACKET.fields[: len(EVENT.fields)] == EVENT.fields


def test_a_packets_bytes_follow_its_description_without_a_gap() -> None:
    last = PACKET.fields[-1]
    assert PACKET.size == last.offset + size_of(last.type)


def test_a_field_is_found_by_its_name() -> None:
    assert PACKET.field("ifname").type == IFNAME
    with pytest.raises(KeyError):
        PACKET.field("nothing")


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_sizes_are_those_of_ctypes(kind: Type) -> None:
    assert size_of(kind) == ctypes.sizeof(TYPES[kind][0])
    assert alignment_of(kind) == ctypes.alignment(TYPES[kind][0])


def test_a_stack_has_room_for_the_frames_that_are_taken_off() -> None:
    assert size_of(StackType(127)) == (127 + STACK_SLACK) * FRAME_SIZE


def test_what_the_language_cannot_hold_has_no_place() -> None:
    with pytest.raises(ValueError, match="struct sockaddr has no place"):
        lay_out("x", [("address", OPAQUE)])
