"""Whether each kind of hook works here: the smallest program is loaded, attached as the runtime does it, and taken off.

What needs a network interface is tried on the loopback of a namespace made for it, which goes with its thread.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum, auto
from fcntl import ioctl
from pathlib import Path

from xcapscript.elf.binary import Binary, NotReadable
from xcapscript.errors import KernelError
from xcapscript.kernel import bpf, kprobes, uprobes
from xcapscript.kernel.interfaces import CLONE_NEWNET
from xcapscript.kernel.kinds import AttachType, ProgramType
from xcapscript.kernel.libbpf import ENOTSUPP, check, libc, words
from xcapscript.kernel.rights import and_list, capabilities, missing, reasons_for_refusal
from xcapscript.kernel.tracefs import Tracefs
from xcapscript.kernel.typed import Load, smallest_program
from xcapscript.runtime.attach.held import let_go
from xcapscript.runtime.attach.kinds import ATTACH
from xcapscript.unit import TC_ACT_UNSPEC, XDP_PASS, Attachment, Device, HookKind, Site

FUNCTION = "ip_rcv"
"""A function that every kernel with IP has, and neither inlines nor renames."""

TRACEPOINT, RAW_TRACEPOINT = ("net", "netif_receive_skb"), "kfree_skb"

_SOL_XDP, _AF_XDP = 283, 44
_XDP_RX_RING, _XDP_UMEM_REG, _XDP_UMEM_FILL_RING, _XDP_UMEM_COMPLETION_RING = 2, 4, 5, 6
_XDP_COPY = 2
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_LOOPBACK = "lo"


class Verdict(Enum):
    """What came of a trial."""

    WORKS = auto()
    FAILS = auto()
    NOT_TRIED = auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether something works; how, or why not; and what to do about it."""

    verdict: Verdict
    note: str = ""
    advice: str = ""


class CannotWork(Exception):
    """The kernel was built without something: what, and what to do."""

    def __init__(self, note: str, advice: str = "") -> None:
        super().__init__(note)
        self.note = note
        self.advice = advice


def try_kind(name: str) -> Outcome:
    """What comes of a trial of the kind of that name, which is in TRIALS."""
    have = capabilities()
    if lacking := missing([name], have):
        return Outcome(Verdict.NOT_TRIED, f"it takes {and_list(lacking)}")
    try:
        return Outcome(Verdict.WORKS, TRIALS[name]())
    except CannotWork as error:
        return Outcome(Verdict.FAILS, error.note, error.advice)
    except KernelError as error:
        return Outcome(Verdict.FAILS, error.message, error.advice or "")
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            return Outcome(Verdict.FAILS, _words(error), next(reasons_for_refusal(have, [name])))
        return Outcome(Verdict.FAILS, _words(error), ADVICE.get(name, ""))


def _words(error: OSError) -> str:
    if error.errno in (ENOTSUPP, errno.EOPNOTSUPP):
        return "this kernel does not have it"
    return f"the kernel refuses it: {words(error.errno or 0)}"


def _attached(attachment: Attachment, how: Load, result: int = 0) -> str:
    """A kind that the runtime attaches."""
    with smallest_program(how, result) as program:
        for link in ATTACH[attachment.kind](attachment, [program], ()):
            let_go(link)
    return ""


def _tracepoint() -> str:
    category, name = TRACEPOINT
    found = Tracefs().tracepoint(category, name, lambda _: None)
    if found is None:
        raise CannotWork(f"this kernel has no tracepoint {category}:{name}")
    attachment = Attachment(HookKind.TRACEPOINT, f"{category}:{name}", found.id)
    return _attached(attachment, Load(ProgramType.TRACEPOINT))


def _raw_tracepoint() -> str:
    return _attached(Attachment(HookKind.RAWTRACEPOINT, RAW_TRACEPOINT), Load(ProgramType.RAW_TRACEPOINT))


def _typed() -> str:
    how = Load(ProgramType.TRACING, AttachType.TRACE_RAW_TP, RAW_TRACEPOINT)
    return _attached(Attachment(HookKind.RAWTRACEPOINT, RAW_TRACEPOINT), how)


def _trampoline(kind: HookKind, attach: AttachType) -> str:
    return _attached(_at_function(kind), Load(ProgramType.TRACING, attach, FUNCTION))


def _at_function(kind: HookKind) -> Attachment:
    return Attachment(kind, FUNCTION, functions=(FUNCTION,))


def _run_by_us() -> str:
    with smallest_program(Load(ProgramType.RAW_TRACEPOINT)) as program:
        bpf.test_run(program, b"")
    return ""


def _kprobe(kind: HookKind) -> str:
    _need(kprobes.PMU, "CONFIG_KPROBE_EVENTS", _KPROBES)
    return _attached(_at_function(kind), Load(ProgramType.KPROBE))


def _uprobe(kind: HookKind) -> str:
    """At the place where the interpreter's file begins to run, which only its next start comes through."""
    _need(uprobes.PMU, "CONFIG_UPROBE_EVENTS", "")
    path = Path(sys.executable)
    place = Attachment(kind, "start", functions=("start",), path=str(path), sites=(Site(_entry_offset(path)),))
    return _attached(place, Load(ProgramType.KPROBE))


