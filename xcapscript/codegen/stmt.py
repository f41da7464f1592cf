"""Statements to C, within the function of one program; and what user space has to know of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from xcapscript.codegen.emitter import Emitter
from xcapscript.codegen.expr import Values
from xcapscript.codegen.structs import members
from xcapscript.ir import (
    ClearMap,
    Dump,
    Exit,
    Expression,
    Line,
    Print,
    Printf,
    PrintMap,
    PrintStack,
    Statement,
    Update,
)
from xcapscript.layout import EVENT, PACKET, Layout, lay_out
from xcapscript.types import U32, Type
from xcapscript.unit import Aggregation, EventKind, EventSpec, MapSpec

LINE_BYTES = 256
"""Bytes of a packet that go with its printed line."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the statements of a program share.

    `declare` makes the spec of one more kind of record; `scratch` is what else the program's own memory holds;
    `interface` is the only one that counts.
    """

    values: Values
    maps: dict[str, MapSpec]
    snaplen: int
    program: int
    declare: Callable[..., EventSpec]
    scratch: dict[str, Layout]
    interface: str | None


def write_statement(out: Emitter, context: Context, statement: Statement) -> None:
    """Write the C of one statement."""
    match statement:
        case Dump():
            _dump(out, context, statement)
        case Line():
            _line(out, context, statement)
        case PrintStack():
            _print_stack(out, context, statement)
        case Print(values):
            _print(out, context, statement, values, None)
        case Printf(text, values):
            _print(out, context, statement, values, text)
        case PrintMap(name, top):
            _signal(out, context.declare(EventKind.PRINT_MAP, EVENT, statement.span, map=name, top=top))
        case ClearMap(name):
            _signal(out, context.declare(EventKind.CLEAR_MAP, EVENT, statement.span, map=name))
        case Exit(status):
            spec = context.declare(EventKind.EXIT, EVENT, statement.span, status=status)
            out.line("control->live = 0;")
            out.line("control->exited = 1;")
            _signal(out, spec)
            out.line("return 0;")
        case Update():
            _update(out, context, statement)
        case _:
            assert_never(statement)


def _dump(out: Emitter, context: Context, statement: Dump) -> None:
    spec = context.declare(EventKind.DUMP, PACKET, statement.span, path=statement.path)
    with out.block(""):
        _read_bytes(out, context.snaplen)
        _send_packet(out, spec)


def _line(out: Emitter, context: Context, statement: Line) -> None:
    spec = context.declare(EventKind.LINE, PACKET, statement.span)
    with out.block(""):
        _read_bytes(out, LINE_BYTES)
        _send_packet(out, spec)


def _read_bytes(out: Emitter, limit: int) -> None:
    """Have the packet's first `cap` bytes in the scratch: all that can be read, or `limit` of them."""
    out.line("u64 cap = hit->cap_len;")
    # The barrier keeps clang from proving the check needless: the verifier wants to see it.
    out.line(f"if (cap > {limit})")
    out.line(f"\tcap = {limit};")
    out.line('asm volatile("" : "+r"(cap));')
    out.line(f"if (cap > {limit})")
    out.line("\treturn 0;")
    with out.block("if (cap > hit->window_len)"):
        out.line(f"cap = xcap_read_packet(hit, skb, typed, &dynptr, scratch->bytes, cap, {limit});")
        out.line('asm volatile("" : "+r"(cap));')
        out.line(f"if (!cap || cap > {limit})")
        out.line("\treturn 0;")


def _send_packet(out: Emitter, spec: EventSpec) -> None:
    out.line(f"hit->event.id = {spec.id};")
    out.line("hit->event.cap_len = cap;")
    _send(out, "&hit->event", "sizeof(hit->event) + cap")


def _print_stack(out: Emitter, context: Context, statement: PrintStack) -> None:
    extra = ("stack", statement.stack.type)
    layout = lay_out(f"xcap_stack_{context.program}", [*((f.name, f.type) for f in PACKET.fields), extra])
    spec = context.declare(EventKind.STACK, layout, statement.span)
    context.scratch[f"stack_{spec.id}"] = Layout(f"xcap_event_{spec.id}", layout.fields, layout.size)
    with out.block(""):
        _read_bytes(out, LINE_BYTES)
        out.line(f"struct xcap_event_{spec.id} *record = &scratch->stack_{spec.id};")
        out.line("__builtin_memcpy(record, &hit->event, sizeof(hit->event));")
        out.line(f"record->id = {spec.id};")
        out.line("record->cap_len = cap;")
        context.values.store(out, "record->stack", statement.stack)
        out.line(f"bpf_probe_read_kernel(scratch->stack_{spec.id}_bytes, cap, scratch->bytes);")
        _send(out, "record", "sizeof(*record) + cap")


