"""perf_event_open(2): what tracepoints, kprobes and uprobes hang on, and the buffers that programs write to. All raise
OSError with the kernel's errno.

Source: include/uapi/linux/perf_event.h, kernel/events/core.c.
"""

from __future__ import annotations

import fcntl
import os
import platform
import struct
from pathlib import Path

from xcapscript.errors import KernelError
from xcapscript.kernel.libbpf import check, libc

_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_PERF_TYPE_SOFTWARE = 1
_PERF_TYPE_TRACEPOINT = 2
_PERF_COUNT_SW_BPF_OUTPUT = 10
_PERF_SAMPLE_RAW = 1 << 10
_PERF_ATTR_DISABLED = 1 << 0
_PERF_ATTR_WATERMARK = 1 << 14
_PERF_FLAG_FD_CLOEXEC = 1 << 3
_PERF_EVENT_IOC_ENABLE = 0x2400
_PERF_EVENT_IOC_SET_BPF = 0x40042408
_ATTRIBUTES = struct.Struct("=IIQQQQQIIQQ")
"""struct perf_event_attr, as it was in its second version."""


def open_tracepoint(event_id: int, program: int) -> int:
    """Attach to the tracepoint of that id (tracefs `events/CATEGORY/NAME/id`) until the descriptor is closed."""
    event = _open(_PERF_TYPE_TRACEPOINT, event_id, flags=_PERF_ATTR_DISABLED)
    try:
        set_program(event, program)
        enable(event)
    except OSError:
        os.close(event)
        raise
    return event


def open_output(cpu: int) -> int:
    """What a program's records on this CPU go to, once it is mapped and in a map of perf events. Nobody is woken up."""
    kind, config = _PERF_TYPE_SOFTWARE, _PERF_COUNT_SW_BPF_OUTPUT
    return _open(kind, config, flags=_PERF_ATTR_WATERMARK, wake_up=0xFFFFFFFF, who=(-1, cpu))


def open_probe(unit: Path, config: int, name: int, offset: int, process: int | None = None) -> int:
    """A perf event of a `unit` below /sys/bus/event_source/devices, at a name (its address) and an offset; it is not
    enabled yet.
    """
    kind = int((unit / "type").read_text(encoding="ascii"))
    who = (-1, 0) if process is None else (process, -1)
    return _open(kind, config, flags=_PERF_ATTR_DISABLED, sample=0, place=(name, offset), who=who)


def set_program(event: int, program: int) -> None:
    """Have the program run whenever the event is hit."""
    fcntl.ioctl(event, _PERF_EVENT_IOC_SET_BPF, program)


def enable(event: int) -> None:
    """Let it be hit."""
    fcntl.ioctl(event, _PERF_EVENT_IOC_ENABLE, 0)


def format_bit(unit: Path, name: str) -> int:
    """The bit of `config` at which something begins, as in 'config:0' and 'config:32-63'."""
    text = (unit / "format" / name).read_text(encoding="ascii")
    return int(text.partition(":")[2].partition("-")[0])


def _open(
    kind: int,
    config: int,
    *,
    flags: int,
    sample: int = _PERF_SAMPLE_RAW,
    wake_up: int = 1,
    place: tuple[int, int] = (0, 0),
    who: tuple[int, int] = (-1, 0),
) -> int:
    """An event, for a process and a CPU. Of all processes (-1) one CPU will do: a program runs wherever it is hit."""
    number = _PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        message = f"tracepoints, probes and perf buffers are not supported on {platform.machine()}"
        raise KernelError(message, advice="use rawtracepoint: hooks, and --buffer ring")
    head = (kind, _ATTRIBUTES.size, config, 1, sample, 0, flags, wake_up, 0)
    return check(libc().syscall(number, _ATTRIBUTES.pack(*head, *place), *who, -1, _PERF_FLAG_FD_CLOEXEC))
