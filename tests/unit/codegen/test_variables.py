"""Variables, choices, functions in their place and values of maps, for every type that they can have."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.packets import IPV4_PAIRS, ipv4, udp
from tests.values_in_c import KERNEL, SPAN, Writer, needs_compiler, packet_view
from tests.values_model import REASON
from xcapscript.builtins import BUILTINS
from xcapscript.codegen.maps import key_layout, value_layout
from xcapscript.layout import FLOW, Value, lay_out, size_of
from xcapscript.nodes.expressions import (
    AddressConstant,
    Binary,
    BuiltinValue,
    Compare,
    Convert,
    Expression,
    FlowValue,
    Inlined,
    Load,
    MapValue,
    Number,
    Ternary,
    Text,
    Variable,
)
from xcapscript.nodes.statements import DeleteKey, Evaluate, If, Return, SetKey, SetVariable, Statement
from xcapscript.types import (
    IFNAME,
    S64,
    TASK_COMM,
    U8,
    U32,
    U64,
    FlowType,
    InternedType,
    IntType,
    IpType,
    MacType,
    PointerType,
    StringType,
    SymbolType,
    Type,
)
from xcapscript.unit import Aggregation, MapSpec

MEMORY = b"a string of thirty-one bytes...\0stale"
PACKET = ipv4(17, udp(5353, 53, b"data"), IPV4_PAIRS[1])
SRC, DST = (b"\0" * 10 + b"\xff\xff" + ip_address(text).packed for text in IPV4_PAIRS[1])
FLOW_BYTES = SRC + DST + (5353).to_bytes(2, "little") + (53).to_bytes(2, "little") + b"\x11" + bytes(3)

COMM, NAME = BuiltinValue(BUILTINS["comm"], TASK_COMM), BuiltinValue(BUILTINS["ifname"], IFNAME)
ADDRESS, OTHER = AddressConstant(0x2001_0DB8 << 96 | 0x1234, IpType()), AddressConstant(2**128 - 2, IpType())
STACK_LIKE = 0xFFFF_FFFF_8100_0001


def text(size: int) -> Load:
    return Load(Number(KERNEL, U64), 0, 0, 0, StringType(size))


def of_two(kind: Type, one: int, other: int) -> tuple[Expression, Value, Expression, Value]:
    return Convert(Number(one, U64), kind), one, Convert(Number(other % 2**64, U64), kind), other


# A value, what it is read back as, and another value of the type.
VALUES: list[tuple[Expression, Value, Expression, Value]] = [
    *(of_two(IntType(bits), 2**bits - 1, 1) for bits in (8, 16, 32, 64)),
    *(of_two(IntType(bits, signed=True), 2 ** (bits - 1) - 1, -(2 ** (bits - 1))) for bits in (8, 16, 32, 64)),
    of_two(REASON, 0xFFFF_FFFE, 5),
    of_two(PointerType("struct sock"), STACK_LIKE, 0),
    of_two(MacType(), 0xFFFF_FFFF_FFFF, 1),
    of_two(SymbolType(), STACK_LIKE, 2**64 - 1),
    (Text("one", InternedType()), 1, Text("two", InternedType()), 2),
    (COMM, b"ping", NAME, b"veth0"),
    (text(64), MEMORY[:31], text(64), MEMORY[:31]),
    (text(9), MEMORY[:8], text(9), MEMORY[:8]),
    (ADDRESS, ADDRESS.value.to_bytes(16, "big"), OTHER, OTHER.value.to_bytes(16, "big")),
    (FlowValue(FlowType()), FLOW_BYTES, FlowValue(FlowType()), FLOW_BYTES),
]
IDS = [f"{value.type}" for value, _, _, _ in VALUES]
of_every_type = pytest.mark.parametrize(("value", "shown", "other", "other_shown"), VALUES, ids=IDS)
EMPTY: dict[type, Value] = {StringType: b"", IpType: bytes(16), FlowType: bytes(FLOW.size)}


def read_back(writer: Writer, values: Sequence[tuple[Expression, Type]], directory: Path) -> tuple[Value, ...]:
    """The values as they are stored, each in a member of its type; what was there before was something else."""
    layout = lay_out("stored", [(f"v{index}", kind) for index, (_, kind) in enumerate(values)])
    writer.out.line("static struct stored target, *record = &target;")
    writer.out.line("memset(record, 0xaa, sizeof(*record));")
    writer.values.fill(writer.out, layout, "record", {f"v{index}": value for index, (value, _) in enumerate(values)})
    writer.out.line("fwrite(record, sizeof(*record), 1, stdout);")
    written = writer.run(directory, [layout], b"", MEMORY, packet_view(PACKET, 101))
    for index, (_, kind) in enumerate(values):
        if isinstance(kind, StringType):  # a map compares all the bytes
            at = layout.field(f"v{index}").offset
            assert set(written[at : at + kind.size].partition(b"\0")[2]) <= {0}
    return layout.decode(written)


def empty(kind: Type) -> Value:
    return EMPTY.get(type(kind), 0)


@needs_compiler
@of_every_type
def test_a_variable_has_what_it_was_given_last(
    value: Expression, shown: Value, other: Expression, other_shown: Value, tmp_path: Path
) -> None:
    writer, first, second = Writer(), Variable(0, value.type), Variable(1, value.type)
    copy = Variable(2, value.type)
    writer.do(
        SetVariable(first, value, SPAN, first=True),
        SetVariable(second, value, SPAN, first=True),
        SetVariable(copy, first, SPAN, first=True),
        SetVariable(second, other, SPAN),
        SetVariable(first, second, SPAN),
        SetVariable(second, copy, SPAN),
    )
    found = read_back(writer, [(one, value.type) for one in (first, second, copy)], tmp_path)
    assert found == (other_shown, shown, shown)


@needs_compiler
@of_every_type
def test_a_choice_of_every_type(
    value: Expression, shown: Value, other: Expression, other_shown: Value, tmp_path: Path
) -> None:
    values = [Ternary(Number(which, U8), value, other, value.type) for which in (1, 0)]
    found = read_back(Writer(), [(one, value.type) for one in values], tmp_path)
    assert found == (shown, other_shown)


def function(number: int, argument: Expression, one: Expression, other: Expression, *rest: Statement) -> Inlined:
    """fn f($x) { if ($x == 1) { return one; } if ($x == 2) { return other; } rest }."""
    parameter, result = Variable(number, argument.type), Variable(number + 1, one.type)
    tests = (
        If(Compare("==", parameter, Number(which, U64), U8), (SetVariable(result, value, SPAN), Return(SPAN)), (), SPAN)
        for which, value in ((1, one), (2, other))
    )
    return Inlined("f", (SetVariable(parameter, argument, SPAN, first=True), *tests, *rest), result, one.type)


@needs_compiler
@of_every_type
def test_a_function_in_its_place_returns_early(
    value: Expression, shown: Value, other: Expression, other_shown: Value, tmp_path: Path
) -> None:
    """Without a `return` the result is empty, whatever the last hit has left."""
    calls = [function(at * 2, Number(which, U64), value, other) for at, which in enumerate((1, 2, 3))]
    found = read_back(Writer(), [(call, value.type) for call in calls], tmp_path)
    assert found == (shown, other_shown, empty(value.type))


@needs_compiler
def test_what_follows_a_return_is_not_done(tmp_path: Path) -> None:
    held = plain("@seen", (U64,), U64, number=0)
    writer = Writer(maps=[held])
    key = (Number(1, U64),)
    for at, which in enumerate((1, 2, 3, 3)):
        count = SetKey("@seen", key, "+", Number(1, U64), SPAN)
        one, other = Number(11, U64), Number(22, U64)
        call = function(at * 2, Number(which, U64), one, other, count)
        writer.do(Evaluate(call, SPAN))
        writer.print(MapValue("@seen", key, U64))
    assert writer.numbers(tmp_path) == [0, 0, 1, 2]


@needs_compiler
def test_a_function_within_a_function_returns_from_itself_alone(tmp_path: Path) -> None:
    inner = function(0, Number(1, U64), Number(5, U64), Number(6, U64))
    result = Variable(10, U64)
    sum_of = Binary("+", inner, Number(100, U64), U64)
    outer = Inlined("g", (SetVariable(result, sum_of, SPAN), Return(SPAN)), result, U64)
    writer = Writer()
    writer.print(Binary("+", outer, Number(1000, U64), U64))
    assert writer.numbers(tmp_path) == [1105]


@needs_compiler
def test_a_function_without_a_result_is_zero(tmp_path: Path) -> None:
    writer = Writer()
    writer.print(Inlined("f", (Return(SPAN),), None, U64))
    assert writer.numbers(tmp_path) == [0]


SIZES = (1, 4, 5, 8, 16, 17, 31, 32, 64)


@needs_compiler
@pytest.mark.parametrize("own", SIZES)
@pytest.mark.parametrize("source", ["memory", "variable", "builtin", "map", "choice", "function"])
def test_a_string_is_put_where_there_is_more_or_less_room(source: str, own: int, tmp_path: Path) -> None:
    """What does not fit is cut off, and neither touches its neighbours."""
    held = plain("@text", (U64,), StringType(own), number=0)
    writer = Writer(maps=[held])
    value: Expression = text(own)
    key = (Number(1, U64),)
    match source:
        case "variable":
            value = Variable(100, StringType(own))
            writer.do(SetVariable(value, text(own), SPAN, first=True))
        case "builtin":
            value = COMM
        case "map":
            writer.do(SetKey("@text", key, "", text(own), SPAN))
            value = MapValue("@text", key, StringType(own))
        case "choice":
            value = Ternary(Number(0, U8), COMM, text(own), StringType(max(own, 16)))
        case "function":
            result = Variable(101, StringType(own))
            value = Inlined("f", (SetVariable(result, text(own), SPAN),), result, StringType(own))
    whole = b"ping" if source == "builtin" else MEMORY[: min(own - 1, 31)]
    cells = []
    for at, size in enumerate(SIZES):
        before, variable, behind = (Variable(at * 3 + part, StringType(size)) for part in range(3))
        writer.do(*(SetVariable(one, text(size), SPAN, first=True) for one in (before, variable, behind)))
        writer.do(SetVariable(variable, once(value, 1000 + at), SPAN))
        cells += [before, variable, behind]
    found = read_back(writer, [(one, one.type) for one in cells], tmp_path)
    for at, size in enumerate(SIZES):
        mine = MEMORY[: min(size - 1, 31)]
        before, value_read, behind = found[at * 3 : at * 3 + 3]
        assert (before, behind) == (mine, mine)
        assert value_read in (whole[:size], whole[: size - 1])


def once(value: Expression, number: int) -> Expression:
    """A function in its place is another at each: its variables are its own."""
    if not isinstance(value, Inlined):
        return value
    result = Variable(number, value.type)
    return Inlined(value.name, (SetVariable(result, text(size_of(value.type)), SPAN),), result, value.type)


def plain(name: str, keys: tuple[Type, ...], kind: Type, number: int) -> MapSpec:
    return MapSpec(
        name,
        f"xcap_map_{number}",
        key_layout(f"xcap_key_{number}", keys, Aggregation.VALUE),
        value_layout(f"xcap_value_{number}", Aggregation.VALUE, kind, signed=kind == S64),
        Aggregation.VALUE,
        signed=kind == S64,
        max_entries=16,
        span=SPAN,
    )


@needs_compiler
@of_every_type
def test_a_map_holds_and_is_keyed_by_every_type(
    value: Expression, shown: Value, other: Expression, other_shown: Value, tmp_path: Path
) -> None:
    held, keyed = plain("@held", (U32, U64), value.type, 0), plain("@keyed", (value.type, U8), U64, 1)
    writer = Writer(maps=[held, keyed])
    keys = [(Number(1, U32), Number(at, U64)) for at in range(4)]
    writer.do(
        SetKey("@held", keys[0], "", value, SPAN),
        SetKey("@held", keys[1], "", other, SPAN),
        SetKey("@held", keys[2], "", MapValue("@held", keys[0], value.type), SPAN),
        SetKey("@held", keys[1], "", MapValue("@held", keys[0], value.type), SPAN),
        SetKey("@held", keys[0], "", other, SPAN),
        SetKey("@keyed", (value, Number(1, U8)), "", Number(7, U64), SPAN),
        SetKey("@keyed", (value, Number(2, U8)), "", Number(8, U64), SPAN),
        DeleteKey("@keyed", (value, Number(2, U8)), SPAN),
    )
    reads: list[Expression] = [MapValue("@held", key, value.type) for key in keys]
    reads += [MapValue("@keyed", (value, Number(number, U8)), U64) for number in (1, 2)]
    found = read_back(writer, [(one, one.type) for one in reads], tmp_path)
    assert found == (other_shown, shown, shown, empty(value.type), 7, 0)


@needs_compiler
@pytest.mark.parametrize("room", [4, 16, 64])
def test_a_map_of_strings_is_given_longer_and_shorter_ones(room: int, tmp_path: Path) -> None:
    held = plain("@text", (U64,), StringType(room), number=0)
    writer = Writer(maps=[held])
    given = [(text(9), MEMORY[:8]), (text(64), MEMORY[:31]), (COMM, b"ping"), (NAME, b"veth0")]
    for at, (value, _) in enumerate(given):
        writer.do(SetKey("@text", (Number(at, U64),), "", value, SPAN))
    reads = [MapValue("@text", (Number(at, U64),), StringType(room)) for at in range(len(given))]
    found = read_back(writer, [(one, one.type) for one in reads], tmp_path)
    assert all(one in (whole[:room], whole[: room - 1]) for one, (_, whole) in zip(found, given, strict=True))
