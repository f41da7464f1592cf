"""The entry of this room: a resolved program gives the C text and all that is to be known to run it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from mmap import PAGESIZE
from typing import Any, assert_never

from xcapscript.builtins import Needs
from xcapscript.codegen.emitter import Emitter
from xcapscript.codegen.entry import PLACE_BITS, entry_kind, keeps_entry
from xcapscript.codegen.expr import Values
from xcapscript.codegen.filter import MAX_WINDOW, UnsupportedFilter, filter_function, filter_reach, window_size
from xcapscript.codegen.limits import check_limits
from xcapscript.codegen.literals import c_comment, c_string
from xcapscript.codegen.maps import key_layout, value_layout
from xcapscript.codegen.program import (
    NEVER,
    TIMERS,
    filters_of,
    has_inner,
    is_described,
    write_body,
    write_entry_body,
    write_packets_body,
    write_user_body,
)
from xcapscript.codegen.scratch import scratch_text
from xcapscript.codegen.shell import function_text
from xcapscript.codegen.stmt import LARGEST_COPY, LINE_BYTES, LINE_DIRECTIVE, Context, is_shown, write_statements
from xcapscript.codegen.strings import Strings
from xcapscript.codegen.structs import struct_text
from xcapscript.codegen.user import inner_text, is_burst, is_user, keeps_arguments, turns_name
from xcapscript.diagnostics import Code, Diagnostic, ScriptError
from xcapscript.ir import CText, Map, Probe, Program, ScriptOptions
from xcapscript.layout import EVENT, FLOW, PACKET, Layout
from xcapscript.nodes.hook import Filter, Instructions
from xcapscript.nodes.statements import Dump, Hex, Ring
from xcapscript.nodes.walk import walk
from xcapscript.pcap.cbpf import Instruction
from xcapscript.source import Span
from xcapscript.types import EnumType
from xcapscript.unit import Attachment, Buffer, EventKind, EventSpec, MapSpec, Unit
from xcapscript.unit import Program as UnitProgram

LARGEST_SNAPLEN = 262144
"""Bytes of a packet that are kept at most: MAXIMUM_SNAPLEN of libpcap, which is tcpdump's default, too."""

DEFAULT_BUFFER_SIZE = 32 << 20
DEFAULT_MAX_KEYS = 10240
GENERATED = "generated"
"""What clang calls that which the script has no lines for."""

HEADERS = ("packet", "user", "values", "describe", "entry", "xdp", "send", "socket", "gather", "tunnel", "layers")
LAYERS_WINDOW = 128
"""Holds the headers of nearly all packets: Ethernet, two VLAN tags, IP with options, TCP; and all that are made up."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says about the code.

    Bytes kept of a packet, how many may be sent, the name of the only interface and the only process that count, and
    the bytes of the buffer.
    """

    snaplen: int | None = None
    limit: int | None = None
    interface: str | None = None
    process: int | None = None
    buffer: Buffer = Buffer.RING
    buffer_size: int | None = None
    max_keys: int = DEFAULT_MAX_KEYS


