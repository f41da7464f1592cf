"""The C functions of bpf/probes/: one template for each kind of hook, and how its arguments are reached."""

from __future__ import annotations

from string import Template

from xcapscript.codegen.literals import c_comment, c_identifier, c_int
from xcapscript.nodes.hook import NO_RESULT, RESULT, Operand
from xcapscript.resources import bpf_directory
from xcapscript.unit import HookKind

SLOTS = {"TITLE", "FUNCTION", "BODY"}

TEMPLATES = {
    HookKind.KPROBE: "kprobe.c",
    HookKind.KRETPROBE: "kprobe.c",
    HookKind.FENTRY: "rawtracepoint.c",
    HookKind.FEXIT: "rawtracepoint.c",
    HookKind.UPROBE: "kprobe.c",
    HookKind.URETPROBE: "kprobe.c",
    HookKind.USDT: "kprobe.c",
    HookKind.RAWTRACEPOINT: "rawtracepoint.c",
    HookKind.TRACEPOINT: "tracepoint.c",
    HookKind.XDP: "xdp.c",
    HookKind.TC: "tc.c",
    HookKind.SOCKET: "socket.c",
    HookKind.INTERVAL: "timer.c",
    HookKind.BEGIN: "timer.c",
    HookKind.END: "timer.c",
}


def function_text(kind: HookKind, title: str, function: str, body: str) -> str:
    """The C function of one program."""
    template = Template((bpf_directory() / "probes" / TEMPLATES[kind]).read_text(encoding="utf-8"))
    assert set(template.get_identifiers()) == SLOTS
    return template.substitute(TITLE=c_comment(title), FUNCTION=c_identifier(function), BODY=body)


def argument(kind: HookKind, place: int | Operand, ctype: str) -> str:
    """C text of an argument of the hook, as `ctype`."""
    if place == NO_RESULT:
        return f"(({ctype})0)"
    if isinstance(place, Operand):
        return f"(({ctype}){_operand(place)})"
    match kind:
        case HookKind.XDP | HookKind.TC | HookKind.SOCKET:
            return f"(({ctype})ctx)"
        case HookKind.RAWTRACEPOINT | HookKind.FENTRY | HookKind.FEXIT:
            return f"(({ctype})ctx->args[{place:d}])"
        case HookKind.KRETPROBE | HookKind.URETPROBE if place == RESULT:
            return f"(({ctype})PT_REGS_RC(ctx))"
        case HookKind.KRETPROBE:
            return f"(({ctype})scratch->saved.arguments[{place:d}])"
        case HookKind.URETPROBE:
            return f"(({ctype})scratch->arguments.at[{place:d}])"
        case HookKind.KPROBE | HookKind.UPROBE:
            return f"(({ctype})PT_REGS_PARM{place + 1:d}(ctx))"
        case _:
            return f"(*({ctype} *)((char *)ctx + {place:d}))"


def _operand(place: Operand) -> str:
    """C text of a static probe's argument, as wide as it says."""
    if place.constant is not None:
        return c_int(place.constant)
    value = f"ctx->{c_identifier(place.register)}"
    if place.in_memory:
        index = f" + ctx->{c_identifier(place.index)} * {place.scale:d}" if place.index else ""
        value = f"xcap_peek_user(counters, {value}{index} + {place.offset:d}, {place.bits // 8:d})"
    elif place.shift:
        value = f"({value} >> {place.shift:d})"
    return f"({'s' if place.signed else 'u'}{place.bits:d}){value}"
