"""The C function of one probe: the gate, the packet, the filter, then the statements."""

from __future__ import annotations

import struct
from dataclasses import replace

from xcapscript.builtins import Needs
from xcapscript.codegen.access import CONTEXTS, access_of, becomes_skb, helper_of, may_gather, reach
from xcapscript.codegen.emitter import Emitter
from xcapscript.codegen.entry import bytes_saved, entry_kind, keeps_entry, write_restored, write_saved
from xcapscript.codegen.filter import may_be_asked_again
from xcapscript.codegen.gather import SEE_GATHERED, expressions_of, gathering, reads_early, write_window
from xcapscript.codegen.literals import c_int
from xcapscript.codegen.shell import argument
from xcapscript.codegen.stmt import LARGEST_COPY, Context, is_shown, record_id, submission, write_statements
from xcapscript.codegen.user import (
    is_burst,
    is_mbuf,
    is_user,
    keeps_arguments,
    write_arguments,
    write_buffer_found,
    write_burst,
    write_entered,
    write_packets,
    write_turn,
)
from xcapscript.ir import Probe
from xcapscript.layout import EVENT, Direction
from xcapscript.needs import needs_of
from xcapscript.nodes.expressions import Expression, Matches
from xcapscript.nodes.hook import Filter
from xcapscript.nodes.statements import Dump, Hex, Line, PrintStack, Ring
from xcapscript.nodes.walk import walk
from xcapscript.pcap.cbpf import Ancillary, Instruction, ancillary_loads
from xcapscript.types import IFNAME
from xcapscript.unit import EventKind, HookKind, LinkType

NEVER = "xcap_never"
"""The function of an expression that no packet of a link type matches."""

TIMERS = frozenset({HookKind.INTERVAL, HookKind.BEGIN, HookKind.END})
UNGATED = frozenset({HookKind.BEGIN, HookKind.END})
"""Run by user space before the gate opens and after it is closed."""

DESCRIBED = (Dump, Ring, Line, Hex, PrintStack)
"""Statements whose records say where the packet was seen."""


def write_body(
    out: Emitter, probe: Probe, context: Context, filters: dict[str, tuple[str, str]], *, limited: bool
) -> None:
    """Write the body of a probe's function; `filters` has the C names of an expression's two functions."""
    limited = limited and any(map(is_shown, walk(probe.body)))
    context.values.set_packet(probe.hook.packet)
    if is_user(probe):
        write_locals(out, probe)
    else:
        write_beginning(out, probe, context)
    if keeps_entry(probe):
        write_restored(out, probe, context)
    else:
        write_hit(out, probe, context)
    early = [one for one in probe.conditions if _needs(one) < Needs.PACKET]
    for condition in early:
        _write_condition(out, context, condition)
    if probe.needs >= Needs.PACKET:
        if not keeps_entry(probe):
            write_found(out, probe)
            write_window(out, probe, context)
        write_view(out, probe)
        for condition in probe.conditions:
            if condition not in early:
                _write_condition(out, context, condition)
        if not keeps_entry(probe):
            wanted = min(context.snaplen, LARGEST_COPY) if context.sends else 0
            write_filters(out, probe, context, filters, wanted)
    out.line("counters->matched++;")
    if limited:
        _write_ticket(out, context)
    if is_described(probe) and not keeps_entry(probe):
        write_description(out, probe)
    write_statements(out, context, probe.body)
    out.line(f"{context.values.end}: ;")
    if limited:
        _write_limit(out, probe, context)


def write_user_body(out: Emitter, probe: Probe, context: Context) -> None:
    """Write what stands around the body of a probe in a program: the gate, and the turns."""
    write_memory(out, probe, context)
    if keeps_arguments(probe):
        write_arguments(out, context.program)
    if is_burst(probe):
        write_burst(out, probe, context.program)
        return
    write_turn(out, probe, context.program)


def write_packets_body(out: Emitter, probe: Probe, context: Context) -> None:
    """Write what looks at packets of a burst."""
    write_memory(out, probe, context, gated=False)
    write_packets(out, context.program)


