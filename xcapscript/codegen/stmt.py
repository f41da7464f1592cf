"""Statements to C, within the function of one program; and what user space has to know of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import assert_never

from xcapscript.codegen.access import CONTEXTS
from xcapscript.codegen.emitter import Emitter
from xcapscript.codegen.expr import Values
from xcapscript.codegen.literals import c_string
from xcapscript.codegen.maps import write_map_statement
from xcapscript.layout import EVENT, PACKET, Layout, lay_out
from xcapscript.nodes.expressions import Expression
from xcapscript.nodes.statements import (
    ClearMap,
    Commit,
    DeleteKey,
    Dump,
    Evaluate,
    Exit,
    Hex,
    If,
    Line,
    Print,
    Printf,
    PrintMap,
    PrintStack,
    Return,
    Ring,
    SetKey,
    SetVariable,
    Statement,
    Update,
    ZeroMap,
)
from xcapscript.types import Type
from xcapscript.unit import Buffer, EventKind, EventSpec, HookKind, MapSpec

LINE_DIRECTIVE = "#line "

LINE_BYTES = 256
"""Bytes of a packet that go with its printed line."""

LARGEST_COPY = 16384
"""Bytes of a packet that a program's own memory has room for: per-CPU memory comes in pieces of 32 KiB
(PCPU_MIN_UNIT_SIZE)."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the statements of a program share.

    `declare` makes the spec of one more kind of record; `interface` and `process` are the only ones that count;
    `lazy`: only what is shown takes a ticket under a limit, since not every hit shows something; packets may be made up
    where the hook `has_socket`, and where it `has_message` they may have the payload of one. Filters ask for the first
    `reach` bytes at most; a statement `sends` the packet's bytes.
    """

    values: Values
    maps: dict[str, MapSpec]
    snaplen: int
    program: int
    declare: Callable[..., EventSpec]
    interface: str | None
    process: int | None
    buffer: Buffer
    lazy: bool = False
    has_socket: bool = False
    has_message: bool = False
    reach: int = 0
    sends: bool = False
    dumps: list[EventSpec] = field(default_factory=list)


def bytes_kept(context: Context) -> int:
    """The most bytes of a packet that the program's own memory has to have at once, of which filters may want some."""
    return max(min(context.snaplen, LARGEST_COPY), LINE_BYTES, context.reach)


def write_statements(out: Emitter, context: Context, statements: tuple[Statement, ...]) -> None:
    """Write the C of some statements: every line of a statement's C is the statement's own, for whoever complains."""
    for statement in statements:
        if isinstance(statement, SetVariable) and statement.first:
            context.values.declare(out, statement.variable)
        lines = Emitter(1)
        with lines.block():
            _write(lines, context, statement)
        for line in lines.text().splitlines():
            if not line.startswith(LINE_DIRECTIVE):
                out.directive(f"{LINE_DIRECTIVE}{statement.span.line} {c_string(statement.span.source.name)}")
            out.directive(line)


def is_shown(statement: Statement | Expression) -> bool:
    """Whether a statement makes output that a limit counts."""
    return isinstance(statement, Dump | Line | Hex | PrintStack | Print | Printf)


def _write(out: Emitter, context: Context, statement: Statement) -> None:
    if is_shown(statement) and context.lazy:
        with out.block("if (!ticket)"):
            out.line("ticket = __sync_fetch_and_add(&control->remaining, -1LL);")
            with out.block("if (ticket <= 0)"):
                out.line("return 0;")
    match statement:
        case Dump():
            _dump(out, context, statement)
        case Ring(path, count):
            spec = context.declare(EventKind.RING, PACKET, statement.span, path=path, top=count)
            _send_packet(out, context, spec, context.snaplen)
        case Commit(path, after):
            _signal(out, context, context.declare(EventKind.COMMIT, EVENT, statement.span, path=path, after=after))
        case Line():
            _line(out, context, statement, EventKind.LINE, LINE_BYTES)
        case Hex():
            _line(out, context, statement, EventKind.HEX, context.snaplen)
        case PrintStack():
            _print_stack(out, context, statement)
        case Print(values):
            _print(out, context, statement, values, None)
        case Printf(text, values):
            _print(out, context, statement, values, text)
        case PrintMap(name, top):
            _signal(out, context, context.declare(EventKind.PRINT_MAP, EVENT, statement.span, map=name, top=top))
        case ClearMap(name):
            _signal(out, context, context.declare(EventKind.CLEAR_MAP, EVENT, statement.span, map=name))
        case ZeroMap(name):
            _signal(out, context, context.declare(EventKind.ZERO_MAP, EVENT, statement.span, map=name))
        case Exit(status):
            spec = context.declare(EventKind.EXIT, EVENT, statement.span, status=status)
            out.line("control->live = 0;")
            out.line("control->exited = 1;")
            _signal(out, context, spec)
            out.line("return 0;")
        case Update() | SetKey() | DeleteKey():
            write_map_statement(out, context.values, context.maps, statement)
        case SetVariable(variable, value):
            context.values.assign(out, variable, value)
        case If():
            _if(out, context, statement)
        case Return():
            out.line(f"goto {context.values.end};")
        case Evaluate(value):
            out.line(f"(void){context.values.number(out, value)};")
        case _:
            assert_never(statement)