def _usdt() -> str:
    _uprobe(HookKind.USDT)
    semaphores = uprobes.PMU / "format" / "ref_ctr_offset"
    return "" if semaphores.exists() else "but for those with a semaphore (Linux 4.20)"


def _need(pmu: Path, option: str, advice: str) -> None:
    """Refuse a kind of probe that perf_event_open(2) does not know."""
    if not pmu.exists():
        raise CannotWork(f"this kernel was built without {option}", advice)


def _entry_offset(path: Path) -> int:
    """Where in an ELF file the code begins that its start runs."""
    try:
        binary = Binary(path)
    except NotReadable as error:
        raise CannotWork(str(error)) from None
    offset = binary.offset(binary.entry)
    if offset is None:
        raise CannotWork(f"'{path}' has no code to try it at")
    return offset


def _kprobe_multi() -> str:
    with smallest_program(Load(ProgramType.KPROBE, AttachType.TRACE_KPROBE_MULTI)) as program:
        os.close(kprobes.link_multi(program, [FUNCTION], [0], returning=False))
    return ""


def _xdp() -> str:
    _attached(_at_loopback(HookKind.XDP, _LOOPBACK), Load(ProgramType.XDP), XDP_PASS)
    return "generic; native where a card's driver has it"


def _tc() -> str:
    return _attached(_at_loopback(HookKind.TC, f"{_LOOPBACK}:ingress"), Load(ProgramType.SCHED_CLS), TC_ACT_UNSPEC)


def _socket() -> str:
    return _attached(_at_loopback(HookKind.SOCKET, _LOOPBACK), Load(ProgramType.SOCKET_FILTER))


def _at_loopback(kind: HookKind, target: str) -> Attachment:
    return Attachment(kind, target, devices=(Device(_LOOPBACK),))


def _af_xdp() -> str:
    """A socket that copies, with four frames, bound to the first queue."""
    try:
        made = socket.socket(_AF_XDP, socket.SOCK_RAW, 0)
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:
            raise
        raise CannotWork("this kernel was built without CONFIG_XDP_SOCKETS") from None
    frames, size = 4, mmap.PAGESIZE
    with made, mmap.mmap(-1, frames * size) as memory:
        start = ctypes.c_char.from_buffer(memory)
        try:
            area = struct.pack("=QQIIII", ctypes.addressof(start), frames * size, size, 0, 0, 0)
            made.setsockopt(_SOL_XDP, _XDP_UMEM_REG, area)
            for ring in (_XDP_UMEM_FILL_RING, _XDP_UMEM_COMPLETION_RING, _XDP_RX_RING):
                made.setsockopt(_SOL_XDP, ring, frames)
            address = struct.pack("=HHIII", _AF_XDP, _XDP_COPY, socket.if_nametoindex(_LOOPBACK), 0, 0)
            # the socket module knows no addresses of this family
            check(libc().bind(made.fileno(), address, len(address)))
        finally:
            del start
    return "copying; without copies where a card's driver has it"


def _on_loopback(trial: Callable[[], str]) -> Callable[[], str]:
    """The trial, on the loopback of a namespace of its own; on ours, where that is not allowed."""

    def run() -> str:
        if libc().unshare(CLONE_NEWNET) == 0:
            _set_up()
        return trial()

    def within() -> str:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(run).result()

    return within


def _set_up() -> None:
    """Set the loopback of this thread's namespace up (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("=16sH22x", _LOOPBACK.encode(), _IFF_UP))


_KPROBES = "use a tracepoint (xcap -l), or run a kernel that has it"
_TRAMPOLINES = "use a tracepoint or a kprobe; it takes CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS, and BPF's JIT"
_MULTI = "wildcards are attached one by one instead; it takes Linux 5.18 and CONFIG_FPROBE"

ADVICE: Mapping[str, str] = {
    "kprobe": _KPROBES,
    "kretprobe": _KPROBES,
    "kprobe.multi": _MULTI,
    "fentry": _TRAMPOLINES,
    "fexit": _TRAMPOLINES,
    "typed": "packets are read up to 16,384 bytes, without what is in pages; it takes Linux 5.5 and BTF",
    "xdp": "it takes Linux 5.9",
}
"""What to do where the kernel says no, without more words."""

TRIALS: Mapping[str, Callable[[], str]] = {
    "tracepoint": _tracepoint,
    "rawtracepoint": _raw_tracepoint,
    "typed": _typed,
    "kprobe": lambda: _kprobe(HookKind.KPROBE),
    "kretprobe": lambda: _kprobe(HookKind.KRETPROBE),
    "kprobe.multi": _kprobe_multi,
    "fentry": lambda: _trampoline(HookKind.FENTRY, AttachType.TRACE_FENTRY),
    "fexit": lambda: _trampoline(HookKind.FEXIT, AttachType.TRACE_FEXIT),
    "uprobe": lambda: _uprobe(HookKind.UPROBE),
    "uretprobe": lambda: _uprobe(HookKind.URETPROBE),
    "usdt": _usdt,
    "xdp": _on_loopback(_xdp),
    "tc": _on_loopback(_tc),
    "socket": _on_loopback(_socket),
    "AF_XDP": _on_loopback(_af_xdp),
    "interval": _run_by_us,
    "begin": _run_by_us,
    "end": _run_by_us,
}
"""Every kind of hook, and the ways to them that only some kernels have; the note tells more of one that works."""
