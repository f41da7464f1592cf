"""Attaching to kernel functions: kprobes by perf events, many at once by kprobe.multi (Linux 5.18), and cookies, which
tell a program at which of its functions it is (5.15). All raise OSError with the kernel's errno.

Source: include/uapi/linux/bpf.h, include/uapi/linux/perf_event.h, kernel/trace/bpf_trace.c.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import os
import platform
import struct
from collections.abc import Sequence
from pathlib import Path

from xcapscript.errors import KernelError
from xcapscript.kernel.libbpf import check, libc
from xcapscript.kernel.typed import Load, load_copy

PMU = Path("/sys/bus/event_source/devices/kprobe")
BPF_PROG_TYPE_KPROBE = 2
BPF_PERF_EVENT, BPF_TRACE_KPROBE_MULTI = 41, 42
_BPF = {"x86_64": 321, "aarch64": 280}
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_BPF_LINK_CREATE = 28
_KPROBE_MULTI_RETURN = 1
_PERF_FLAG_FD_CLOEXEC = 1 << 3
_PERF_EVENT_IOC_ENABLE = 0x2400
_PERF_EVENT_IOC_SET_BPF = 0x40042408
_PERF_ATTR_SIZE_VER1 = 72
_GET_ATTACH_COOKIE = 174
_INSTRUCTION = struct.Struct("=BBhi")


@functools.cache
def has_cookies() -> bool:
    """Whether a program can be told where it is attached, asked by loading one that asks."""
    code = _INSTRUCTION.pack(0x85, 0, 0, _GET_ATTACH_COOKIE) + _END
    try:
        os.close(load_copy("xcap_asks", code, Load(BPF_PROG_TYPE_KPROBE)))
    except OSError:
        return False
    return True


@functools.cache
def has_multi(symbol: str) -> bool:
    """Whether one link can be at many functions, asked by making one, at this function."""
    try:
        program = load_copy("xcap_asks", _END, Load(BPF_PROG_TYPE_KPROBE, BPF_TRACE_KPROBE_MULTI))
    except OSError:
        return False
    try:
        os.close(link_multi(program, [symbol], [0], returning=False))
    except OSError:
        return False
    finally:
        os.close(program)
    return True


def link_multi(program: int, symbols: Sequence[str], cookies: Sequence[int], *, returning: bool) -> int:
    """A link at the entries, or the returns, of all these functions."""
    names = (ctypes.c_char_p * len(symbols))(*(symbol.encode() for symbol in symbols))
    numbers = (ctypes.c_uint64 * len(symbols))(*cookies)
    flags = _KPROBE_MULTI_RETURN if returning else 0
    places = (ctypes.addressof(names), 0, ctypes.addressof(numbers))
    attributes = struct.pack("=IIIIIIQQQ", program, 0, BPF_TRACE_KPROBE_MULTI, 0, flags, len(symbols), *places)
    return _bpf(_BPF_LINK_CREATE, attributes)


def open_kprobe(symbol: str, offset: int, *, returning: bool) -> int:
    """A perf event at a function, `offset` bytes behind its beginning, or at its return; it is not enabled yet."""
    name = ctypes.create_string_buffer(symbol.encode())
    return open_event(PMU, 1 << format_bit(PMU, "retprobe") if returning else 0, ctypes.addressof(name), offset)


def open_event(unit: Path, config: int, name: int, offset: int, process: int | None = None) -> int:
    """A perf event of a `unit` below /sys/bus/event_source/devices, at a name (its address) and an offset."""
    number = _PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        raise KernelError(f"kprobes are not supported on {platform.machine()}", advice="use a rawtracepoint")
    kind = int((unit / "type").read_text(encoding="ascii"))
    head = (kind, _PERF_ATTR_SIZE_VER1, config, 1, 0, 0, 1, 1, 0)
    attributes = struct.pack("=IIQQQQQIIQQ", *head, name, offset)
    # Of all processes one CPU will do: the program runs wherever the function is called.
    where = (-1, 0) if process is None else (process, -1)
    return check(libc().syscall(number, attributes, *where, -1, _PERF_FLAG_FD_CLOEXEC))


def link_event(event: int, program: int, cookie: int) -> int | None:
    """A link of a program to a perf event, with its cookie; None where the kernel has no such links, but the program is
    attached until the event is closed.
    """
    try:
        link = _bpf(_BPF_LINK_CREATE, struct.pack("=IIIIQ", program, event, BPF_PERF_EVENT, 0, cookie))
    except OSError:
        fcntl.ioctl(event, _PERF_EVENT_IOC_SET_BPF, program)
        link = None
    fcntl.ioctl(event, _PERF_EVENT_IOC_ENABLE, 0)
    return link


_END = _INSTRUCTION.pack(0xB7, 0, 0, 0) + _INSTRUCTION.pack(0x95, 0, 0, 0)


def format_bit(unit: Path, name: str) -> int:
    """The bit of `config` at which something begins, as in 'config:0' and 'config:32-63'."""
    text = (unit / "format" / name).read_text(encoding="ascii")
    return int(text.partition(":")[2].partition("-")[0])


def _bpf(command: int, attributes: bytes) -> int:
    number = _BPF.get(platform.machine())
    if number is None:
        raise KernelError(f"kprobes are not supported on {platform.machine()}", advice="use a rawtracepoint")
    return check(libc().syscall(number, command, attributes, len(attributes)))