def _if(out: Emitter, context: Context, statement: If) -> None:
    with out.block(f"if ({context.values.number(out, statement.condition)})"):
        write_statements(out, context, statement.then)
    if statement.otherwise:
        with out.block("else"):
            write_statements(out, context, statement.otherwise)


def _dump(out: Emitter, context: Context, statement: Dump) -> None:
    spec = context.declare(EventKind.DUMP, PACKET, statement.span, path=statement.path)
    dropped = f"scratch->dropped[{len(context.dumps)}]"
    context.dumps.append(spec)
    out.line(f"hit->event.dropped = {dropped};")
    _send_packet(out, context, spec, min(context.snaplen, statement.snaplen or context.snaplen), dropped)


def _line(out: Emitter, context: Context, statement: Line | Hex, kind: EventKind, limit: int) -> None:
    spec = context.declare(kind, PACKET, statement.span)
    _send_packet(out, context, spec, limit)


def _read_bytes(out: Emitter, context: Context, snaplen: int) -> None:
    """Have the packet's first `cap` bytes in the scratch: all that can be read and find room, or `snaplen` of them."""
    limit = min(snaplen, LARGEST_COPY)
    out.line("u64 cap = hit->cap_len;")
    # The barrier keeps clang from proving the check needless: the verifier wants to see it.
    out.line(f"if (cap > {limit})")
    out.line(f"\tcap = {limit};")
    out.line('asm volatile("" : "+r"(cap));')
    out.line(f"if (cap > {limit})")
    out.line("\treturn 0;")
    with out.block("if (cap > hit->window_len)"):
        arguments = f"hit, skb, access, &dynptr, scratch->bytes, cap, {limit}"
        made = f"hit->synthetic ? xcap_read_made({arguments}, {context.has_message:d}) : " if context.has_socket else ""
        out.line(f"cap = {made}xcap_read_packet({arguments});")
        out.line('asm volatile("" : "+r"(cap));')
        out.line(f"if (cap > {limit})")
        out.line("\treturn 0;")
    if context.has_socket:
        # whichever way led here, the verifier sees one state: what follows has a loop
        out.line("cap = xcap_scalar(&hit->room, cap);")
        out.line("if (hit->synthetic)")
        out.line(f"\txcap_complete(hit, scratch->bytes, cap, {limit});")
        out.line(f"cap = xcap_bounded(cap, {limit});")
    out.line(f"xcap_note_captured(&hit->event, cap, {snaplen});")


def _send_packet(out: Emitter, context: Context, spec: EventSpec, snaplen: int, dropped: str | None = None) -> None:
    """Send the packet's first `snaplen` bytes, of those that can be read."""
    out.line(f"hit->event.id = {record_id(spec)};")
    if not _may_be_large(context, spec, snaplen):
        _read_bytes(out, context, snaplen)
        _send(out, context, "&hit->event", "sizeof(hit->event) + cap", dropped)
        return
    # BCC makes ringbuf_reserve(0) a call of bpf_ringbuf_reserve() with the map: here that gives the map.
    out.line("void *(*bpf_ringbuf_reserve)(void *, u64, u64) = xcap_itself;")
    out.line("long failed = 1; /* above 0: not tried, or the pages could not be read */")
    made = "!hit->synthetic && " if context.has_socket else ""
    out.line(f"if (XCAP_SENDS_LARGE(access) && skb && {made}hit->cap_len > {LARGEST_COPY})")
    ring = "xcap_events.ringbuf_reserve(0), xcap_wakeup(control)"
    out.line(f"\tfailed = xcap_send_large(hit, skb, access, &dynptr, {ring}, {snaplen});")
    with out.block("if (failed > 0)"):
        _read_bytes(out, context, snaplen)
        out.line(f"failed = {submission(context.buffer, '&hit->event', 'sizeof(hit->event) + cap')};")
    _count_lost(out, "failed", dropped)


