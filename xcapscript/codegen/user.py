"""Probes of programs: the kernel may run another task within one, and so a program takes turns with itself."""

from __future__ import annotations

from dataclasses import asdict

from xcapscript.builtins import Needs
from xcapscript.codegen.emitter import Emitter
from xcapscript.codegen.literals import c_comment
from xcapscript.codegen.shell import argument
from xcapscript.ir import REGISTERS, PacketForm, Probe
from xcapscript.nodes.expressions import ArgumentValue
from xcapscript.nodes.hook import RESULT
from xcapscript.nodes.walk import walk
from xcapscript.unit import USER_KINDS, HookKind

CALLS = 4096
"""Calls that may be under way at once, in all threads; of more, the oldest are forgotten."""

GIVEN = "__sync_lock_test_and_set(&scratch->busy, 0ULL);"
PACKETS_A_CALL = 2
"""The kernel allows 33 tail calls (MAX_TAIL_CALL_CNT), and a burst of 64 packets is to be seen whole."""

PARAMETERS = (
    "struct pt_regs *ctx, struct xcap_control *control, struct xcap_counters *counters, "
    "struct xcap_scratch_{number} *scratch"
)


def is_user(probe: Probe) -> bool:
    """Whether it is in a program, and not in the kernel."""
    return probe.hook.attachment.kind in USER_KINDS


def inner_text(number: int, title: str, body: str) -> str:
    """The function that does what is to be done at one hit."""
    head = f"/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */\n/* {c_comment(title)} */\n"
    parameters = PARAMETERS.format(number=number)
    return f"{head}XCAP_INLINE int xcap_hit_{number}({parameters})\n{{\n{body}\treturn 0;\n}}"


def write_turn(out: Emitter, probe: Probe, number: int) -> None:
    """Call it, unless it is being called on this CPU: that task has been preempted, and this hit is lost."""
    _write_taken(out, probe)
    out.line(f"xcap_hit_{number}(ctx, control, counters, scratch);")
    out.line("counters->bad_reads += scratch->hit.faults;")
    out.line("scratch->hit.faults = 0;")
    out.line(GIVEN)


def _write_taken(out: Emitter, probe: Probe) -> None:
    with out.block("if (__sync_lock_test_and_set(&scratch->busy, 1ULL))"):
        out.line("__sync_fetch_and_add(&counters->hits, 1ULL);")
        out.line("__sync_fetch_and_add(&counters->lost, 1ULL);")
        out.line("return 0;")
    if keeps_arguments(probe):
        out.line("scratch->arguments = arguments;")


def is_mbuf(probe: Probe) -> bool:
    """Whether its packets are DPDK's, in one piece or several."""
    return probe.hook.packet is not None and probe.hook.packet.form in (PacketForm.MBUF, PacketForm.MBUFS)


def is_burst(probe: Probe) -> bool:
    """Whether a hit has several packets, each of which is seen as a hit of its own."""
    return probe.hook.packet is not None and probe.hook.packet.form is PacketForm.MBUFS


def write_burst(out: Emitter, probe: Probe, number: int) -> None:
    """Take the turn, as write_turn() does, and look at one packet after another: the function that does it calls itself
    (a tail call), since of a loop the verifier would look at every turn.
    """
    packet, kind = probe.hook.packet, probe.hook.attachment.kind
    assert packet is not None
    assert packet.count is not None
    _write_taken(out, probe)
    out.line(f"scratch->burst.list = {argument(kind, packet.pointer.place, 'u64')};")
    out.line(f"scratch->burst.count = {argument(kind, packet.count.place, 'u32')};")
    out.line("scratch->burst.next = 0;")
    with out.block("if (scratch->burst.count && scratch->burst.count <= XCAP_LONGEST)"):
        out.line(f"xcap_turns_{number}.call(ctx, 0);")
    out.line(GIVEN)


