"""Values in C: compiled for this machine, they must come out as the language says."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.values_in_c import Writer, needs_compiler
from tests.values_model import EDGES, OPERATORS, SLOT_TYPES, SLOTS, WORDS, has_sign, meant, slot
from xcapscript.builtins import BUILTINS
from xcapscript.codegen.strings import Strings
from xcapscript.errors import CompilerBug
from xcapscript.layout import Value, lay_out
from xcapscript.nodes.expressions import ArgumentValue, Binary, BuiltinValue, Expression, Number, Stack, Text
from xcapscript.nodes.hook import HookArgument
from xcapscript.types import (
    IFNAME,
    S64,
    TASK_COMM,
    U8,
    U64,
    InternedType,
    StackType,
    StringType,
)
from xcapscript.unit import HookKind

RAW, RECORD = HookKind.RAWTRACEPOINT, HookKind.TRACEPOINT


def numbers_in_c(directory: Path, kind: HookKind, values: Sequence[Expression], context: bytes) -> list[int]:
    """The values as a compiled program has them, modulo 2**64."""
    writer = Writer(kind)
    for value in values:
        writer.print(value)
    return writer.numbers(directory, context)


def joined(operator: str, left: Expression, right: Expression) -> Binary:
    """A sum has a sign when an operand has one, a difference always."""
    return Binary(operator, left, right, S64 if has_sign(left.type, right.type) or operator == "-" else U64)


@needs_compiler
@pytest.mark.parametrize("operator", OPERATORS)
def test_arithmetic_of_two_values(operator: str, tmp_path: Path) -> None:
    rng = random.Random(operator)
    pairs = [(a, b) for a in EDGES for b in EDGES] + [tuple(rng.sample(SLOTS, 2)) for _ in range(100)]
    values = [joined(operator, a, b) for a, b in pairs]
    found = numbers_in_c(tmp_path, RAW, values, struct.pack("=7Q", *WORDS))
    wrong = [(value, number) for value, number in zip(values, found, strict=True) if number != meant(value)]
    assert not wrong


@needs_compiler
def test_arithmetic_of_whole_expressions(tmp_path: Path) -> None:
    rng = random.Random(1)

    def tree(depth: int) -> Expression:
        if depth == 0 or rng.random() < 0.1:
            return rng.choice([*EDGES, *SLOTS])
        return joined(rng.choice(list(OPERATORS)), tree(depth - 1), tree(depth - 1))

    values = [tree(5) for _ in range(200)]
    found = numbers_in_c(tmp_path, RAW, values, struct.pack("=7Q", *WORDS))
    assert found == [meant(value) for value in values]


@needs_compiler
@pytest.mark.parametrize("kind", [RAW, RECORD])
def test_arguments_of_every_type(kind: HookKind, tmp_path: Path) -> None:
    words = struct.pack("=7Q", *WORDS)
    values: list[Expression] = [slot(index, t) for index in range(len(WORDS)) for t in SLOT_TYPES]
    expected = [meant(value) for value in values]
    if kind is RECORD:
        # little end first: the low part of a word lies where the word does
        values = [slot(value.argument.place * 8, value.type) for value in values if isinstance(value, ArgumentValue)]
    assert numbers_in_c(tmp_path, kind, values, words) == expected


def test_a_string_constant_is_its_index_whoever_asks() -> None:
    strings = Strings()
    first, second = Writer(RAW, strings), Writer(RECORD, strings)
    texts = [Text(text, InternedType()) for text in ("drop", "rx", "drop", "")]
    found = [writer.values.number(writer.out, text) for text in texts for writer in (first, second)]
    assert not first.out.text()
    assert found == ["1ULL", "1ULL", "2ULL", "2ULL", "1ULL", "1ULL", "0ULL", "0ULL"]
    assert list(strings.found) == ["", "drop", "rx"]


def test_a_stack_is_no_number() -> None:
    writer = Writer()
    with pytest.raises(CompilerBug, match=r"a kstack\(5\) is not a number"):
        writer.values.number(writer.out, Stack(StackType(5)))


def stored(directory: Path, kind: HookKind, values: Sequence[Expression], context: bytes) -> tuple[Value, ...]:
    """What is read back of values that a program stored, in a struct that was full of something else before."""
    layout = lay_out("stored", [(f"v{index}", value.type) for index, value in enumerate(values)])
    writer = Writer(kind)
    writer.out.line("static struct stored target, *record = &target;")
    writer.out.line("memset(record, 0xaa, sizeof(*record));")
    for index, value in enumerate(values):
        writer.values.store(writer.out, f"record->v{index}", value)
    writer.out.line("fwrite(record, sizeof(*record), 1, stdout);")
    return layout.decode(writer.run(directory, [layout], context))


SCENE_VALUES = {
    "pid": 812,
    "tid": 815,
    "uid": 1000,
    "gid": 7,
    "comm": b"ping",
    "cpu": 3,
    "cgroup": 0x1_0000_0ABC,
    "elapsed": 0x9ABC,
    "nsecs": 0x123456789ABC,
    "netns": 4026532281,
    "ifname": b"veth0",
    "ifindex": 5,
    "mark": 0xFEED_BEEF,
    "queue": 513,
    "caplen": 1500,
    "len": 1514,
}


@needs_compiler
def test_every_builtin_is_stored(tmp_path: Path) -> None:
    rows = [row for row in BUILTINS.values() if row.helper is not None]
    found = stored(tmp_path, RAW, [BuiltinValue(row, row.type) for row in rows], b"")
    assert dict(zip([row.name for row in rows], found, strict=True)) == SCENE_VALUES


@needs_compiler
def test_numbers_and_strings_constants_are_stored(tmp_path: Path) -> None:
    values = [
        Number(2**64 - 1, U64),
        Number(-5, S64),
        Text("b", InternedType()),
        Text("a", InternedType()),
        Binary("-", Number(3, U64), Number(5, U64), S64),
    ]
    assert stored(tmp_path, RAW, values, b"") == (2**64 - 1, -5, 1, 2, -2)


@needs_compiler
def test_a_stack_is_stored_whole(tmp_path: Path) -> None:
    values = [Number(1, U64), Stack(StackType(3)), Number(2, U64)]
    assert stored(tmp_path, RAW, values, b"") == (1, (0xFFFFFFFF81000001, 0xFFFFFFFF81000002), 2)


@needs_compiler
def test_strings_of_a_record_are_stored_without_what_lies_behind_them(tmp_path: Path) -> None:
    context = b"\x11\x22ping\0stale bytes\0" + b"sixteen bytes ok" + b"next"
    full, short = (HookArgument("a", kind, place) for kind, place in ((TASK_COMM, 2), (StringType(16), 19)))
    number = HookArgument("n", U8, 1)
    values = [ArgumentValue(full, TASK_COMM), ArgumentValue(short, StringType(16)), ArgumentValue(number, U8)]
    found = stored(tmp_path, RECORD, values, context)
    # the kernel's helper always leaves room for the NUL
    assert found == (b"ping", b"sixteen bytes o", 0x22)


@needs_compiler
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (ArgumentValue(HookArgument("comm", TASK_COMM, 0), TASK_COMM), b"ab"),
        (BuiltinValue(BUILTINS["ifname"], IFNAME), b"veth0"),
        (BuiltinValue(BUILTINS["comm"], TASK_COMM), b"ping"),
    ],
    ids=["record", "ifname", "comm"],
)
def test_equal_strings_are_equal_keys(value: Expression, text: bytes, tmp_path: Path) -> None:
    """A map compares all the bytes."""
    layout = lay_out("stored", [("v0", value.type)])
    writer = Writer(RECORD)
    writer.out.line("static struct stored target, *record = &target;")
    writer.out.line("memset(record, 0xaa, sizeof(*record));")
    writer.values.store(writer.out, "record->v0", value)
    writer.out.line("fwrite(record, sizeof(*record), 1, stdout);")
    assert writer.run(tmp_path, [layout], b"ab\0cdefghijklmno") == text.ljust(16, b"\0")
