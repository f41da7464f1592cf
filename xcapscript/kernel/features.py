"""What the running kernel can do, asked by doing it: the smallest program of a type, the smallest map."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from xcapscript.kernel import bpf
from xcapscript.kernel.libbpf import check, load
from xcapscript.kernel.typed import Load, load_copy

_INSTRUCTION = struct.Struct("=BBhi")
_MOVE, _EXIT = 0xB7, 0x95
_BPF_MAP_TYPE_HASH = 1


class ProgramType(IntEnum):
    """enum bpf_prog_type"""

    SOCKET_FILTER = 1
    KPROBE = 2
    SCHED_CLS = 3
    TRACEPOINT = 5
    XDP = 6
    RAW_TRACEPOINT = 17
    TRACING = 26


class AttachType(IntEnum):
    """enum bpf_attach_type"""

    TRACE_RAW_TP = 23
    TRACE_FENTRY = 24
    TRACE_FEXIT = 25
    TRACE_KPROBE_MULTI = 42


@contextmanager
def smallest_program(how: Load, result: int = 0) -> Iterator[int]:
    """The descriptor of a program that only returns `result`; OSError if the kernel does not take it.

    The program goes with the block, unless it is attached.
    """
    code = _INSTRUCTION.pack(_MOVE, 0, 0, result) + _INSTRUCTION.pack(_EXIT, 0, 0, 0)
    descriptor = load_copy("xcap_asks", code, how)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def has_batches() -> bool:
    """Whether many keys of a map are read by one call (from 5.6 on). OSError where no map can be made."""
    size = 8
    descriptor = check(load().bpf_map_create(_BPF_MAP_TYPE_HASH, b"xcap_asks", size, size, 1, None))
    try:
        return bpf.reads_batches(descriptor, size, size)
    finally:
        os.close(descriptor)
