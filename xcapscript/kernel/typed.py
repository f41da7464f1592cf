"""Programs that libbpf loads, since BCC does not know their kinds: typed raw tracepoints, fentry and fexit
(BPF_PROG_TYPE_TRACING), kprobes at many functions, those of network interfaces. What BCC compiled is given calls of
kernel functions first.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from xcapscript.kernel.kinds import AttachType, ProgramType
from xcapscript.kernel.libbpf import BtfInfo, LoadOptions, check, check_pointer, words
from xcapscript.kernel.libbpf import load as libbpf

BPF_F_XDP_HAS_FRAGS = 1 << 5
_CALL_KERNEL_FUNCTIONS = frozenset(
    {ProgramType.SOCKET_FILTER, ProgramType.SCHED_CLS, ProgramType.XDP, ProgramType.TRACING}
)
BPF_PSEUDO_KFUNC_CALL = 2
_BTF_KIND_STRUCT, _BTF_KIND_FUNC = 4, 12
_CALL, _MOVE, _EXIT = 0x85, 0xB7, 0x95
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

PLACE = 0x7F000100
"""The number that stands for the question which of a program's functions was hit."""

GET_ATTACH_COOKIE = 174

CAST_TYPES = ("bpf_dynptr", "skb_shared_info")
"""Structs that memory is read as, by bpf_rdonly_cast()."""


class Refused(OSError):
    """The kernel refused a program; `log` is the verifier's."""

    def __init__(self, number: int, log: str) -> None:
        super().__init__(number, words(number))
        self.log = log


@dataclass(frozen=True, slots=True)
class Load:
    """How one copy of a program is loaded: BPF_PROG_TYPE_*, and for some the BPF_* that it is to be attached as.

    `target` is the function or the tracepoint, of `module`, by which a tracing program is typed. `cookie` is what the
    program is told of where it is, by a kernel that has no cookies for what it attaches. `flags` are BPF_F_*.
    """

    type: int
    attach: int = 0
    target: str = ""
    module: str = ""
    cookie: int | None = None
    flags: int = 0


def load_typed(name: str, tracepoint: str, code: bytes) -> int:
    """The descriptor of a program for a raw tracepoint, whose placeholders are replaced. Raises Refused."""
    return load_copy(name, code, Load(ProgramType.TRACING, AttachType.TRACE_RAW_TP, tracepoint))


def load_copy(name: str, code: bytes, load: Load) -> int:
    """The descriptor of a program, whose placeholders are replaced. Raises Refused."""
    functions = _btf_ids(tuple(PLACEHOLDERS), _BTF_KIND_FUNC) if load.type in _CALL_KERNEL_FUNCTIONS else {}
    finished = with_kernel_functions(code, {PLACEHOLDERS[name]: functions[name] for name in functions})
    finished = with_place(finished, load.cookie)
    try:
        return _load(name, load, finished, None)
    except OSError:
        # a second time for the log, which costs more than the first when nothing is wrong
        log = ctypes.create_string_buffer(_LOG_SIZE)
        try:
            return _load(name, load, finished, log)
        except OSError as error:
            raise Refused(error.errno or 0, log.value.decode("utf-8", "replace")) from None


def with_place(code: bytes, cookie: int | None) -> bytes:
    """The instructions with each question for the place that was hit turned into one for the cookie, or into it."""
    found = bytearray(code)
    for at in range(0, len(found), _INSTRUCTION.size):
        operation, _, _, immediate = _INSTRUCTION.unpack_from(found, at)
        if operation == _CALL and immediate == PLACE:
            instruction = (_CALL, 0, 0, GET_ATTACH_COOKIE) if cookie is None else (_MOVE, 0, 0, cookie)
            _INSTRUCTION.pack_into(found, at, *instruction)
    return bytes(found)


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
            (_MOVE, 0x02, 0, 0),  # r2 = 0
            (0xBF, 0xA3, 0, 0),  # r3 = r10
            (0x07, 0x03, 0, -16),  # r3 += -16
            (_CALL, 0x00, 0, PLACEHOLDERS[DYNPTR_FROM_SKB]),
            (_MOVE, 0x00, 0, 0),  # r0 = 0
            (_EXIT, 0x00, 0, 0),
        )
    )
    try:
        os.close(load_typed("xcap_asks", "kfree_skb", code))
    except OSError:
        return False
    return True