def _print(
    out: Emitter, context: Context, statement: Print | Printf, values: tuple[Expression, ...], text: str | None
) -> None:
    fields = [(f"v{index}", value.type) for index, value in enumerate(values)]
    header: list[tuple[str, Type]] = [(f.name, f.type) for f in EVENT.fields]
    kind = EventKind.PRINT if text is None else EventKind.PRINTF
    layout = lay_out("xcap_values", [*header, *fields])
    spec = context.declare(kind, layout, statement.span, format=text)
    layout = Layout(f"xcap_event_{spec.id}", layout.fields, layout.size)
    context.scratch[f"values_{spec.id}"] = layout
    with out.block(""):
        out.line(f"struct {layout.name} *record = &scratch->values_{spec.id};")
        out.line(f"record->id = {spec.id};")
        out.line("record->cpu = bpf_get_smp_processor_id();")
        out.line("record->time = bpf_ktime_get_ns();")
        _fill(out, context, layout, "record", dict(zip((name for name, _ in fields), values, strict=True)))
        _send(out, "record", "sizeof(*record)")


def _fill(out: Emitter, context: Context, layout: Layout, target: str, values: dict[str, Expression]) -> None:
    """Fill the members that have values, and the gaps with zeros."""
    for name, offset, size in members(layout):
        if offset < 0:
            out.line(f"__builtin_memset({target}->{name}, 0, {size});")
        elif name in values:
            context.values.store(out, f"{target}->{name}", values[name])


def _signal(out: Emitter, spec: EventSpec) -> None:
    """Send a record that says only that the statement was reached."""
    with out.block(""):
        out.line(f"struct xcap_event record = {{ .id = {spec.id}, .cpu = bpf_get_smp_processor_id() }};")
        out.line("record.time = bpf_ktime_get_ns();")
        _send(out, "&record", "sizeof(record)")


def _send(out: Emitter, record: str, size: str) -> None:
    # User space looks by its own clock: a wake-up costs more than the record.
    with out.block(f"if (xcap_events.ringbuf_output({record}, {size}, BPF_RB_NO_WAKEUP))"):
        out.line("counters->lost++;")
        out.line("lost = 1;")


def _update(out: Emitter, context: Context, statement: Update) -> None:
    spec = context.maps[statement.map]
    index = list(context.maps).index(statement.map)
    context.scratch[f"key_{index}"] = spec.key
    keys = {f"k{number}": key for number, key in enumerate(statement.keys)}
    with out.block(""):
        out.line(f"struct {spec.key.name} *key = &scratch->key_{index};")
        out.line("u64 nothing = 0, *value;")
        if not spec.key.fields:
            out.line("__builtin_memset(key, 0, sizeof(*key));")
        _fill(out, context, spec.key, "key", keys)
        amount = "1ULL"
        if statement.value is not None:
            amount = f"(u64){context.values.number(statement.value)}"
        if spec.aggregation is Aggregation.HIST:
            kind, cast = ("s64", "s64") if spec.signed else ("u64", "u64")
            out.line(f"key->bucket = xcap_bucket_{kind}(({cast}){amount});")
            amount = "1ULL"
        out.line(f"value = {spec.symbol}.lookup_or_try_init(key, &nothing);")
        with out.block("if (value)"):
            # atomic: a program of an interrupt may update the same key on this CPU
            out.line(f"__sync_fetch_and_add(value, {amount});")
        with out.block("else"):
            out.line(f"u32 full = {index};")
            out.line("u64 *missed = xcap_map_full.lookup(&full);")
            out.line("if (missed)")
            out.line("\t__sync_fetch_and_add(missed, 1);")


def key_layout(name: str, keys: tuple[Type, ...], aggregation: Aggregation) -> Layout:
    """The key of a map: k0, k1, ... and, of a histogram, the bucket. A map without keys has one key, zero."""
    fields = [(f"k{index}", kind) for index, kind in enumerate(keys)]
    if aggregation is Aggregation.HIST:
        fields.append(("bucket", U32))
    return lay_out(name, fields) if fields else Layout(name, (), 8)
