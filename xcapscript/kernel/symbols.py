"""Kernel addresses to names, from /proc/kallsyms; and which frames of a stack are the tracing's own."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from xcapscript.types import STACK_SLACK

_DIGITS = 16
_CODE = b"tTwW"
# Symbols have no end: what is further away from one than any function is long lies between or behind them.
_LONGEST = 1 << 18

_PLUMBING = re.compile(
    r"bpf_prog_[0-9a-f]{16}|bpf_trace_run|__bpf_trace_|bpf_trampoline_|__traceiter_|perf_trace_|trace_call_bpf"
    r"|perf_call_bpf|perf_syscall|bpf_get_stack"
)


class Symbols:
    """The functions of the running kernel and its modules, read once, when first asked for."""

    def __init__(self, path: Path = Path("/proc/kallsyms")) -> None:
        self._path = path
        self._names: dict[int, str] = {}

    def resolve(self, address: int) -> str:
        """`name+0xOFFSET`, with ` [module]` behind it if it is in one; the address in hex where that is not known."""
        name = self._names.get(address)
        if name is None:
            name = self._names[address] = self._find(address) or hex(address)
        return name

    def _find(self, address: int) -> str | None:
        lines = self._lines
        key = b"%016x" % address
        at = bisect_right(lines, key, key=_address)
        if at == 0:
            return None
        base = _address(lines[at - 1])
        # Of several names of one address the kernel shows the first, too.
        while at > 1 and _address(lines[at - 2]) == base:
            at -= 1
        offset = address - int(base, 16)
        if offset >= _LONGEST:
            return None
        name, _, module = lines[at - 1][_DIGITS + 3 :].decode().partition("\t")
        return f"{name}+{offset:#x}{' ' if module else ''}{module}"

    @cached_property
    def _lines(self) -> list[bytes]:
        """The lines of functions, by address; none where the addresses are hidden (kernel.kptr_restrict)."""
        try:
            text = self._path.read_bytes()
        except OSError:
            return []
        lines = [line for line in text.splitlines() if line[_DIGITS + 1 : _DIGITS + 2] in _CODE]
        # The addresses have leading zeros, so that their digits sort as the numbers do.
        lines.sort(key=_address)
        return lines if lines and int(_address(lines[-1]), 16) else []


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
