"""The entry of this room: a resolved program gives the C text and all that is to be known to run it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from xcapscript.codegen.emitter import Emitter
from xcapscript.codegen.expr import Strings, Values
from xcapscript.codegen.filter import MAX_WINDOW, UnsupportedFilter, filter_function, window_size
from xcapscript.codegen.literals import c_comment
from xcapscript.codegen.program import NEVER, scratch_text, write_body
from xcapscript.codegen.shell import function_text
from xcapscript.codegen.stmt import LINE_BYTES, Context, key_layout
from xcapscript.codegen.structs import struct_text
from xcapscript.diagnostics import Code, Diagnostic, ScriptError
from xcapscript.ir import Dump, Filter, Instructions, Map, Probe, Program
from xcapscript.layout import EVENT, PACKET, Layout
from xcapscript.pcap.cbpf import Instruction
from xcapscript.source import Span
from xcapscript.types import EnumType
from xcapscript.unit import EventKind, EventSpec, MapSpec, Unit
from xcapscript.unit import Program as UnitProgram

LARGEST_SNAPLEN = 16384
"""Bytes of a packet that one record can hold: per-CPU memory comes in pieces of 32 KiB (PCPU_MIN_UNIT_SIZE)."""

DEFAULT_RING_PAGES = 8192
DEFAULT_MAX_KEYS = 10240


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says about the code.

    Bytes kept of a packet, how many may be sent, and the name of the only interface that counts.
    """

    snaplen: int = LARGEST_SNAPLEN
    limit: int | None = None
    interface: str | None = None
    ring_pages: int = DEFAULT_RING_PAGES
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
        for expression in (probe.filter, *probe.inner):
            if expression is not None:
                self._add_filter(expression)
        kind = probe.hook.attachment.kind
        dumps = any(isinstance(statement, Dump) for statement in probe.body)
        context = Context(
            Values(kind, self.strings),
            maps,
            min(self.options.snaplen, LARGEST_SNAPLEN) if dumps else LINE_BYTES,
            number,
            partial(self._declare, probe),
            {},
            self.options.interface,
        )
        out = Emitter(1)
        write_body(out, probe, context, self.filters, limited=self.options.limit is not None)
        function = f"xcap_probe_{number}"
        title = f"{probe.hook.name} in {probe.span.source.name}, line {probe.span.line}"
        self.functions.append(function_text(kind, title, function, out.text()))
        self.structs += [layout for name, layout in context.scratch.items() if not name.startswith("key_")]
        self.scratches.append(scratch_text(context))
        self.programs.append(UnitProgram(function, probe.hook.attachment, probe.hook.name, probe.span))

    def _declare(self, probe: Probe, kind: EventKind, layout: Layout, span: Span, **more: Any) -> EventSpec:
        reason = probe.hook.reason
        members = reason.type.members if reason and isinstance(reason.type, EnumType) else ()
        spec = EventSpec(
            len(self.events),
            kind,
            layout,
            probe.hook.name,
            probe.hook.attachment,
            span,
            has_reason=reason is not None,
            reasons=members,
            filter=probe.filter.text if probe.filter else None,
            **more,
        )
        self.events.append(spec)
        return spec

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
    maps = {m.name: _map_spec(index, m, options) for index, m in enumerate(program.maps)}
    generator = _Generator(options)
    for number, probe in enumerate(program.probes):
        generator.add(number, probe, maps)
    pieces = [
        f"/* SPDX-License-Identifier: GPL-2.0-only */\n#define XCAP_WINDOW {_window(program)}",
        *_structs([EVENT, PACKET]),
        "#include <xcap/packet.h>\n#include <xcap/values.h>\n#include <xcap/tunnel.h>",
        *_structs([*(spec.key for spec in maps.values()), *generator.structs]),
        _map_texts(maps.values(), len(generator.programs), options),
        *generator.scratches,
        f"XCAP_INLINE int {NEVER}(const struct xcap_view *view)\n{{\n\treturn 0;\n}}",
        *generator.filter_texts,
        *generator.functions,
    ]
    text = "\n\n".join(pieces) + "\n"
    events, programs = tuple(generator.events), tuple(generator.programs)
    return Unit(text, programs, events, tuple(maps.values()), tuple(generator.strings.found), options.ring_pages)


def _window(program: Program) -> int:
    """How many bytes of a packet are read at once: what the filters need; of tunnels, whose headers vary, most."""
    if any(probe.inner for probe in program.probes):
        return MAX_WINDOW
    filters = [probe.filter for probe in program.probes if probe.filter is not None]
    return window_size(code for one in filters for code in (one.ethernet, one.raw) if code is not None)


def _structs(layouts: Iterable[Layout]) -> list[str]:
    return [struct_text(layout) for layout in layouts]


def _map_spec(index: int, declared: Map, options: Options) -> MapSpec:
    key = key_layout(f"xcap_key_{index}", declared.keys, declared.aggregation)
    symbol = f"xcap_map_{index}"
    return MapSpec(declared.name, symbol, key, declared.aggregation, declared.signed, options.max_keys, declared.span)


def _map_texts(maps: Iterable[MapSpec], programs: int, options: Options) -> str:
    maps = list(maps)
    lines = [
        f"BPF_RINGBUF_OUTPUT(xcap_events, {options.ring_pages});",
        'BPF_F_TABLE("array", u32, struct xcap_control, xcap_controls, 1, BPF_F_MMAPABLE);',
        f"BPF_PERCPU_ARRAY(xcap_counts, struct xcap_counters, {programs});",
        f"BPF_PERCPU_ARRAY(xcap_map_full, u64, {max(1, len(maps))});",
    ]
    lines += [
        f'BPF_TABLE("percpu_hash", struct {spec.key.name}, u64, {spec.symbol}, {spec.max_entries});' for spec in maps
    ]
    return "\n".join(lines)
