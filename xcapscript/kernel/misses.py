"""Hits that a program was not run for, as another one was just running on the same CPU: what the kernel counts of them.

Source: include/uapi/linux/bpf.h, struct bpf_prog_info and struct bpf_link_info. Kernels that do not count say 0.
"""

from __future__ import annotations

import ctypes
import struct

from xcapscript.kernel.libbpf import check, load

_ROOM = 512
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
    return _number(_info(program), _RECURSION_MISSES)


def missed_by_link(link: int) -> int:
    """How often a kprobe was hit while another was handled, or more calls were under way than kretprobes can follow.

    0 of other descriptors, such as that of a perf event.
    """
    info = _info(link)
    if len(info) < _KIND.size:
        return 0
    match _KIND.unpack_from(info)[0]:
        case kind if kind == _KPROBE_MULTI:
            return _number(info, _MULTI_MISSED)
        case kind if kind == _PERF_EVENT and _KIND.unpack_from(info, _EVENT_KIND)[0] in (_KPROBE, _KRETPROBE):
            return _number(info, _EVENT_MISSED)
    return 0


def _info(descriptor: int) -> bytes:
    """What BPF_OBJ_GET_INFO_BY_FD says, as much as this kernel has of it; nothing of what it does not know."""
    room, size = ctypes.create_string_buffer(_ROOM), ctypes.c_uint32(_ROOM)
    try:
        check(load().bpf_obj_get_info_by_fd(descriptor, room, ctypes.byref(size)))
    except OSError:
        # a perf event, or a kernel that has no links: a count that is not to be had is no reason to lose the others
        return b""
    return room.raw[: size.value]


def _number(info: bytes, at: int) -> int:
    return int(_NUMBER.unpack_from(info, at)[0]) if len(info) >= at + _NUMBER.size else 0
