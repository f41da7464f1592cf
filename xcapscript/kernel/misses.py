"""Hits that a program was not run for, as another one was just running on the same CPU: what the kernel counts of them.

Source: include/uapi/linux/bpf.h, struct bpf_prog_info and struct bpf_link_info. Kernels that do not count say 0.
"""

from __future__ import annotations

import struct

from xcapscript.kernel.links import info

_NUMBER = struct.Struct("=Q")
_KIND = struct.Struct("=I")

_RECURSION_MISSES = 208
"""Where it is in struct bpf_prog_info (Linux 5.12; of raw tracepoints from 6.1 on, of kprobes and tracepoints 6.7)."""

_PERF_EVENT, _KPROBE_MULTI = 7, 8
_KPROBE, _KRETPROBE = 3, 4
_EVENT_KIND, _EVENT_MISSED, _MULTI_MISSED = 16, 48, 32
"""Where they are in struct bpf_link_info (Linux 6.7)."""


def missed_by_program(program: int) -> int:
    """How often the program was left out since it was loaded: it, or one like it, was running already."""
    return _number(info(program), _RECURSION_MISSES)


def missed_by_link(link: int) -> int:
    """How often a kprobe was hit while another was handled, or more calls were under way than kretprobes can follow.

    0 of other descriptors, such as that of a perf event.
    """
    told = info(link)
    if len(told) < _KIND.size:
        return 0
    match _KIND.unpack_from(told)[0]:
        case kind if kind == _KPROBE_MULTI:
            return _number(told, _MULTI_MISSED)
        case kind if kind == _PERF_EVENT and _KIND.unpack_from(told, _EVENT_KIND)[0] in (_KPROBE, _KRETPROBE):
            return _number(told, _EVENT_MISSED)
    return 0


def _number(told: bytes, at: int) -> int:
    return int(_NUMBER.unpack_from(told, at)[0]) if len(told) >= at + _NUMBER.size else 0