def write_packets(out: Emitter, number: int) -> None:
    """Look at some packets of a burst; those beyond the last call that the kernel allows are counted as unread."""
    out.line("struct xcap_burst *burst = &scratch->burst;")
    out.directive("#pragma clang loop unroll(disable)")
    with out.block(f"for (u32 turn = 0; turn < {PACKETS_A_CALL} && burst->next < burst->count; turn++)"):
        with out.block("if (!control->live)"):
            out.line("burst->next = burst->count;")
            out.line("break;")
        with out.block("if (xcap_next_mbuf(&scratch->hit, burst))"):
            out.line(f"xcap_hit_{number}(ctx, control, counters, scratch);")
        with out.block("else"):
            out.line("counters->hits++;")
            out.line("counters->no_packet++;")
    with out.block("if (burst->next < burst->count)"):
        out.line(f"xcap_turns_{number}.call(ctx, 0);")
        out.line("counters->hits += burst->count - burst->next;")
        out.line("counters->unread += burst->count - burst->next;")
    out.line("counters->bad_reads += scratch->hit.faults;")
    out.line("scratch->hit.faults = 0;")
    out.line(GIVEN)


def keeps_arguments(probe: Probe) -> bool:
    """Whether a function's arguments are asked for when it returns, and so are saved when it is entered."""
    if probe.hook.attachment.kind is not HookKind.URETPROBE:
        return False
    packet = probe.hook.packet
    bound = [one for one in (packet.pointer, packet.count) if one] if packet and probe.needs >= Needs.PACKET else []
    read = [node.argument for node in walk((*probe.conditions, *probe.body)) if isinstance(node, ArgumentValue)]
    return any(argument.place != RESULT for argument in (*bound, *read))


def saved_text(number: int) -> str:
    """The map of the arguments that calls under way were entered with."""
    types = "struct xcap_call, struct xcap_arguments"
    return f'\nBPF_TABLE("lru_hash", {types}, xcap_saved_{number}_map, {CALLS});'


def turns_name(number: int) -> str:
    """The map through which the function of a burst calls itself."""
    return f"xcap_turns_{number}"


def write_entered(out: Emitter, number: int) -> None:
    """Save the arguments of a call."""
    out.line("struct xcap_call call;")
    out.line("struct xcap_arguments arguments;")
    out.line("xcap_call_of(&call, XCAP_CALL_OF_ENTRY(ctx));")
    for place in range(REGISTERS):
        out.line(f"arguments.at[{place}] = {argument(HookKind.UPROBE, place, 'u64')};")
    out.line(f"xcap_saved_{number}_map.update(&call, &arguments);")


def write_arguments(out: Emitter, number: int) -> None:
    """Have those that were saved; without them the program is left, as nobody looked when the call began."""
    out.line("struct xcap_call call;")
    out.line("xcap_call_of(&call, XCAP_CALL_OF_RETURN(ctx));")
    out.line(f"struct xcap_arguments *saved = xcap_saved_{number}_map.lookup(&call), arguments;")
    with out.block("if (!saved)"):
        out.line("return 0;")
    out.line("arguments = *saved;")
    out.line(f"xcap_saved_{number}_map.delete(&call);")


def write_buffer_found(out: Emitter, probe: Probe) -> None:
    """Find the packet in the program's memory."""
    packet, kind = probe.hook.packet, probe.hook.attachment.kind
    assert packet is not None
    assert packet.link is not None
    if packet.form is not PacketForm.BUFFER:
        assert packet.layout is not None
        places = ", ".join(f".{name} = {place:d}" for name, place in asdict(packet.layout).items())
        out.line(f"const struct xcap_mbuf_layout layout = {{ {places} }};")
        mbuf = "scratch->burst.mbuf" if is_burst(probe) else argument(kind, packet.pointer.place, "u64")
        with out.block(f"if (!xcap_find_mbuf(hit, {mbuf}, layout, {packet.link:d}, scratch->bytes))"):
            out.line("counters->no_packet++;")
            out.line("return 0;")
        return
    assert packet.count is not None
    start, length = argument(kind, packet.pointer.place, "u64"), argument(kind, packet.count.place, "u32")
    with out.block(f"if (!xcap_find_buffer(hit, {start}, {length}, {packet.link:d}, scratch->bytes))"):
        out.line("counters->no_packet++;")
        out.line("return 0;")
