"""Values in C: compiled for this machine, they must come out as the language says."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from xcapscript.builtins import BUILTINS
from xcapscript.codegen.emitter import Emitter
from xcapscript.codegen.expr import Strings, Values
from xcapscript.codegen.structs import struct_text
from xcapscript.ir import ArgumentValue, Binary, BuiltinValue, Expression, HookArgument, Number, Stack, Text
from xcapscript.layout import EVENT, PACKET, Layout, Value, lay_out
from xcapscript.resources import bpf_directory
from xcapscript.types import (
    IFNAME,
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
    PointerType,
    StackType,
    StringType,
    Type,
)
from xcapscript.unit import HookKind

COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed")

RAW, RECORD = HookKind.RAWTRACEPOINT, HookKind.TRACEPOINT
WORDS = (0, 1, 0x8000_0000, 0xFFFF_FFFF_FFFF_FFFE, 0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000, 0x1234_5678_9ABC_DEF0)
"""The arguments of the hook."""

# What the kernel side has, as far as the values go.
SHIM = """\
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64;
typedef int8_t s8; typedef int16_t s16; typedef int32_t s32; typedef int64_t s64;
struct net { struct { u32 inum; } ns; };
struct net_device { u32 ifindex; char name[16]; struct { struct net *net; } nd_net; };
struct sock { struct { struct { struct net *net; } skc_net; } __sk_common; };
struct sk_buff { struct net_device *dev; struct sock *sk; };
struct bpf_raw_tracepoint_args { u64 args[16]; };
static u64 bpf_get_current_pid_tgid(void) { return 812ULL << 32 | 815; }
static u64 bpf_get_current_uid_gid(void) { return 7ULL << 32 | 1000; }
static u32 bpf_get_smp_processor_id(void) { return 3; }
static u64 bpf_ktime_get_ns(void) { return 0x123456789abcULL; }
static void bpf_get_current_comm(char *to, u32 size) { memset(to, 0, size); strcpy(to, "ping"); }
static long bpf_probe_read_kernel(void *to, u32 size, const void *from) { memcpy(to, from, size); return 0; }
static long bpf_probe_read_kernel_str(char *to, u32 size, const char *from)
{
	u32 length = 0;

	while (length + 1 < size && from[length]) {
		to[length] = from[length];
		length++;
	}
	to[length++] = 0;
	return length;
}
static long bpf_get_stack(void *ctx, void *to, u32 size, u64 flags)
{
	const u64 frames[] = {0xffffffff81000001ULL, 0xffffffff81000002ULL};

	memset(to, 0, size);
	memcpy(to, frames, sizeof(frames));
	return sizeof(frames);
}
"""

# The device's name was longer once.
SCENE = """\
	static struct net net = {{4026532281u}};
	static struct net_device dev = {5, "veth0\\0stale"};
	static struct xcap_hit hit_;
	struct xcap_hit *hit = &hit_;
	static struct sk_buff skb_;
	struct sk_buff *skb = &skb_;
	dev.nd_net.net = &net;
	skb->dev = &dev;
	hit->wire_len = 1514;
