"""Maps to C: their keys, their values, and what changes them."""

from __future__ import annotations

from contextlib import AbstractContextManager

from xcapscript.codegen.emitter import Emitter
from xcapscript.codegen.expr import Values
from xcapscript.codegen.wide import WIDE
from xcapscript.layout import Layout, lay_out
from xcapscript.nodes.statements import DeleteKey, SetKey, Update
from xcapscript.types import S64, U32, U64, Type
from xcapscript.unit import Aggregation, MapSpec

ATOMIC = {"+": "__sync_fetch_and_add(&{0}, {1});", "-": "__sync_fetch_and_add(&{0}, -(u64){1});"}


def key_layout(name: str, keys: tuple[Type, ...], aggregation: Aggregation) -> Layout:
    """The key of a map: k0, k1, ... and, of a histogram, the bucket. A map without keys has one key, zero."""
    fields = [(f"k{index}", kind) for index, kind in enumerate(keys)]
    if aggregation in (Aggregation.HIST, Aggregation.LHIST):
        fields.append(("bucket", U32))
    return lay_out(name, fields) if fields else Layout(name, (), 8)


def value_layout(name: str, aggregation: Aggregation, kind: Type | None, *, signed: bool) -> Layout:
    """The value of a map for a key; of an aggregation that of one CPU."""
    number = S64 if signed else U64
    match aggregation:
        case Aggregation.VALUE:
            return lay_out(name, [("value", kind or number)])
        case Aggregation.AVG | Aggregation.STATS:
            return lay_out(name, [("count", U64), ("total", number)])
        case Aggregation.MIN | Aggregation.MAX:
            return lay_out(name, [("value", U64)])
        case _:
            return lay_out(name, [("value", number)])


def write_map_statement(
    out: Emitter, values: Values, maps: dict[str, MapSpec], statement: Update | SetKey | DeleteKey
) -> None:
    """Write the C of a statement that changes a map."""
    spec = maps[statement.map]
    match statement:
        case Update():
            _update(out, values, spec, statement)
        case SetKey():
            _set(out, values, spec, statement)
        case DeleteKey(_, keys):
            out.line(f"{spec.symbol}.delete({values.key(out, spec, keys)});")


def _update(out: Emitter, values: Values, spec: MapSpec, statement: Update) -> None:
    amount = "1ULL"
    if statement.value is not None:
        kind = "s64" if spec.signed else "u64"
        out.line(f"{kind} amount = {values.number(out, statement.value)};")
        amount = "(u64)amount"
    key = values.key(out, spec, statement.keys)
    if spec.aggregation is Aggregation.HIST:
        out.line(f"{key}->bucket = xcap_bucket_{'s64' if spec.signed else 'u64'}(amount);")
        amount = "1ULL"
    if spec.aggregation is Aggregation.LHIST and spec.buckets is not None:
        low, high, step = spec.buckets.low, spec.buckets.high, spec.buckets.step
        # a large number without sign is no negative one: no bound is as large
        number = "amount" if spec.signed else "amount >> 63 ? ~0ULL >> 1 : amount"
        out.line(f"{key}->bucket = xcap_step({number}, {low}LL, {high}LL, {step});")
        amount = "1ULL"
    with _value_of(out, spec, key):
        # atomic: a program of an interrupt may update the same key on this CPU
        match spec.aggregation:
            case Aggregation.MIN | Aggregation.MAX:
                out.line(f"xcap_raise(&value->value, {amount} ^ {spec.fold:#x}ULL);")
            case Aggregation.AVG | Aggregation.STATS:
                out.line("__sync_fetch_and_add(&value->count, 1ULL);")
                out.line(f"__sync_fetch_and_add(&value->total, {amount});")
            case _:
                out.line(f"__sync_fetch_and_add(&value->value, {amount});")
    _count_full(out, spec)


def _value_of(out: Emitter, spec: MapSpec, key: str) -> AbstractContextManager[None]:
    """A block in which `value` points at the value of a key, which is made if it is not there."""
    out.line(f"struct {spec.value.name} nothing = {{}};")
    out.line(f"struct {spec.value.name} *value = {spec.symbol}.lookup_or_try_init({key}, &nothing);")
    return out.block("if (value)")


def _count_full(out: Emitter, spec: MapSpec) -> None:
    with out.block("else"):
        out.line(f"u32 full = {spec.index};")
        out.line("u64 *missed = xcap_map_full.lookup(&full);")
        out.line("if (missed)")
        out.line("\t__sync_fetch_and_add(missed, 1);")


def _set(out: Emitter, values: Values, spec: MapSpec, statement: SetKey) -> None:
    kind = spec.value.fields[0].type
    if not statement.operator:
        # a value of its own, made before the key: the key may be in the way
        name = values.room(spec.value)
        values.fill(out, spec.value, f"(&{name})", {"value": statement.value})
        key = values.key(out, spec, statement.keys)
        with out.block(f"if (!{spec.symbol}.update({key}, &{name}))"):
            out.line(";")
        _count_full(out, spec)
        return
    assert not isinstance(kind, WIDE)
    out.line(f"u64 amount = {values.number(out, statement.value)};")
    key = values.key(out, spec, statement.keys)
    with _value_of(out, spec, key):
        if statement.operator in ATOMIC:
            out.line(ATOMIC[statement.operator].format("value->value", "amount"))
        else:
            signed = spec.signed
            out.line(f"value->value = {values.binary(statement.operator, 'value->value', 'amount', signed=signed)};")
    _count_full(out, spec)
