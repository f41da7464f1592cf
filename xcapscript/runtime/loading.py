"""How each program of a unit is loaded: by BCC, or in one or more copies by libbpf."""

from __future__ import annotations

from typing import assert_never

from xcapscript.kernel.kinds import AttachType, ProgramType
from xcapscript.kernel.kprobes import has_cookies, has_multi
from xcapscript.kernel.typed import BPF_F_XDP_HAS_FRAGS, Load, has_xdp_frags
from xcapscript.unit import Attachment, HookKind, Program


def loads(program: Program, kind: HookKind) -> list[Load]:
    """A load for each copy: of the program itself, or, with the kind of what it is attached to, of its entry."""
    attachment = program.attachment
    match kind:
        case HookKind.RAWTRACEPOINT:
            return [Load(ProgramType.RAW_TRACEPOINT, AttachType.TRACE_RAW_TP, attachment.target)]
        case HookKind.TRACEPOINT:
            return [Load(ProgramType.TRACEPOINT)]
        case HookKind.SOCKET:
            return [Load(ProgramType.SOCKET_FILTER)]
        case HookKind.TC:
            return [Load(ProgramType.SCHED_CLS)]
        case HookKind.XDP:
            return [Load(ProgramType.XDP, flags=BPF_F_XDP_HAS_FRAGS if has_xdp_frags() else 0)]
        case HookKind.INTERVAL | HookKind.BEGIN | HookKind.END:
            # run by user space through BPF_PROG_TEST_RUN, which raw tracepoints have without a context (kernel 5.10)
            return [Load(ProgramType.RAW_TRACEPOINT)]
        case HookKind.KPROBE | HookKind.KRETPROBE | HookKind.UPROBE | HookKind.URETPROBE | HookKind.USDT:
            if at_once(attachment):
                return [Load(ProgramType.KPROBE, AttachType.TRACE_KPROBE_MULTI)]
            if not program.cookies or has_cookies():
                return [Load(ProgramType.KPROBE)]
            return [Load(ProgramType.KPROBE, cookie=cookie) for cookie in program.cookies]
        case HookKind.FENTRY | HookKind.FEXIT:
            attach = AttachType.TRACE_FENTRY if kind is HookKind.FENTRY else AttachType.TRACE_FEXIT
            cookies = program.cookies or (None,)
            return [
                Load(ProgramType.TRACING, attach, name, attachment.module, cookie)
                for name, cookie in zip(attachment.functions, cookies, strict=True)
            ]
        case _:
            assert_never(kind)


def at_once(attachment: Attachment) -> bool:
    """Whether one link is at all functions of a program."""
    return len(attachment.functions) > 1 and not attachment.path and has_multi(attachment.functions[0])