def write_entry_body(out: Emitter, probe: Probe, context: Context, filters: dict[str, tuple[str, str]]) -> None:
    """Write what runs when a probe's function is entered, and saves what is to be seen of it."""
    if is_user(probe):
        write_memory(out, probe, context)
        write_entered(out, context.program)
        return
    write_beginning(out, probe, context)
    write_hit(out, probe, context)
    if probe.needs >= Needs.PACKET:
        write_found(out, probe)
        write_window(out, probe, context)
        write_view(out, replace(probe, needs=Needs.PACKET))
        write_filters(out, probe, context, filters, bytes_saved(context))
    if is_described(probe):
        write_description(out, probe)
    write_saved(out, probe, context)


def is_described(probe: Probe) -> bool:
    """Whether a record of it says where its packet was seen."""
    return any(isinstance(statement, DESCRIBED) for statement in walk(probe.body))


def write_description(out: Emitter, probe: Probe) -> None:
    """Fill what goes with the packet."""
    if is_user(probe):
        out.line(f"xcap_describe_user(hit, {probe.hook.direction:d});")
        return
    reason = probe.hook.reason
    value = argument(entry_kind(probe), reason.place, "u32") if reason else "0"
    out.line(f"xcap_describe(hit, skb, {value}, {probe.hook.direction:d}, access);")


def _needs(condition: Expression) -> Needs:
    return max(needs_of(node) for node in walk([condition]))


def _write_condition(out: Emitter, context: Context, condition: Expression) -> None:
    with out.block(), out.block(f"if (!{context.values.number(out, condition)})"):
        out.line("counters->no_condition++;")
        out.line("return 0;")


def _write_ticket(out: Emitter, context: Context) -> None:
    """Under a limit a hit that shows something needs a ticket; all of it is done only with one."""
    if context.lazy:
        out.line("s64 ticket = 0;")
        return
    out.line("s64 ticket = __sync_fetch_and_add(&control->remaining, -1LL);")
    with out.block("if (ticket <= 0)"):
        out.line("return 0;")


def write_beginning(out: Emitter, probe: Probe, context: Context) -> None:
    """The program's own memory, the gate, and what the rest is written with."""
    write_memory(out, probe, context)
    write_locals(out, probe)


def write_memory(out: Emitter, probe: Probe, context: Context, *, gated: bool = True) -> None:
    """The program's own memory, and the gate."""
    number = context.program
    out.line(f"u32 zero = 0, program = {number};")
    out.line("struct xcap_control *control = xcap_controls.lookup(&zero);")
    out.line("struct xcap_counters *counters = xcap_counts.lookup(&program);")
    out.line(f"struct xcap_scratch_{number} *scratch = xcap_scratch_{number}_map.lookup(&zero);")
    out.line("if (!control || !counters || !scratch)")
    out.line("\treturn 0;")
    if gated and probe.hook.attachment.kind not in UNGATED:
        out.line("if (!control->live)")
        out.line("\treturn 0;")


def write_locals(out: Emitter, probe: Probe) -> None:
    """What the rest of a program is written with."""
    out.line("u32 lost = 0;")
    out.line("struct xcap_hit *hit = &scratch->hit;")
    out.line("const struct sk_buff *skb = NULL;")
    out.line(f"const int access = {access_of(probe.hook)};")
    if is_user(probe):
        out.line("hit->user = 1;")
    out.line("struct xcap_dynptr dynptr;")
    if probe.hook.attachment.kind in CONTEXTS:
        out.line("dynptr.opaque[0] = (u64)ctx;")
    if len(probe.hook.attachment.functions) > 1:
        out.line("u32 place = xcap_place_of(ctx);")


def write_hit(out: Emitter, probe: Probe, context: Context) -> None:
    """Count the hit, and reach its packet and its socket."""
    out.line("counters->hits++;")
    if context.process is not None and probe.hook.attachment.kind not in TIMERS:
        pid = helper_of(probe.hook.attachment.kind, "xcap_pid")
        with out.block(f"if ({pid}(hit, skb) != {context.process:d})"):
            out.line("counters->no_condition++;")
            out.line("return 0;")
    kind = entry_kind(probe)
    needs_skb = probe.needs >= Needs.SKB or context.interface is not None
    if needs_skb and probe.hook.sock is not None:
        out.line(f"hit->socket = {argument(kind, probe.hook.sock.place, 'u64')};")
        out.line("hit->device = xcap_socket_device(hit->socket);")
    if needs_skb and probe.hook.packet is not None and becomes_skb(probe.hook):
        pointer = argument(kind, probe.hook.packet.pointer.place, "void *")
        out.line(f"skb = {reach(probe.hook, kind)}(&scratch->skb, {pointer});")
        if probe.hook.sock is None:
            with out.block("if (!skb)"):
                out.line("counters->no_packet++;")
                out.line("return 0;")
    if probe.hook.has_packet and context.interface is not None:
        _write_interface(out, context.interface)


