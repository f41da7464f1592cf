"""Kernel memory: numbers, bit-fields and strings at an address, and what becomes of what cannot be read."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest

from tests.values_in_c import KERNEL, Writer, needs_compiler
from tests.values_model import SLOT_TYPES, World, meant
from xcapscript.builtins import BUILTINS
from xcapscript.layout import lay_out, size_of
from xcapscript.nodes.expressions import ArgumentValue, Binary, BuiltinValue, CompareText, Expression, Load, Number
from xcapscript.nodes.hook import HookArgument
from xcapscript.types import IFNAME, S32, S64, TASK_COMM, U8, U16, U32, U64, IntType, StringType, Type
from xcapscript.unit import HookKind

MEMORY = random.Random(5).randbytes(96)
END = KERNEL + len(MEMORY)
BASE = Number(KERNEL, U64)
S8, S16 = IntType(8, signed=True), IntType(16, signed=True)


def loaded(values: Sequence[Expression], directory: Path, memory: bytes = MEMORY) -> list[tuple[int, int]]:
    """The values, and how many reads had failed by then."""
    writer = Writer()
    for value in values:
        writer.print(value)
        writer.print_c("counters->bad_reads")
    found = writer.numbers(directory, b"", memory)
    return list(zip(found[::2], found[1::2], strict=True))


def expected(values: Sequence[Expression], memory: bytes = MEMORY) -> list[tuple[int, int]]:
    world = World(memory)
    return [(meant(value, world), world.bad_reads) for value in values]


@needs_compiler
def test_numbers_of_every_type_at_every_offset(tmp_path: Path) -> None:
    values = [Load(BASE, offset, 0, 0, kind) for kind in SLOT_TYPES for offset in range(16)]
    values += [Load(Binary("+", BASE, Number(5, U64), U64), 3, 0, 0, kind) for kind in SLOT_TYPES]
    found = loaded(values, tmp_path)
    assert found == expected(values)
    assert found[-1][1] == 0


@needs_compiler
@pytest.mark.parametrize("kind", [U8, U16, U32, U64, S8, S16, S32, S64], ids=str)
def test_bit_fields_of_every_width_at_every_bit(kind: IntType, tmp_path: Path) -> None:
    rng = random.Random(kind.bits)
    values = [
        Load(BASE, rng.randrange(8), bit, width, kind)
        for bit, width in product(range(8), range(1, kind.bits + 1))
        if bit + width <= 64
    ]
    found = loaded(values, tmp_path)
    assert found == expected(values)
    assert found[-1][1] == 0


@needs_compiler
def test_bit_fields_whose_first_byte_is_further_on(tmp_path: Path) -> None:
    values = [Load(BASE, 3, bit, width, U64) for bit in range(64) for width in (1, 7, 8, 9, 31, 57)]
    found = loaded(values, tmp_path)
    assert found == expected(values)
    assert found[-1][1] == 0


@needs_compiler
def test_a_bit_field_is_read_from_no_more_bytes_than_it_may_have(tmp_path: Path) -> None:
    """At the end of what can be read: the field is in the last byte."""
    values = [Load(Number(END - 1, U64), 0, bit, 1, kind) for bit in range(8) for kind in (U8, U16, U32, U64)]
    assert loaded(values, tmp_path) == expected(values)
    assert expected(values)[-1][1] == 0


BAD = (0, 1, 8, 4095, KERNEL - 1, KERNEL - 8, END, END - 1, END - 3, 2**63, 2**64 - 1, 0xDEAD_0000_0000_0000)


@needs_compiler
def test_what_cannot_be_read_is_zero_and_is_counted(tmp_path: Path) -> None:
    values = [Load(Number(at, U64), 0, 0, 0, kind) for at in BAD for kind in SLOT_TYPES]
    values += [Load(Number(at, U64), 0, 3, 4, U32) for at in BAD]
    found = loaded(values, tmp_path)
    assert found == expected(values)
    assert [number for number, _ in found].count(0) >= len(found) - 20
    assert found[-1][1] >= len(values) - 20


@needs_compiler
def test_a_pointer_is_followed_through_a_bad_one(tmp_path: Path) -> None:
    """A chain that breaks is read on from 0, which cannot be read either: each link counts."""
    memory = KERNEL.to_bytes(8, "little") + (0).to_bytes(8, "little") + b"\x2a" + bytes(7)
    good = Load(Load(BASE, 0, 0, 0, U64), 16, 0, 0, U8)
    null = Load(Load(BASE, 8, 0, 0, U64), 16, 0, 0, U8)
    broken = Load(Load(Number(END, U64), 8, 0, 0, U64), 16, 0, 0, U8)
    assert loaded([good, null, broken], tmp_path, memory) == [(42, 0), (0, 1), (0, 3)]


def texts(string: bytes, room: int) -> list[bytes]:
    """What a string may be compared with: itself, shorter, longer and changed, as far as sema lets it by."""
    near = [string[:at] for at in range(len(string) + 1)] + [string + b"x", string + b"xxxxxxxx", b"", b"y" + string]
    near += [string[:-1] + bytes([string[-1] ^ 1])] if string else []
    near += [bytes([string[0] ^ 0x80]) + string[1:]] if string else []
    return sorted({text for text in near if len(text) < room and b"\0" not in text})


def compared(
    string: Expression, held: bytes, room: int, directory: Path, kind: HookKind, context: bytes, memory: bytes
) -> None:
    wanted = [(text, prefix) for text in texts(held, room) for prefix in (False, True)]
    writer = Writer(kind)
    for text, prefix in wanted:
        writer.print(CompareText(string, text, prefix, U8))
    found = writer.numbers(directory, context, memory)
    truths = [held.startswith(text) if prefix else held == text for text, prefix in wanted]
    assert [bool(number) for number in found] == truths


LENGTHS = (0, 1, 6, 7, 8, 9, 14, 15, 16, 17, 23, 24, 25, 31, 32, 33)


@needs_compiler
@pytest.mark.parametrize("length", LENGTHS)
def test_strings_of_memory_against_texts(length: int, tmp_path: Path) -> None:
    """In rooms that are larger, that are just large enough, and that the string would overflow."""
    string = bytes(b"abcdefgh\xff\x80ij"[at % 12] for at in range(length))
    for number, room in enumerate((length + 1, length + 2, length + 8, max(1, length), 64)):
        directory = tmp_path / str(number)
        directory.mkdir()
        held = string[: room - 1]  # the kernel's helper always leaves room for the NUL
        compared(
            Load(BASE, 2, 0, 0, StringType(room)),
            held,
            room,
            directory,
            HookKind.RAWTRACEPOINT,
            b"",
            b"\xee\xee" + string + b"\0\xff\xff\xff\xff\xff\xff\xff\xff",
        )


@needs_compiler
@pytest.mark.parametrize(
    ("value", "held"),
    [
        (ArgumentValue(HookArgument("comm", TASK_COMM, 0), TASK_COMM), b"fifteen chars.."),
        (ArgumentValue(HookArgument("comm", StringType(9), 0), StringType(9)), b"fifteen "),
        (BuiltinValue(BUILTINS["ifname"], IFNAME), b"veth0"),
        (BuiltinValue(BUILTINS["comm"], TASK_COMM), b"ping"),
    ],
    ids=["record", "cut", "ifname", "comm"],
)
def test_strings_of_the_hook_against_texts(value: ArgumentValue, held: bytes, tmp_path: Path) -> None:
    room = size_of(value.type)
    compared(value, held, room, tmp_path, HookKind.TRACEPOINT, b"fifteen chars..\0and what follows", b"")


@needs_compiler
def test_a_string_that_cannot_be_read_is_empty_and_is_counted(tmp_path: Path) -> None:
    writer = Writer()
    for at in BAD[:4]:
        for text, prefix in ((b"", False), (b"", True), (b"a", False), (b"a", True)):
            writer.print(CompareText(Load(Number(at, U64), 0, 0, 0, StringType(16)), text, prefix, U8))
    writer.print_c("counters->bad_reads")
    assert writer.numbers(tmp_path, b"", MEMORY) == [*([1, 1, 0, 0] * 4), 16]


@needs_compiler
@pytest.mark.parametrize("room", [1, 2, 3, 7, 8, 9, 15, 16, 17, 64])
def test_a_string_of_memory_is_stored_with_zeros_behind_it(room: int, tmp_path: Path) -> None:
    kind: Type = StringType(room)
    layout = lay_out("stored", [("v0", kind)])
    for at, held in ((0, b"abcdefgh"), (9, b""), (99, b"")):
        writer = Writer()
        writer.out.line("static struct stored target;")
        writer.out.line("memset(&target, 0xaa, sizeof(target));")
        writer.values.store(writer.out, "target.v0", Load(BASE, at, 0, 0, kind))
        writer.out.line("fwrite(&target, sizeof(target), 1, stdout);")
        written = writer.run(tmp_path, [layout], b"", b"abcdefgh\0\0stale bytes behind it\0")
        assert written[:room] == held[: room - 1].ljust(room, b"\0")
        assert set(written[room:]) <= {0xAA}
