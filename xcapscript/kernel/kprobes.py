"""Attaching to kernel functions: kprobes by perf events, many at once by kprobe.multi (Linux 5.18), and cookies, which
tell a program at which of its functions it is (5.15). All raise OSError with the kernel's errno.

Source: include/uapi/linux/bpf.h, kernel/trace/bpf_trace.c.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import struct
from collections.abc import Sequence
from pathlib import Path

from xcapscript.errors import KernelError
from xcapscript.kernel.kinds import AttachType, ProgramType
from xcapscript.kernel.libbpf import check, libc
from xcapscript.kernel.perfevents import enable, format_bit, open_probe, set_program
from xcapscript.kernel.typed import GET_ATTACH_COOKIE, Load, smallest_program

PMU = Path("/sys/bus/event_source/devices/kprobe")
_BPF = {"x86_64": 321, "aarch64": 280}
_BPF_LINK_CREATE = 28
_KPROBE_MULTI_RETURN = 1


@functools.cache
def has_cookies() -> bool:
    """Whether a program can be told where it is attached, asked by loading one that asks."""
    try:
        with smallest_program(Load(ProgramType.KPROBE), call=GET_ATTACH_COOKIE):
            return True
    except OSError:
        return False


@functools.cache
def has_multi(symbol: str) -> bool:
    """Whether one link can be at many functions, asked by making one, at this function."""
    try:
        with smallest_program(Load(ProgramType.KPROBE, AttachType.TRACE_KPROBE_MULTI)) as program:
            os.close(link_multi(program, [symbol], [0], returning=False))
    except OSError:
        return False
    return True


def link_multi(program: int, symbols: Sequence[str], cookies: Sequence[int], *, returning: bool) -> int:
    """A link at the entries, or the returns, of all these functions."""
    names = (ctypes.c_char_p * len(symbols))(*(symbol.encode() for symbol in symbols))
    numbers = (ctypes.c_uint64 * len(symbols))(*cookies)
    flags = _KPROBE_MULTI_RETURN if returning else 0
    places = (ctypes.addressof(names), 0, ctypes.addressof(numbers))
    attributes = struct.pack("=IIIIIIQQQ", program, 0, AttachType.TRACE_KPROBE_MULTI, 0, flags, len(symbols), *places)
    return _bpf(_BPF_LINK_CREATE, attributes)


def open_kprobe(symbol: str, offset: int, *, returning: bool) -> int:
    """A perf event at a function, `offset` bytes behind its beginning, or at its return; it is not enabled yet."""
    name = ctypes.create_string_buffer(symbol.encode())
    return open_probe(PMU, 1 << format_bit(PMU, "retprobe") if returning else 0, ctypes.addressof(name), offset)


def link_event(event: int, program: int, cookie: int) -> int | None:
    """A link of a program to a perf event, with its cookie; None where the kernel has no such links, but the program is
    attached until the event is closed.
    """
    try:
        link = _bpf(_BPF_LINK_CREATE, struct.pack("=IIIIQ", program, event, AttachType.PERF_EVENT, 0, cookie))
    except OSError:
        if has_cookies():
            # such links came with them: this is another reason, and without a cookie a program names a wrong function
            raise
        set_program(event, program)
        link = None
    try:
        enable(event)
    except OSError:
        if link is not None:
            os.close(link)
        raise
    return link


def _bpf(command: int, attributes: bytes) -> int:
    number = _BPF.get(platform.machine())
    if number is None:
        raise KernelError(f"probes are not supported on {platform.machine()}", advice="use a rawtracepoint")
    return check(libc().syscall(number, command, attributes, len(attributes)))