def _write_interface(out: Emitter, name: str) -> None:
    """Leave packets of other interfaces out; the name is compared as two words, of which what is behind its NUL is
    left out.
    """
    text = name.encode() + b"\0"
    wanted = struct.unpack("=QQ", text.ljust(IFNAME.size, b"\0"))
    masks = struct.unpack("=QQ", (b"\xff" * len(text)).ljust(IFNAME.size, b"\0"))
    differ = [f"(name[{i}] & {c_int(masks[i])}) != {c_int(wanted[i])}" for i in range(2) if masks[i]]
    out.line("u64 name[2] = {0};")
    out.line("if (skb && skb->dev)")
    out.line("\txcap_copy16(name, skb->dev->name, access);")
    out.line("else if (hit->device)")
    out.line("\txcap_copy16(name, ((const struct net_device *)hit->device)->name, XCAP_KERNEL);")
    with out.block(f"if ({' || '.join(differ)})"):
        out.line("counters->no_match++;")
        out.line("return 0;")


def write_found(out: Emitter, probe: Probe) -> None:
    """Find where the packet begins, or make one up."""
    if is_user(probe):
        write_buffer_found(out, probe)
        return
    found = []
    if becomes_skb(probe.hook):
        guard = "skb && " if probe.hook.sock is not None else ""
        found.append(f"{guard}xcap_find_packet(hit, skb, access, &dynptr, scratch->bytes)")
    if probe.hook.sock is not None:
        found.append(_socket_call(probe))
    with out.block(f"if (!({' || '.join(f'({one})' for one in found)}))"):
        out.line("counters->no_packet++;")
        out.line("return 0;")


def write_view(out: Emitter, probe: Probe) -> None:
    """What filters, and the fields of packets, look through."""
    flags = f"{probe.hook.direction is Direction.OUTBOUND:d}, {_asks_interface(probe):d}"
    out.line(f"struct xcap_view view = xcap_view_of(hit, skb, access, &dynptr, scratch->bytes, {flags});")
    if reads_early(probe):
        out.line("if (hit->window_len > hit->linear_len)")
        out.line(f"\t{SEE_GATHERED}")
    if probe.needs >= Needs.LAYERS:
        out.line("struct xcap_layers layers;")
        out.line("xcap_find_layers(&view, hit->link, &layers);")
        out.line("xcap_forget_ways(hit, &layers);")
        # what is read piece by piece would be followed once for each length
        if probe.hook.sock is not None or is_mbuf(probe):
            out.line("xcap_forget_lengths(hit, &view);")


def _socket_call(probe: Probe) -> str:
    """C text that makes a packet up."""
    hook, kind = probe.hook, entry_kind(probe)
    request = hook.request and argument(kind, hook.request.place, "u64")
    message = hook.msg and argument(kind, hook.msg.place, "u64")
    arguments = (
        f"(const struct sock *){request or 'hit->socket'}",
        "skb" if hook.skb is not None else "NULL",
        message or "0",
        f"{Direction.INBOUND if hook.direction is Direction.INBOUND else Direction.OUTBOUND:d}, {hook.tcp_flags:#x}",
        f"access, &dynptr, scratch->bytes, {hook.msg is not None:d}",
    )
    return f"xcap_find_socket(hit, {', '.join(arguments)})"