def _may_be_large(context: Context, spec: EventSpec, snaplen: int) -> bool:
    """Whether a record may be larger than the program's own memory: where the kernel reads packets for it."""
    kind = spec.attachment.kind
    by_kernel = kind is HookKind.RAWTRACEPOINT or kind in CONTEXTS
    return by_kernel and context.buffer is Buffer.RING and snaplen > LARGEST_COPY


def _print_stack(out: Emitter, context: Context, statement: PrintStack) -> None:
    extra = ("stack", statement.stack.type)
    layout = lay_out(f"xcap_stack_{context.program}", [*((f.name, f.type) for f in PACKET.fields), extra])
    spec = context.declare(EventKind.STACK, layout, statement.span)
    context.values.scratch[f"stack_{spec.id}"] = Layout(f"xcap_event_{spec.id}", layout.fields, layout.size)
    _read_bytes(out, context, LINE_BYTES)
    out.line(f"hit->event.id = {record_id(spec)};")
    out.line(f"struct xcap_event_{spec.id} *record = &scratch->stack_{spec.id};")
    out.line("__builtin_memcpy(record, &hit->event, sizeof(hit->event));")
    context.values.store(out, "record->stack", statement.stack)
    out.line(f"bpf_probe_read_kernel(scratch->stack_{spec.id}_bytes, cap, scratch->bytes);")
    _send(out, context, "record", "sizeof(*record) + cap")


def _print(
    out: Emitter, context: Context, statement: Print | Printf, values: tuple[Expression, ...], text: str | None
) -> None:
    fields = [(f"v{index}", value.type) for index, value in enumerate(values)]
    header: list[tuple[str, Type]] = [(f.name, f.type) for f in EVENT.fields]
    kind = EventKind.PRINT if text is None else EventKind.PRINTF
    layout = lay_out("xcap_values", [*header, *fields])
    spec = context.declare(kind, layout, statement.span, format=text)
    layout = Layout(f"xcap_event_{spec.id}", layout.fields, layout.size)
    context.values.scratch[f"values_{spec.id}"] = layout
    out.line(f"struct {layout.name} *record = &scratch->values_{spec.id};")
    out.line(f"record->id = {record_id(spec)};")
    out.line("record->cpu = bpf_get_smp_processor_id();")
    out.line("record->time = bpf_ktime_get_ns();")
    context.values.fill(out, layout, "record", dict(zip((name for name, _ in fields), values, strict=True)))
    _send(out, context, "record", "sizeof(*record)")


def record_id(spec: EventSpec) -> str:
    """C for the number of a record: each function of a program's has one of its own."""
    return f"{spec.id} + XCAP_ORDINAL(place)" if len(spec.attachment.functions) > 1 else str(spec.id)


def _signal(out: Emitter, context: Context, spec: EventSpec) -> None:
    """Send a record that says only that the statement was reached."""
    with out.block():
        out.line(f"struct xcap_event record = {{ .id = {record_id(spec)}, .cpu = bpf_get_smp_processor_id() }};")
        out.line("record.time = bpf_ktime_get_ns();")
        _send(out, context, "&record", "sizeof(record)")


def submission(buffer: Buffer, record: str, size: str) -> str:
    """The C call that sends a record; it gives 0 unless the buffer is full. Nobody is woken up: user space looks by its
    own clock, and a wake-up costs more than the record.
    """
    match buffer:
        case Buffer.RING:
            return f"xcap_events.ringbuf_output({record}, {size}, xcap_wakeup(control))"
        case Buffer.PERF:
            return f"xcap_events.perf_submit(ctx, {record}, {size})"
        case _:
            assert_never(buffer)


def _send(out: Emitter, context: Context, record: str, size: str, dropped: str | None = None) -> None:
    _count_lost(out, submission(context.buffer, record, size), dropped)


def _count_lost(out: Emitter, failed: str, dropped: str | None) -> None:
    """Count a record that was not sent; `dropped` counts those that were lost since the last that was not."""
    with out.block(f"if ({failed})"):
        out.line("counters->lost++;")
        out.line("lost = 1;")
        if dropped:
            out.line(f"{dropped}++;")
    if dropped:
        with out.block("else"):
            out.line(f"{dropped} = 0;")