"""


def run_c(directory: Path, statements: str, structs: Sequence[Layout] = (), context: bytes = b"") -> bytes:
    """What a C program prints that runs statements as a probe does, with `ctx` pointing at `context`."""
    words = struct.unpack("=16Q", context.ljust(128, b"\0"))
    lines = [
        SHIM,
        *map(struct_text, [EVENT, PACKET, *structs]),
        "#include <xcap/values.h>",
        f"static struct bpf_raw_tracepoint_args record = {{{{{', '.join(f'{word}ULL' for word in words)}}}}};",
        "int main(void)\n{\n\tvoid *context = &record;\n\tstruct bpf_raw_tracepoint_args *ctx = context;",
        SCENE,
        statements,
        "\treturn ctx == NULL || hit == NULL;\n}",
    ]
    (directory / "x.c").write_text("\n".join(lines))
    include = f"-I{bpf_directory() / 'include'}"
    # -fno-strict-aliasing: a record is read as whatever lies in it, as the kernel is built with
    flags = ["-O1", "-fwrapv", "-fno-strict-aliasing", "-w", include]
    subprocess.run([str(COMPILER), *flags, "-o", directory / "x", directory / "x.c"], check=True)
    return subprocess.run([directory / "x"], check=True, capture_output=True).stdout


def numbers_in_c(directory: Path, kind: HookKind, values: Sequence[Expression], context: bytes) -> list[int]:
    """The values as a compiled program has them, modulo 2**64."""
    writer = Values(kind, Strings())
    prints = [f'\tprintf("%llu ", (unsigned long long){writer.number(value)});' for value in values]
    return [int(number) for number in run_c(directory, "\n".join(prints), context=context).split()]


def slot(index: int, kind: Type) -> ArgumentValue:
    return ArgumentValue(HookArgument(f"a{index}", kind, index), kind)


def signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def truncated(a: int, b: int) -> int:
    """Division as in C; nothing is divided by zero."""
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": truncated,
    "%": lambda a, b: a - b * truncated(a, b),
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<<": lambda a, b: a << b if 0 <= b < 64 else 0,
    ">>": lambda a, b: a >> b if 0 <= b < 64 else -(a < 0),
}


def meant(value: Expression) -> int:
    """The value modulo 2**64, as the language says."""
    match value:
        case Number(number):
            return number % 2**64
        case ArgumentValue(argument, IntType(bits, is_signed)):
            low = WORDS[argument.place] % 2**bits
            return (low - 2**bits if is_signed and low >= 2 ** (bits - 1) else low) % 2**64
        case ArgumentValue(argument, EnumType()):
            return WORDS[argument.place] % 2**32
        case ArgumentValue(argument):
            return WORDS[argument.place]
        case Binary(operator, left, right, kind):
            a, b = meant(left), meant(right)
            return OPERATORS[operator](*((signed(a), signed(b)) if kind == S64 else (a, b))) % 2**64
        case _:
            raise AssertionError(value)


def joined(operator: str, left: Expression, right: Expression) -> Binary:
    """A sum has a sign when an operand has one, a difference always."""
    has_sign = any(isinstance(side.type, IntType) and side.type.signed for side in (left, right))
    return Binary(operator, left, right, S64 if has_sign or operator == "-" else U64)


EDGES = [Number(n, U64) for n in (0, 1, 2, 63, 64, 65, 2**31, 2**32, 2**63, 2**64 - 1)]
EDGES += [Number(n, S64) for n in (-1, -2, -7, -(2**31), -(2**63))]
SLOT_TYPES = [U8, U16, U32, U64, S32, S64, IntType(8, signed=True), IntType(16, signed=True)]
SLOT_TYPES += [EnumType("skb_drop_reason", ()), PointerType("void")]
SLOTS = [slot(index, kind) for index in range(len(WORDS)) for kind in SLOT_TYPES]


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
    first, second = Values(RAW, strings), Values(RECORD, strings)
    texts = [Text(text, InternedType()) for text in ("drop", "rx", "drop", "")]
    found = [writer.number(text) for text in texts for writer in (first, second)]
    assert found == ["0ULL", "0ULL", "1ULL", "1ULL", "0ULL", "0ULL", "2ULL", "2ULL"]
    assert list(strings.found) == ["drop", "rx", ""]


def test_a_stack_is_no_number() -> None:
    with pytest.raises(ValueError, match="a stack is not a number"):
        Values(RAW, Strings()).number(Stack(StackType(5)))


def stored(directory: Path, kind: HookKind, values: Sequence[Expression], context: bytes) -> tuple[Value, ...]:
    """What is read back of values that a program stored, in a struct that was full of something else before."""
    layout = lay_out("stored", [(f"v{index}", value.type) for index, value in enumerate(values)])
    out, writer = Emitter(1), Values(kind, Strings())
    out.line("static struct stored target, *record = &target;")
    out.line("memset(record, 0xaa, sizeof(*record));")
    for index, value in enumerate(values):
        writer.store(out, f"record->v{index}", value)
    out.line("fwrite(record, sizeof(*record), 1, stdout);")
    return layout.decode(run_c(directory, out.text(), [layout], context))


SCENE_VALUES = {
    "pid": 812,
    "tid": 815,
    "uid": 1000,
    "comm": b"ping",
    "cpu": 3,
    "nsecs": 0x123456789ABC,
    "netns": 4026532281,
    "ifname": b"veth0",
    "ifindex": 5,
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
    assert stored(tmp_path, RAW, values, b"") == (2**64 - 1, -5, 0, 1, -2)


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
    out, writer = Emitter(1), Values(RECORD, Strings())
    out.line("static struct stored target, *record = &target;")
    out.line("memset(record, 0xaa, sizeof(*record));")
    writer.store(out, "record->v0", value)
    out.line("fwrite(record, sizeof(*record), 1, stdout);")
    assert run_c(tmp_path, out.text(), [layout], b"ab\0cdefghijklmno") == text.ljust(16, b"\0")