def write_filters(
    out: Emitter, probe: Probe, context: Context, filters: dict[str, tuple[str, str]], wanted: int
) -> None:
    """Leave the program where a filter says no. Behind it there are the packet's first `wanted` bytes, as far as they
    can be read; and where a filter asked for bytes in pages, they are read, and it is asked again.
    """
    asked = [one for one in (probe.filter, *probe.inner) if one is not None]
    asks = asked and may_be_asked_again(code for one in asked for code in (one.ethernet, one.raw) if code is not None)
    if not may_gather(probe.hook) or not asks:
        _write_all_filters(out, probe, filters, "")
        if may_gather(probe.hook) and wanted:
            with out.block(f"if (xcap_lacks(hit, access, {wanted}))"):
                out.line(gathering(context, wanted))
        return
    _write_all_filters(out, probe, filters, f"if (xcap_lacks(hit, access, {context.reach}))")
    out.line(f"if (!xcap_lacks(hit, access, {wanted}))")
    out.line("\tgoto whole;")
    # for filters and for statements in one place, which the verifier follows for long; and no loop: it took none before
    # Linux 5.3, and up to 6.1 few of those that clang makes
    out.line("gather: ;")
    out.line(gathering(context, max(context.reach, wanted)))
    out.line(SEE_GATHERED)
    _write_all_filters(out, probe, filters, "")
    out.line("whole: ;")


def _write_all_filters(out: Emitter, probe: Probe, filters: dict[str, tuple[str, str]], unread: str) -> None:
    """`unread` is when more can be read."""
    if probe.filter is not None:
        ethernet, raw = filters[probe.filter.text]
        if raw == NEVER:
            with out.block(f"if (hit->link != {LinkType.EN10MB:d})"):
                out.line("counters->no_link++;")
                out.line("return 0;")
        _write_filter(out, "hit->link", "view", (ethernet, ethernet if raw == NEVER else raw), unread)
    for expression in probe.inner:
        with out.block():
            out.line("struct xcap_view inner;")
            out.line("u32 link = xcap_enter(&view, hit->link, &inner);")
            with out.block("if (!link)"):
                out.line("counters->no_match++;")
                out.line("return 0;")
            _write_filter(out, "link", "inner", filters[expression.text], unread)


def filters_of(probe: Probe) -> list[Filter]:
    """All tcpdump expressions of a probe."""
    return [*([probe.filter] if probe.filter is not None else []), *probe.inner, *expressions_of(probe)]


def has_inner(probe: Probe) -> bool:
    """Whether it looks into tunnels."""
    within = walk(probe.conditions)
    return bool(probe.inner) or any(isinstance(node, Matches) and node.inner for node in within)


def _asks_interface(probe: Probe) -> bool:
    """Whether a filter of the probe has `ifindex` in it."""
    codes = [code for f in filters_of(probe) for code in (f.ethernet, f.raw) if code]
    return any(Ancillary.IFINDEX in ancillary_loads([Instruction(*one) for one in code]) for code in codes)


def _write_filter(out: Emitter, link: str, view: str, functions: tuple[str, str], unread: str) -> None:
    """Leave the program where the filter of the packet's link type says no; `unread` is when more can be read."""
    ethernet, raw = functions
    call = f"{ethernet}(&{view})"
    if raw != ethernet:
        call = f"{link} == {LinkType.EN10MB:d} ? {call} : {raw}(&{view})"
    with out.block():
        out.line(f"u64 answer = {call};")
        with out.block("if (answer != XCAP_MATCH)"):
            with out.block(f"if (xcap_is_unread(&{view}, answer))"):
                if unread:
                    out.line(unread)
                    out.line("\tgoto gather;")
                out.line("counters->unread++;")
                out.line("return 0;")
            out.line("counters->no_match++;")
            out.line("return 0;")


def _write_limit(out: Emitter, probe: Probe, context: Context) -> None:
    """Give the ticket back when its packet was lost; the last ticket closes the gate and says so."""
    spec = context.declare(EventKind.LIMIT, EVENT, probe.span)
    with out.block("if (ticket && lost)"):
        out.line("__sync_fetch_and_add(&control->remaining, 1LL);")
    with out.block("else if (ticket == 1)"):
        out.line("control->live = 0;")
        out.line(f"struct xcap_event record = {{ .id = {record_id(spec)}, .cpu = bpf_get_smp_processor_id() }};")
        out.line("record.time = bpf_ktime_get_ns();")
        out.line("control->exited = 1;")
        out.line(f"{submission(context.buffer, '&record', 'sizeof(record)')};")
