"""libbpf through ctypes: the one place that loads it, and the C prototypes of what we call.

Signatures are those of libbpf 0.6 and later (bpf.h, btf.h, libbpf.h), which still hold in 1.x.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from typing import Any

from xcapscript.errors import KernelError

# Upstream's libbcc has a libbpf of its own inside; Debian's brings libbpf.so.1 along.
_NAMES = ("libbpf.so.1", "libbpf.so.0", "libbcc.so.0")
_SINCE_0_6 = "btf__type_cnt"

ENOTSUPP = 524
"""The kernel's own for what it cannot do, which no errno.h has."""

PRINTF = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
"""btf_dump_printf_fn_t: context, format, and a va_list, which x86-64 and arm64 both pass as a pointer."""


class BatchOptions(ctypes.Structure):
    """struct bpf_map_batch_opts"""

    _fields_ = [("sz", ctypes.c_size_t), ("elem_flags", ctypes.c_uint64), ("flags", ctypes.c_uint64)]


class RunOptions(ctypes.Structure):
    """struct bpf_test_run_opts"""

    _fields_ = [
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_char_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_char_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    ]


class LoadOptions(ctypes.Structure):
    """struct bpf_prog_load_opts, as libbpf 0.6 has it."""

    _fields_ = [
        ("sz", ctypes.c_size_t),
        ("attempts", ctypes.c_int),
        ("expected_attach_type", ctypes.c_int),
        ("prog_btf_fd", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_ifindex", ctypes.c_uint32),
        ("kern_version", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
        ("attach_prog_fd", ctypes.c_uint32),
        ("attach_btf_obj_fd", ctypes.c_uint32),
        ("fd_array", ctypes.c_void_p),
        ("func_info", ctypes.c_void_p),
        ("func_info_cnt", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("line_info", ctypes.c_void_p),
        ("line_info_cnt", ctypes.c_uint32),
        ("line_info_rec_size", ctypes.c_uint32),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_char_p),
    ]


class LinkOptions(ctypes.Structure):
    """The beginning of struct bpf_link_create_opts."""

    _fields_ = [("sz", ctypes.c_size_t), ("flags", ctypes.c_uint32)]


class ProgramInfo(ctypes.Structure):
    """The beginning of struct bpf_prog_info."""

    _fields_ = [
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("tag", ctypes.c_uint8 * 8),
        ("lengths", ctypes.c_uint32 * 2),
        ("instructions", ctypes.c_uint64 * 2),
        ("load_time", ctypes.c_uint64),
        ("created_by_uid", ctypes.c_uint32),
        ("nr_map_ids", ctypes.c_uint32),
        ("map_ids", ctypes.c_uint64),
        ("name", ctypes.c_char * 16),
    ]


class MapInfo(ctypes.Structure):
    """The beginning of struct bpf_map_info."""

    _fields_ = [
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("name", ctypes.c_char * 16),
    ]


class BtfInfo(ctypes.Structure):
    """struct bpf_btf_info"""

    _fields_ = [
        ("btf", ctypes.c_uint64),
        ("btf_size", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("name", ctypes.c_uint64),
        ("name_len", ctypes.c_uint32),
        ("kernel_btf", ctypes.c_uint32),
    ]


_Fd = ctypes.c_int
_Btf = ctypes.c_void_p
_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "libbpf_get_error": (ctypes.c_long, (ctypes.c_void_p,)),
    "libbpf_find_vmlinux_btf_id": (ctypes.c_int, (ctypes.c_char_p, ctypes.c_int)),
    "libbpf_num_possible_cpus": (ctypes.c_int, ()),
    "libbpf_set_print": (ctypes.c_void_p, (ctypes.c_void_p,)),
    "libbpf_version_string": (ctypes.c_char_p, ()),
    "btf__find_by_name_kind": (ctypes.c_int32, (_Btf, ctypes.c_char_p, ctypes.c_uint32)),
    "btf__free": (None, (_Btf,)),
    "btf__load_vmlinux_btf": (_Btf, ()),
    "btf__name_by_offset": (ctypes.c_char_p, (_Btf, ctypes.c_uint32)),
    "btf__resolve_size": (ctypes.c_int64, (_Btf, ctypes.c_uint32)),
    "btf__parse": (_Btf, (ctypes.c_char_p, ctypes.c_void_p)),
    "btf__parse_split": (_Btf, (ctypes.c_char_p, _Btf)),
    "btf__raw_data": (ctypes.c_void_p, (_Btf, ctypes.POINTER(ctypes.c_uint32))),
    "btf__type_by_id": (ctypes.c_void_p, (_Btf, ctypes.c_uint32)),
    "btf__type_cnt": (ctypes.c_uint32, (_Btf,)),
    "btf_dump__dump_type": (ctypes.c_int, (ctypes.c_void_p, ctypes.c_uint32)),
    "btf_dump__free": (None, (ctypes.c_void_p,)),
    "btf_dump__new": (ctypes.c_void_p, (_Btf, PRINTF, ctypes.c_void_p, ctypes.c_void_p)),
    "bpf_btf_get_fd_by_id": (_Fd, (ctypes.c_uint32,)),
    "bpf_btf_get_next_id": (ctypes.c_int, (ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32))),
    "bpf_link_create": (_Fd, (_Fd, ctypes.c_int, ctypes.c_int, ctypes.c_void_p)),
    "bpf_link_get_fd_by_id": (_Fd, (ctypes.c_uint32,)),
    "bpf_link_get_next_id": (ctypes.c_int, (ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32))),
    "bpf_map_create": (
        _Fd,
        (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p),
    ),
    "bpf_map_delete_elem": (ctypes.c_int, (_Fd, ctypes.c_char_p)),
    "bpf_map_get_next_key": (ctypes.c_int, (_Fd, ctypes.c_char_p, ctypes.c_void_p)),
    "bpf_map_lookup_and_delete_elem_flags": (ctypes.c_int, (_Fd, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint64)),
    "bpf_map_lookup_batch": (
        ctypes.c_int,
        (
            _Fd,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.POINTER(ctypes.c_uint32),
            ctypes.POINTER(BatchOptions),
        ),
    ),
    "bpf_map_lookup_elem": (ctypes.c_int, (_Fd, ctypes.c_char_p, ctypes.c_void_p)),
    "bpf_map_update_elem": (ctypes.c_int, (_Fd, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint64)),
    "bpf_obj_get_info_by_fd": (ctypes.c_int, (_Fd, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint32))),
    "bpf_prog_get_fd_by_id": (_Fd, (ctypes.c_uint32,)),
    "bpf_prog_load": (
        _Fd,
        (
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_char_p,
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.POINTER(LoadOptions),
        ),
    ),
    "bpf_prog_test_run_opts": (ctypes.c_int, (_Fd, ctypes.POINTER(RunOptions))),
    "bpf_raw_tracepoint_open": (_Fd, (ctypes.c_char_p, _Fd)),
}