@contextmanager
def smallest_program(how: Load, result: int = 0, *, call: int | None = None) -> Iterator[int]:
    """The descriptor of a program that only returns `result`, or what the helper of that number gives; OSError if the
    kernel does not take it. The program goes with the block, unless it is attached.
    """
    begin = (_MOVE, 0, 0, result) if call is None else (_CALL, 0, 0, call)
    descriptor = load_copy("xcap_asks", _INSTRUCTION.pack(*begin) + _INSTRUCTION.pack(_EXIT, 0, 0, 0), how)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@functools.cache
def has_xdp_frags() -> bool:
    """Whether an XDP program may be given packets in several buffers (Linux 5.18), asked by loading one that may."""
    try:
        with smallest_program(Load(ProgramType.XDP, flags=BPF_F_XDP_HAS_FRAGS)):
            return True
    except OSError:
        return False


def macros() -> dict[str, int]:
    """What the fixed C calls the numbers of kernel functions and types."""
    types = _btf_ids(CAST_TYPES, _BTF_KIND_STRUCT)
    return {
        **{f"XCAP_{name}": number for name, number in PLACEHOLDERS.items()},
        **{f"XCAP_TYPE_{name}": number for name, number in types.items()},
        "XCAP_PLACE": PLACE,
        "XCAP_XDP_FRAGS": int(has_xdp_frags()),
    }


@functools.cache
def _btf_ids(names: tuple[str, ...], kind: int) -> dict[str, int]:
    """The BTF ids of the kernel's functions or structs; 0 where there is none, which no program gets loaded with."""
    library = libbpf()
    try:
        btf = check_pointer(library.btf__load_vmlinux_btf())
    except OSError:
        # a kernel without BTF, where programs that ask for none of them work all the same
        return dict.fromkeys(names, 0)
    try:
        return {name: max(0, int(library.btf__find_by_name_kind(btf, name.encode(), kind))) for name in names}
    finally:
        library.btf__free(btf)


def _load(name: str, load: Load, code: bytes, log: ctypes.Array[ctypes.c_char] | None) -> int:
    options = LoadOptions(sz=ctypes.sizeof(LoadOptions), expected_attach_type=load.attach, prog_flags=load.flags)
    if load.module:
        options.attach_btf_id, options.attach_btf_obj_fd = _in_module(load.target, load.module)
    elif load.target:
        options.attach_btf_id = check(libbpf().libbpf_find_vmlinux_btf_id(load.target.encode(), load.attach))
    if log is not None:
        options.log_level, options.log_size, options.log_buf = 1, len(log), ctypes.cast(log, ctypes.c_char_p)
    count = len(code) // _INSTRUCTION.size
    arguments = (load.type, name.encode(), b"GPL", code, count, ctypes.byref(options))
    return check(libbpf().bpf_prog_load(*arguments))


@functools.cache
def _in_module(function: str, module: str) -> tuple[int, int]:
    """The BTF id of a module's function, and a descriptor of the module's BTF, which is kept."""
    library = libbpf()
    base = check_pointer(library.btf__load_vmlinux_btf())
    types = check_pointer(library.btf__parse_split(f"/sys/kernel/btf/{module}".encode(), base))
    try:
        number = check(library.btf__find_by_name_kind(types, function.encode(), _BTF_KIND_FUNC))
    finally:
        library.btf__free(types)
        library.btf__free(base)
    return number, _module_btf(module)


@functools.cache
def _module_btf(module: str) -> int:
    library, number = libbpf(), ctypes.c_uint32(0)
    while True:
        check(library.bpf_btf_get_next_id(number, ctypes.byref(number)))
        descriptor = check(library.bpf_btf_get_fd_by_id(number))
        name = ctypes.create_string_buffer(64)
        info = BtfInfo(name=ctypes.addressof(name), name_len=len(name))
        size = ctypes.c_uint32(ctypes.sizeof(info))
        check(library.bpf_obj_get_info_by_fd(descriptor, ctypes.byref(info), ctypes.byref(size)))
        if name.value.decode() == module:
            return descriptor
        os.close(descriptor)