@dataclass(slots=True)
class _Generator:
    options: Options
    strings: Strings = field(default_factory=Strings)
    events: list[EventSpec] = field(default_factory=list)
    filters: dict[str, tuple[str, str]] = field(default_factory=dict)
    filter_texts: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    structs: list[Layout] = field(default_factory=list)
    scratches: list[str] = field(default_factory=list)
    programs: list[UnitProgram] = field(default_factory=list)

    def add(self, number: int, probe: Probe, maps: dict[str, MapSpec]) -> None:
        """Write one probe's function and what it needs."""
        for expression in filters_of(probe):
            self._add_filter(expression)
        kind = probe.hook.attachment.kind
        dumps = any(isinstance(statement, Dump | Ring | Hex) for statement in walk(probe.body))
        limited = self.options.limit is not None and kind not in TIMERS
        values = Values(kind, self.strings, maps, number, self.filters)
        context = Context(
            values,
            maps,
            min(self.options.snaplen or LARGEST_SNAPLEN, LARGEST_SNAPLEN) if dumps else LINE_BYTES,
            number,
            partial(self._declare, probe),
            self.options.interface,
            self.options.process,
            self.options.buffer,
            lazy=limited and not any(map(is_shown, probe.body)),
            has_socket=probe.hook.sock is not None,
            has_message=probe.hook.msg is not None,
            reach=_reach(probe),
            sends=is_described(probe),
        )
        values.write_statement = lambda out, statement: write_statements(out, context, (statement,))
        out = Emitter(1)
        write_body(out, probe, context, self.filters, limited=limited)
        function = f"xcap_probe_{number}"
        title = f"{probe.hook.name} in {probe.span.source.name}, line {probe.span.line}"
        if is_user(probe):
            self.functions.append(inner_text(number, title, out.text()))
            out = Emitter(1)
            write_user_body(out, probe, context)
        self.functions.append(function_text(kind, title, function, out.text()))
        self.structs += [layout for name, layout in values.scratch.items() if not name.startswith("key_")]
        check_limits(probe, context)
        self.scratches.append(scratch_text(probe, context))
        entry = self._add_entry(probe, context, title) if keeps_entry(probe) or keeps_arguments(probe) else ""
        attachment = probe.hook.attachment
        if is_user(probe):
            attachment = replace(attachment, process=self.options.process)
        cookies = self._cookies(attachment) if len(attachment.functions) > 1 else ()
        turn = self._add_turn(probe, context, title) if is_burst(probe) else ""
        turns = turns_name(number) if turn else ""
        made = UnitProgram(function, attachment, probe.hook.name, probe.span, entry, turn, turns, cookies)
        self.programs.append(made)

    def _add_entry(self, probe: Probe, context: Context, title: str) -> str:
        """Write the function that runs when the probe's is entered; its name."""
        out = Emitter(1)
        write_entry_body(out, probe, context, self.filters)
        name = f"xcap_entry_{context.program}"
        self.functions.append(function_text(entry_kind(probe), f"{title}: when it is entered", name, out.text()))
        return name

    def _add_turn(self, probe: Probe, context: Context, title: str) -> str:
        """Write the function that looks at packets of a burst; its name."""
        out = Emitter(1)
        write_packets_body(out, probe, context)
        name = f"xcap_turn_{context.program}"
        kind = probe.hook.attachment.kind
        self.functions.append(function_text(kind, f"{title}: packets of a burst", name, out.text()))
        return name

    def _cookies(self, attachment: Attachment) -> tuple[int, ...]:
        """What tells a program which of its functions was hit: XCAP_PLACE_BITS of its index, and its name's above."""
        return tuple(self.strings.index(name) << PLACE_BITS | place for place, name in enumerate(attachment.names))

    def _declare(self, probe: Probe, kind: EventKind, layout: Layout, span: Span, **more: Any) -> EventSpec:
        """One more kind of record; with a wildcard one for each function, of which this is the first."""
        reason = probe.hook.reason
        members = reason.type.members if reason and isinstance(reason.type, EnumType) else ()
        specs = [
            EventSpec(
                len(self.events) + place,
                kind,
                layout,
                name,
                probe.hook.attachment,
                span,
                has_reason=reason is not None,
                reasons=members,
                filter=probe.filter.text if probe.filter else None,
                **more,
            )
            for place, name in enumerate(probe.hook.names())
        ]
        self.events += specs
        return specs[0]

    def _add_filter(self, expression: Filter) -> None:
        """Write the functions of an expression, once for all its hooks; what never matches calls one function."""
        if expression.text in self.filters:
            return
        number = len(self.filters)
        names: list[str] = []
        for link, instructions in (("ethernet", expression.ethernet), ("raw", expression.raw)):
            if link == "raw" and expression.raw == expression.ethernet:
                names.append(names[0])
                continue
            names.append(f"xcap_filter_{number}_{link}" if instructions else NEVER)
            if instructions:
                self.filter_texts.append(_filter_text(names[-1], instructions, expression))
        self.filters[expression.text] = (names[0], names[1])


def _filter_text(name: str, instructions: Instructions, expression: Filter) -> str:
    try:
        body = filter_function(name, tuple(Instruction(*instruction) for instruction in instructions))
    except UnsupportedFilter as error:
        raise ScriptError([Diagnostic(Code.BAD_FILTER, str(error), expression.span)]) from None
    return f"/* {c_comment(expression.text)} */\n{body}"


