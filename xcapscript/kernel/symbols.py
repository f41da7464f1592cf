"""Kernel addresses to names, from /proc/kallsyms; and which frames of a stack are the tracing's own."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from xcapscript.types import STACK_SLACK

_DIGITS = 16
_CODE = b"tTwW"
# Symbols have no end: what is further away from one than any function is long lies between or behind them.
_LONGEST = 1 << 18
_USUAL = 1 << 12
_BPF = "[bpf]"
_BETWEEN_READINGS = 1.0
"""Seconds: a reading takes about a tenth of one."""

_PLUMBING = re.compile(
    r"bpf_prog_[0-9a-f]{16}|bpf_trace_run|__bpf_trace_|bpf_trampoline_|__traceiter_|perf_trace_|trace_call_bpf"
    r"|perf_call_bpf|perf_syscall|bpf_get_stack"
)


class Symbols:
    """The functions of the running kernel, its modules and its BPF programs, read when first asked for.

    Modules and programs come and go. An address that is not known is looked up again in a fresh reading, once, and no
    two readings are within a second.
    """

    def __init__(self, path: Path = Path("/proc/kallsyms"), clock: Callable[[], float] = monotonic) -> None:
        self._path = path
        self._clock = clock
        self._names: dict[int, str] = {}
        self._lines: list[bytes] = []
        self._read_at: float | None = None

    def resolve(self, address: int) -> str:
        """`name+0xOFFSET`, with ` [module]` behind it if it is in one; the address in hex where that is not known."""
        name = self._names.get(address)
        if name is None:
            name, known = self._look_up(address)
            if known:
                self._names[address] = name
        return name

    def _look_up(self, address: int) -> tuple[str, bool]:
        """The name, and whether another reading would find no other."""
        now = self._clock()
        fresh = self._read_at is None
        if fresh:
            self._read(now)
        name, sure = self._find(address)
        if not sure and not fresh and self._read_at is not None and now - self._read_at >= _BETWEEN_READINGS:
            self._read(now)
            name, fresh = self._find(address)[0], True
        return name or hex(address), sure or fresh

    def _find(self, address: int) -> tuple[str | None, bool]:
        """The name, and whether it must be right.

        The kernel's own functions stay where they are. What is far behind the last known function of a module may be
        newer than the reading, and of BPF programs, which lie close together, everything may.
        """
        lines = self._lines
        key = b"%016x" % address
        at = bisect_right(lines, key, key=_address)
        if at == 0:
            return None, False
        base = _address(lines[at - 1])
        # Of several names of one address the kernel shows the first, too.
        while at > 1 and _address(lines[at - 2]) == base:
            at -= 1
        offset = address - int(base, 16)
        if offset >= _LONGEST:
            return None, False
        name, _, module = lines[at - 1][_DIGITS + 3 :].decode().partition("\t")
        sure = not module or (module != _BPF and offset < _USUAL)
        return f"{name}+{offset:#x}{' ' if module else ''}{module}", sure

    def _read(self, now: float) -> None:
        """The lines of functions, by address; none where the addresses are hidden (kernel.kptr_restrict)."""
        self._read_at = now
        try:
            text = self._path.read_bytes()
        except OSError:
            text = b""
        lines = [line for line in text.splitlines() if line[_DIGITS + 1 : _DIGITS + 2] in _CODE]
        # The addresses have leading zeros, so that their digits sort as the numbers do.
        lines.sort(key=_address)
        self._lines = lines if lines and int(_address(lines[-1]), 16) else []


def strip_entry(frames: Sequence[str]) -> Sequence[str]:
    """The resolved frames, innermost first, without those of the BPF program and of the tracepoint that called it.

    At most STACK_SLACK are taken off. One without a name goes if one of these follows it: it is the program's own,
    where net.core.bpf_jit_kallsyms hides its name.
    """
    own = 0
    for number, frame in enumerate(frames[:STACK_SLACK], 1):
        if _PLUMBING.match(frame):
            own = number
        elif not frame.startswith("0x"):
            break
    return frames[own:]


def _address(line: bytes) -> bytes:
    return line[:_DIGITS]
