"""Attaching to functions of programs: perf events, which the kernel closes with their descriptors."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from xcapscript.kernel.perfevents import format_bit, open_probe

PMU = Path("/sys/bus/event_source/devices/uprobe")


def open_uprobe(path: str, offset: int, semaphore: int, process: int | None, *, returning: bool) -> int:
    """A perf event at a place of a file, or where the function there returns, in one process or in all; it is not
    enabled yet. The kernel counts it in the file's `semaphore`, unless that is 0. OSError with the kernel's errno.
    """
    config = 1 << format_bit(PMU, "retprobe") if returning else 0
    if semaphore:
        config |= semaphore << format_bit(PMU, "ref_ctr_offset")
    name = ctypes.create_string_buffer(os.fsencode(path))
    return open_probe(PMU, config, ctypes.addressof(name), offset, process)