def generate(program: Program, options: Options) -> Unit:
    """The unit of a program; ScriptError for what has no translation."""
    options = _chosen(options, program.options)
    maps = {m.name: _map_spec(index, m, options) for index, m in enumerate(program.maps)}
    generator = _Generator(options)
    for number, probe in enumerate(program.probes):
        generator.add(number, probe, maps)
    pieces = [
        "/* SPDX-License-Identifier: GPL-2.0-only */",
        f"#define XCAP_WINDOW {_window(program)}\n#define XCAP_PLACE_BITS {PLACE_BITS}",
        f"#define XCAP_SNAPLEN {min(options.snaplen or LARGEST_SNAPLEN, LARGEST_SNAPLEN)}",
        "#include <xcap/address.h>",
        *_structs([EVENT, PACKET, FLOW]),
        "".join(f"#include <xcap/{name}.h>\n" for name in HEADERS).rstrip(),
        *map(_c_text, program.c_texts),
        *_structs([*(layout for spec in maps.values() for layout in (spec.key, spec.value)), *generator.structs]),
        _map_texts(maps.values(), len(generator.programs), options),
        *generator.scratches,
        f"XCAP_INLINE u64 {NEVER}(const struct xcap_view *view)\n{{\n\treturn 0;\n}}",
        *generator.filter_texts,
        *generator.functions,
    ]
    text = "\n\n".join(pieces) + "\n"
    events, programs = tuple(generator.events), tuple(generator.programs)
    strings = tuple(generator.strings.found)
    return Unit(
        text,
        programs,
        events,
        tuple(maps.values()),
        strings,
        _buffer_pages(options),
        print_maps=program.options.print_maps,
        c_texts=tuple(one.span for one in program.c_texts),
        buffer=options.buffer,
    )


def _chosen(options: Options, script: ScriptOptions) -> Options:
    """What the command line does not say, the script may."""
    return replace(
        options,
        snaplen=options.snaplen if options.snaplen is not None else script.snaplen or LARGEST_SNAPLEN,
        buffer_size=options.buffer_size or script.buffer_size,
        max_keys=script.max_keys or options.max_keys,
    )


def _buffer_pages(options: Options) -> int:
    """A ring buffer has a power of two of pages."""
    size = options.buffer_size or DEFAULT_BUFFER_SIZE
    return 1 << max(0, -(-size // PAGESIZE) - 1).bit_length()


def _c_text(text: CText) -> str:
    """C of the script's own, at its own lines."""
    start = f"{LINE_DIRECTIVE}{text.span.line} {c_string(text.span.source.name)}"
    return f"{start}\n{text.text}\n{LINE_DIRECTIVE}1 {c_string(GENERATED)}"


def _window(program: Program) -> int:
    """How many bytes of a packet are read at once: what is asked for; of tunnels, whose headers vary, most."""
    if any(map(has_inner, program.probes)):
        return MAX_WINDOW
    filters = [one for probe in program.probes for one in filters_of(probe)]
    needed = window_size(code for one in filters for code in (one.ethernet, one.raw) if code is not None)
    layers = any(probe.needs >= Needs.LAYERS or probe.hook.sock is not None for probe in program.probes)
    return max(needed, LAYERS_WINDOW) if layers else needed


def _reach(probe: Probe) -> int:
    """How many bytes the filters of a probe ask for at most; those of a tunnel begin anywhere in the window."""
    codes = [code for one in filters_of(probe) for code in (one.ethernet, one.raw) if code is not None]
    more = MAX_WINDOW if has_inner(probe) else 0
    return min(filter_reach(codes, LARGEST_COPY) + more, LARGEST_COPY)


def _structs(layouts: Iterable[Layout]) -> list[str]:
    return [struct_text(layout) for layout in layouts]


def _map_spec(index: int, declared: Map, options: Options) -> MapSpec:
    return MapSpec(
        declared.name,
        f"xcap_map_{index}",
        key_layout(f"xcap_key_{index}", declared.keys, declared.aggregation),
        value_layout(f"xcap_value_{index}", declared.aggregation, declared.value, signed=declared.signed),
        declared.aggregation,
        declared.signed,
        options.max_keys,
        declared.span,
        declared.buckets,
        index,
    )


def _buffer_text(options: Options) -> str:
    match options.buffer:
        case Buffer.RING:
            return f"BPF_RINGBUF_OUTPUT(xcap_events, {_buffer_pages(options)});"
        case Buffer.PERF:
            return "BPF_PERF_OUTPUT(xcap_events);"
        case _:
            assert_never(options.buffer)


def _map_texts(maps: Iterable[MapSpec], programs: int, options: Options) -> str:
    maps = list(maps)
    lines = [
        _buffer_text(options),
        'BPF_F_TABLE("array", u32, struct xcap_control, xcap_controls, 1, BPF_F_MMAPABLE);',
        f"BPF_PERCPU_ARRAY(xcap_counts, struct xcap_counters, {programs});",
        f"BPF_PERCPU_ARRAY(xcap_map_full, u64, {max(1, len(maps))});",
    ]
    for spec in maps:
        kind = "percpu_hash" if spec.per_cpu else "hash"
        types = f"struct {spec.key.name}, struct {spec.value.name}"
        lines.append(f'BPF_TABLE("{kind}", {types}, {spec.symbol}, {spec.max_entries});')
    return "\n".join(lines)
