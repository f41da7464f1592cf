"""What -i and -p name must be there: a name that is misspelt would match nothing for ever."""

from __future__ import annotations

from pathlib import Path

from xcapscript.diagnostics import did_you_mean
from xcapscript.errors import KernelError
from xcapscript.kernel.interfaces import known_interfaces, own_interfaces

_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""PROC_PID_INIT_INO in include/linux/proc_ns.h."""


def check_interface(name: str) -> str | None:
    """What is to be told of the interface of -i; KernelError if no namespace has it."""
    if name in own_interfaces():
        return None
    found = known_interfaces()
    if name in found.names:
        return None
    if not found.all:
        return f"no interface that can be seen from here is called '{name}'; without root some namespaces are closed"
    hints = [*did_you_mean(name, found.names), f'for one that is yet to come write /ifname == "{name}"/']
    raise KernelError(f"no interface is called '{name}', in any network namespace", advice=" ".join(hints))


def check_process(number: int, proc: Path = Path("/proc")) -> str | None:
    """What is to be told of the process of -p; KernelError if there is none."""
    if (proc / "self" / "ns" / "pid").stat().st_ino != _INITIAL_PID_NAMESPACE:
        return f"-p {number} is taken for a number of the whole machine, which this container counts otherwise"
    try:
        status = (proc / str(number) / "status").read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, ProcessLookupError):
        raise KernelError(f"there is no process {number}", advice="see 'ps -e', or pgrep NAME") from None
    group = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Tgid:"))
    if group != number:
        advice = f"try -p {group} for all its threads, or the condition tid == {number}"
        raise KernelError(f"{number} is a thread of process {group}", advice=advice)
    return None
