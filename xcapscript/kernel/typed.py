"""Typed raw tracepoints (BPF_PROG_TYPE_TRACING at BPF_TRACE_RAW_TP): what BCC compiled is given calls of kernel
functions, and loaded by libbpf, since BCC knows neither.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
from collections.abc import Mapping

from xcapscript.kernel.libbpf import LoadOptions, check, load

BPF_PROG_TYPE_TRACING = 26
BPF_TRACE_RAW_TP = 23
BPF_PSEUDO_KFUNC_CALL = 2
_BTF_KIND_STRUCT, _BTF_KIND_FUNC = 4, 12
_CALL = 0x85
_INSTRUCTION = struct.Struct("=BBhi")
_LOG_SIZE = 1 << 24

DYNPTR_FROM_SKB = "bpf_dynptr_from_skb"
"""Reads a packet wherever its bytes are; raw tracepoints may call it from Linux 6.12 on."""

PLACEHOLDERS: Mapping[str, int] = {
    DYNPTR_FROM_SKB: 0x7F000001,
    "bpf_rdonly_cast": 0x7F000002,
    "bpf_iter_num_new": 0x7F000003,
    "bpf_iter_num_next": 0x7F000004,
    "bpf_iter_num_destroy": 0x7F000005,
}
"""Numbers that stand for kernel functions in what BCC compiles: they are the numbers of no helper."""

CAST_TYPES = ("bpf_dynptr", "skb_shared_info")
"""Structs that memory is read as, by bpf_rdonly_cast()."""


class Refused(OSError):
    """The kernel refused a program; `log` is the verifier's."""

    def __init__(self, number: int, log: str) -> None:
        super().__init__(number, os.strerror(number))
        self.log = log


def load_typed(name: str, tracepoint: str, code: bytes) -> int:
    """The descriptor of a program for a raw tracepoint, whose placeholders are replaced. Raises Refused."""
    number = check(load().libbpf_find_vmlinux_btf_id(tracepoint.encode(), BPF_TRACE_RAW_TP))
    functions = _btf_ids(tuple(PLACEHOLDERS), _BTF_KIND_FUNC)
    finished = with_kernel_functions(code, {PLACEHOLDERS[name]: functions[name] for name in functions})
    try:
        return _load(name, number, finished, None)
    except OSError:
        # a second time for the log, which costs more than the first when nothing is wrong
        log = ctypes.create_string_buffer(_LOG_SIZE)
        try:
            return _load(name, number, finished, log)
        except OSError as error:
            raise Refused(error.errno or 0, log.value.decode("utf-8", "replace")) from None


def with_kernel_functions(code: bytes, functions: Mapping[int, int]) -> bytes:
    """The instructions with each call of a placeholder turned into one of the kernel function of that BTF id."""
    found = bytearray(code)
    for at in range(0, len(found), _INSTRUCTION.size):
        operation, _, _, immediate = _INSTRUCTION.unpack_from(found, at)
        if operation == _CALL and immediate in functions:
            _INSTRUCTION.pack_into(found, at, _CALL, BPF_PSEUDO_KFUNC_CALL << 4, 0, functions[immediate])
    return bytes(found)


def reads_paged_data() -> bool:
    """Whether a raw tracepoint's program may read what a packet has in pages: asked by loading one that does."""
    code = b"".join(
        _INSTRUCTION.pack(*instruction)
        for instruction in (
            (0x79, 0x11, 0, 0),  # r1 = *(u64 *)(r1 + 0): the tracepoint's skb
            (0xB7, 0x02, 0, 0),  # r2 = 0
            (0xBF, 0xA3, 0, 0),  # r3 = r10
            (0x07, 0x03, 0, -16),  # r3 += -16
            (_CALL, 0x00, 0, PLACEHOLDERS[DYNPTR_FROM_SKB]),
            (0xB7, 0x00, 0, 0),  # r0 = 0
            (0x95, 0x00, 0, 0),  # exit
        )
    )
    try:
        os.close(load_typed("xcap_asks", "kfree_skb", code))
    except OSError:
        return False
    return True


def macros() -> dict[str, int]:
    """What the fixed C calls the numbers of kernel functions and types."""
    types = _btf_ids(CAST_TYPES, _BTF_KIND_STRUCT)
    return {
        **{f"XCAP_{name}": number for name, number in PLACEHOLDERS.items()},
        **{f"XCAP_TYPE_{name}": number for name, number in types.items()},
    }


@functools.cache
def _btf_ids(names: tuple[str, ...], kind: int) -> dict[str, int]:
    """The BTF ids of the kernel's functions or structs; 0 where there is none, which no program gets loaded with."""
    library = load()
    btf = library.btf__load_vmlinux_btf()
    try:
        return {name: max(0, int(library.btf__find_by_name_kind(btf, name.encode(), kind))) for name in names}
    finally:
        library.btf__free(btf)


def _load(name: str, attach_btf_id: int, code: bytes, log: ctypes.Array[ctypes.c_char] | None) -> int:
    options = LoadOptions(
        sz=ctypes.sizeof(LoadOptions), expected_attach_type=BPF_TRACE_RAW_TP, attach_btf_id=attach_btf_id
    )
    if log is not None:
        options.log_level, options.log_size, options.log_buf = 1, len(log), ctypes.cast(log, ctypes.c_char_p)
    count = len(code) // _INSTRUCTION.size
    arguments = (BPF_PROG_TYPE_TRACING, name.encode(), b"GPL", code, count, ctypes.byref(options))
    return check(load().bpf_prog_load(*arguments))