@functools.cache
def load() -> ctypes.CDLL:
    """The library, with its functions' types declared; KernelError where there is none, or only an older one."""
    for name in _NAMES:
        try:
            library = ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
        if hasattr(library, _SINCE_0_6):
            return _declared(library)
    raise KernelError("libbpf 0.6 or later is not installed", advice="install it; Debian's package is libbpf1")


@functools.cache
def libc() -> ctypes.CDLL:
    """The C library of this process."""
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


def check(result: int) -> int:
    """`result` of a call that answers with a negative number when it fails; then OSError with its errno."""
    if result < 0:
        raise OSError(ctypes.get_errno(), words(ctypes.get_errno()))
    return result


def words(number: int) -> str:
    """What an errno of the kernel means."""
    return os.strerror(errno.EOPNOTSUPP if number == ENOTSUPP else number)


def check_pointer(pointer: int | None) -> int:
    """`pointer` of a call that answers NULL, or an error as a pointer as libbpf before 1.0; then OSError."""
    error = load().libbpf_get_error(pointer)
    if error or not pointer:
        raise OSError(abs(error), words(abs(error)))
    return pointer


def version() -> str:
    """As in 'v1.1'."""
    return str(load().libbpf_version_string().decode())


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    for name, (result, arguments) in _PROTOTYPES.items():
        # What a function is needed for may be missing in old libraries: its caller asks with hasattr().
        if hasattr(library, name):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    library.libbpf_set_print(None)
    return library
