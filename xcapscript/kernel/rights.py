"""What this process may do: its capabilities, which of them a kind of hook takes, and what else can forbid it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from enum import IntEnum
from pathlib import Path

from xcapscript.errors import KernelError

STATUS = Path("/proc/self/status")
SYSCTL = Path("/proc/sys")
LOCKDOWN = Path("/sys/kernel/security/lockdown")
LAST = "kernel/cap_last_cap"
_UID_MAP = Path("/proc/self/uid_map")
_WHOLE_MACHINE = ["0", "0", "4294967295"]


class Capability(IntEnum):
    """Those of capabilities(7) that matter here, by their numbers."""

    DAC_READ_SEARCH = 2
    NET_ADMIN = 12
    NET_RAW = 13
    SYS_PTRACE = 19
    SYS_ADMIN = 21
    SYSLOG = 34
    PERFMON = 38
    BPF = 39

    def __str__(self) -> str:
        return f"CAP_{self.name}"


TRACING = (Capability.BPF, Capability.PERFMON)
"""What every program takes: it is loaded, and reads kernel memory. Linux 5.8 and later."""

FURTHER = {
    "xdp": (Capability.NET_ADMIN,),
    "tc": (Capability.NET_ADMIN,),
    "socket": (Capability.NET_RAW,),
    "AF_XDP": (Capability.NET_RAW,),
}
"""What kinds of hook take besides."""

UPROBES = frozenset({"uprobe", "uretprobe", "usdt"})

COVERED = frozenset({Capability.BPF, Capability.PERFMON, Capability.SYSLOG})
"""What CAP_SYS_ADMIN stands for as well (include/linux/capability.h)."""


def capabilities(status: Path = STATUS) -> frozenset[Capability]:
    """Those that are in effect; with CAP_SYS_ADMIN also those that it stands for."""
    lines = status.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    bits = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    found = frozenset(one for one in Capability if bits >> one & 1)
    return found | COVERED if Capability.SYS_ADMIN in found else found


def needed(kinds: Iterable[str], sysctl: Path = SYSCTL) -> tuple[Capability, ...]:
    """What programs at these kinds of hook take."""
    basic = TRACING if number(LAST, sysctl) is None or (number(LAST, sysctl) or 0) >= Capability.BPF else _BEFORE_5_8
    further = {one for kind in kinds for one in FURTHER.get(kind, ())}
    return (*basic, *sorted(further))


_CONTAINED = "this is a user namespace (a rootless container), whose capabilities do not count for BPF"
_BEFORE_5_8 = (Capability.SYS_ADMIN,)


def missing(kinds: Iterable[str], have: frozenset[Capability]) -> tuple[Capability, ...]:
    """What of that is not in effect."""
    return tuple(one for one in needed(kinds) if one not in have)


def number(name: str, sysctl: Path = SYSCTL) -> int | None:
    """The sysctl of that path, as kernel/kptr_restrict; None where it is not there."""
    try:
        return int((sysctl / name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def lockdown(path: Path = LOCKDOWN) -> str | None:
    """none, integrity or confidentiality; None where it cannot be known (securityfs is not mounted)."""
    try:
        text = path.read_text(encoding="ascii")
    except OSError:
        return None
    return text.partition("[")[2].partition("]")[0] or None


def in_user_namespace(uid_map: Path = _UID_MAP) -> bool:
    """Whether our capabilities are those of a container, which the kernel gives no BPF for."""
    try:
        return uid_map.read_text(encoding="ascii").split() != _WHOLE_MACHINE
    except OSError:
        return False


def names_are_hidden(have: frozenset[Capability]) -> bool:
    """Whether /proc/kallsyms shows us zeros for addresses (kallsyms_show_value() in kernel/ksyms_common.c)."""
    restrict = number("kernel/kptr_restrict") or 0
    for_perf = restrict == 0 and (number("kernel/perf_event_paranoid") or 0) <= 1
    return not for_perf and (restrict > 1 or Capability.SYSLOG not in have)


def hidden_names(have: frozenset[Capability]) -> str | None:
    """Why stacks have addresses in the place of names, and what helps; None where they have names."""
    if not names_are_hidden(have):
        return None
    restrict = number("kernel/kptr_restrict") or 0
    cure = "kernel.kptr_restrict is 2: try 1" if restrict > 1 else f"they take {Capability.SYSLOG}"
    return f"functions of the kernel have no names here: {cure}"


def reasons_for_refusal(have: frozenset[Capability], kinds: Collection[str]) -> Iterator[str]:
    """What may be behind the kernel's 'Operation not permitted', likeliest first."""
    if lacking := missing(kinds, have):
        yield f"{and_list(lacking)} {'is' if len(lacking) == 1 else 'are'} missing"
    if set(kinds) & UPROBES and Capability.SYS_ADMIN not in have:
        yield "CAP_SYS_ADMIN is missing, which newer kernels (6.16, and older ones with its fixes) want for uprobes"
    if in_user_namespace():
        yield _CONTAINED
    if (state := lockdown()) not in (None, "none"):
        yield f"the kernel is locked down ({state})"
    if not lacking:
        yield "a security module, or a container's filter of system calls, may forbid it"


def why_not_looked_at(have: frozenset[Capability] | None = None, *, root: bool | None = None) -> str:
    """Why a process of somebody else is closed to us (__ptrace_may_access() in kernel/ptrace.c), and what helps."""
    if Capability.SYS_PTRACE not in (capabilities() if have is None else have):
        if not (os.geteuid() == 0 if root is None else root):
            return "that needs root, or CAP_SYS_PTRACE"
        return "that takes CAP_SYS_PTRACE, which this root does not have (a container?): --cap-add SYS_PTRACE gives it"
    if in_user_namespace():
        return "this is a user namespace (a rootless container), and the process is outside of it"
    return "CAP_SYS_PTRACE is there: a security module may forbid it"


def require_rights(kinds: Collection[str]) -> None:
    """KernelError if this process may not run programs at these kinds of hook."""
    have = capabilities()
    lacking = missing(kinds, have)
    if in_user_namespace():
        raise KernelError(f"capturing does not work from here: {_CONTAINED}", advice="run it outside, as root")
    if not lacking:
        return
    basic = missing([], have)
    if basic == needed([]):
        advice = f"run it with sudo, or with {and_list(lacking)}; --check, --dump and -l work without"
        raise KernelError("capturing needs root", advice=advice)
    where = "" if basic else f" at {and_list(kind for kind in sorted(kinds) if missing([kind], have))} hooks"
    raise KernelError(
        f"capturing{where} needs {and_list(lacking)} as well", advice="run it with sudo, or see 'xcap --doctor'"
    )


def and_list(words: Iterable[object]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    texts = [str(word) for word in words]
    return " and ".join(text for text in (", ".join(texts[:-1]), texts[-1]) if text) if texts else ""
