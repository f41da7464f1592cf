"""Probes of returning functions: what they were entered with is saved then, and looked at when they return."""

from __future__ import annotations

from xcapscript.builtins import Needs
from xcapscript.codegen.access import becomes_skb
from xcapscript.codegen.emitter import Emitter
from xcapscript.codegen.shell import argument
from xcapscript.codegen.stmt import Context
from xcapscript.ir import REGISTERS, Probe
from xcapscript.nodes.expressions import ArgumentValue, PacketPointer
from xcapscript.nodes.hook import NO_RESULT, RESULT
from xcapscript.nodes.walk import walk
from xcapscript.unit import ENTRIES, USER_KINDS, HookKind

LARGEST_SAVED = 2048
"""Bytes of a packet that are saved at most."""

CALLS = 2048
"""Calls that may be under way at once; of more, the oldest are forgotten."""

PLACE_BITS = 13
"""Of a cookie, those that hold the index of a program's function: MOST_FUNCTIONS of them."""

LEAST_SAVED = 256
"""Bytes that there is room for at least: those of the window."""

SLACK = 1024
"""XCAP_FRAG_PIECE: room that reading by pieces needs behind a packet's bytes; XCAP_FRONT, for two parts, is less."""


def entry_kind(probe: Probe) -> HookKind:
    """The kind of hook at which its packet is seen."""
    kind = probe.hook.attachment.kind
    return kind if kind in USER_KINDS else ENTRIES.get(kind, kind)


def keeps_entry(probe: Probe) -> bool:
    """Whether something of what the function was entered with is asked for when it returns."""
    kind = probe.hook.attachment.kind
    if kind not in ENTRIES or kind in USER_KINDS:
        return False
    return probe.needs >= Needs.SKB or (kind is HookKind.KRETPROBE and _reads_arguments(probe))


def _reads_arguments(probe: Probe) -> bool:
    nodes = walk((*probe.conditions, *probe.body))
    return any(
        isinstance(node, PacketPointer)
        or (isinstance(node, ArgumentValue) and node.argument.place not in (RESULT, NO_RESULT))
        for node in nodes
    )


def bytes_saved(context: Context) -> int:
    """How many bytes of a packet are saved."""
    return max(min(context.snaplen, LARGEST_SAVED), LEAST_SAVED)


def saved_size(context: Context) -> int:
    """How large the struct of saved_text() is, or a little more than that."""
    return 768 + bytes_saved(context) + SLACK


def saved_text(context: Context) -> tuple[str, str]:
    """The struct of what is saved for a call, and its map."""
    number = context.program
    text = (
        f"struct xcap_saved_{number} {{\n\tu64 arguments[{REGISTERS}];\n\tu64 has_skb;\n\tstruct xcap_hit hit;\n"
        f"\tstruct sk_buff skb;\n\tu8 bytes[{bytes_saved(context) + SLACK}];\n}};\n\n"
    )
    table = f"struct xcap_saved_{number}, xcap_saved_{number}_map, {CALLS});"
    return text, f'\nBPF_TABLE("lru_hash", u64, {table}'


def _call(probe: Probe, *, entered: bool) -> str:
    """C for what tells calls at the same time apart, and is the same when a call begins and when it ends: where its
    stack is, or the trampoline's copy of the arguments.
    """
    if probe.hook.attachment.kind is HookKind.FEXIT:
        return "xcap_scalar(&hit->room, (u64)ctx)"
    return "XCAP_CALL_OF_ENTRY(ctx)" if entered else "XCAP_CALL_OF_RETURN(ctx)"


def write_saved(out: Emitter, probe: Probe, context: Context) -> None:
    """Save the arguments, and the packet as far as it is asked for."""
    number, kept = context.program, bytes_saved(context)
    out.line("scratch->saved.has_skb = skb != NULL;")
    if probe.hook.attachment.kind is HookKind.KRETPROBE:
        for place in range(REGISTERS):
            out.line(f"scratch->saved.arguments[{place}] = {argument(HookKind.KPROBE, place, 'u64')};")
    if probe.needs >= Needs.PACKET:
        out.line(f"u64 kept = hit->cap_len < {kept} ? hit->cap_len : {kept};")
        out.line('asm volatile("" : "+r"(kept));')
        if probe.hook.sock is not None:
            # the headers that were made up are in the window alone
            with out.block("if (hit->synthetic)"):
                arguments = f"scratch->bytes, kept, {kept}, {context.has_message:d}"
                out.line(f"hit->window_len = xcap_read_made(hit, skb, access, &dynptr, {arguments});")
                out.line(f"bpf_probe_read_kernel(scratch->saved.bytes, {kept}, scratch->bytes);")
        otherwise = "else " if probe.hook.sock is not None else ""
        with out.block(f"{otherwise}if (kept > hit->window_len)"):
            out.line(
                f"hit->window_len = xcap_read_packet(hit, skb, access, &dynptr, scratch->saved.bytes, kept, {kept});"
            )
        with out.block("else"):
            out.line(f"bpf_probe_read_kernel(scratch->saved.bytes, {kept}, scratch->bytes);")
            out.line("if (hit->window_len > kept)")
            out.line("\thit->window_len = kept;")
    out.line("bpf_probe_read_kernel(&scratch->saved.hit, sizeof(*hit), hit);")
    if becomes_skb(probe.hook) and probe.needs >= Needs.SKB:
        out.line("bpf_probe_read_kernel(&scratch->saved.skb, sizeof(*skb), &scratch->skb);")
    out.line(f"u64 call = {_call(probe, entered=True)};")
    out.line(f"xcap_saved_{number}_map.update(&call, &scratch->saved);")


def write_restored(out: Emitter, probe: Probe, context: Context) -> None:
    """Have what was saved when the function was entered; without it the program is left, for then it did not match."""
    number, kept = context.program, bytes_saved(context)
    out.line(f"u64 call = {_call(probe, entered=False)};")
    out.line(f"struct xcap_saved_{number} *saved = xcap_saved_{number}_map.lookup(&call);")
    with out.block("if (!saved)"):
        out.line("return 0;")
    out.line("bpf_probe_read_kernel(&scratch->saved, sizeof(scratch->saved), saved);")
    out.line(f"xcap_saved_{number}_map.delete(&call);")
    out.line("bpf_probe_read_kernel(hit, sizeof(*hit), &scratch->saved.hit);")
    if becomes_skb(probe.hook) and probe.needs >= Needs.SKB:
        out.line("skb = scratch->saved.has_skb ? &scratch->saved.skb : NULL;")
        out.line('asm volatile("" : "+r"(skb));')
    if probe.needs >= Needs.PACKET:
        out.line(f"bpf_probe_read_kernel(scratch->bytes, {kept}, scratch->saved.bytes);")
        out.line("xcap_saved_alone(hit, xcap_scalar(&hit->room, (u64)scratch->bytes));")
    out.line("xcap_returned(hit);")
