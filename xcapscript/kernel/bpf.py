"""The bpf(2) calls we need, on file descriptors: maps, links, running a program once.

All raise OSError with the kernel's errno. Keys and values are bytes of exactly the sizes that the map has; the value
of a per-CPU map is per_cpu_size() bytes, the possible CPUs one after another.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from mmap import PAGESIZE
from pathlib import Path

from xcapscript.kernel.libbpf import (
    ENOTSUPP,
    BatchOptions,
    LinkOptions,
    MapInfo,
    ProgramInfo,
    RunOptions,
    check,
    load,
    words,
)

_BATCH = 1024
_TOKEN_SIZE = 8  # of a hash map's batch token (4 is used); an array's is as big as its key
# EINVAL and EPERM: an older kernel, or a filter of system calls that has not heard of the command.
_UNSUPPORTED = {errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP, ENOTSUPP}

_BPF_MAP_TYPE_HASH = 1
_BPF_MAP_TYPE_RINGBUF = 27

ONLINE_CPUS = Path("/sys/devices/system/cpu/online")


@dataclass(frozen=True, slots=True)
class MapShape:
    """What the kernel says of a map; `value_size` is that of one CPU."""

    type: int
    key_size: int
    value_size: int
    max_entries: int


@functools.cache
def possible_cpus() -> int:
    """How many CPUs there may ever be, which is how many values a per-CPU map has for each key."""
    return check(load().libbpf_num_possible_cpus())


def online_cpus() -> frozenset[int]:
    """The CPUs that run at the moment."""
    found: set[int] = set()
    for some in ONLINE_CPUS.read_text(encoding="ascii").strip().split(","):
        first, _, last = some.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def has_ring_buffers() -> bool:
    """Whether this kernel has them (from 5.8 on), asked by making one. Where that is not allowed, it has."""
    library = load()
    if not hasattr(library, "bpf_map_create"):
        return True
    try:
        os.close(check(library.bpf_map_create(_BPF_MAP_TYPE_RINGBUF, b"xcap_asks", 0, 0, PAGESIZE, None)))
    except OSError as error:
        return error.errno != errno.EINVAL
    return True


def has_batches() -> bool:
    """Whether many keys of a map are read by one call (from 5.6 on). OSError where no map can be made."""
    size = 8
    descriptor = check(load().bpf_map_create(_BPF_MAP_TYPE_HASH, b"xcap_asks", size, size, 1, None))
    try:
        return reads_batches(descriptor, size, size)
    finally:
        os.close(descriptor)


def per_cpu_size(value_size: int) -> int:
    """Bytes that a lookup in a per-CPU map gives for values of `value_size`."""
    return -(-value_size // 8) * 8 * possible_cpus()


def map_shape(fd: int) -> MapShape:
    """The type and the sizes of the map."""
    info, size = MapInfo(), ctypes.c_uint32(ctypes.sizeof(MapInfo))
    check(load().bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size)))
    return MapShape(info.type, info.key_size, info.value_size, info.max_entries)


def lookup(fd: int, key: bytes, value_size: int) -> bytes | None:
    """The value for `key`; None when there is none."""
    value = ctypes.create_string_buffer(value_size)
    try:
        check(load().bpf_map_lookup_elem(fd, key, value))
    except FileNotFoundError:
        return None
    return value.raw


def update(fd: int, key: bytes, value: bytes) -> None:
    """Set the value for `key`, there or not."""
    check(load().bpf_map_update_elem(fd, key, value, 0))


def delete(fd: int, key: bytes) -> bool:
    """Remove `key`; False when it was not there."""
    try:
        check(load().bpf_map_delete_elem(fd, key))
    except FileNotFoundError:
        return False
    return True


def take(fd: int, key: bytes, value_size: int) -> bytes | None:
    """Remove `key` and give its value; None when it was not there.

    That is one step where the kernel has it (hash maps from 5.14), so that no update between the two is lost.
    """
    library = load()
    if hasattr(library, "bpf_map_lookup_and_delete_elem_flags"):
        value = ctypes.create_string_buffer(value_size)
        try:
            check(library.bpf_map_lookup_and_delete_elem_flags(fd, key, value, 0))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        else:
            return value.raw
    found = lookup(fd, key, value_size)
    if found is not None:
        delete(fd, key)
    return found


def keys(fd: int, key_size: int) -> Iterator[bytes]:
    """Each key once. Keys that come or go meanwhile may be missing."""
    seen: set[bytes] = set()
    key, following = None, ctypes.create_string_buffer(key_size)
    # The kernel starts again at the first key when the one asked about is gone: two rounds at most, not for ever.
    for _ in range(2 * map_shape(fd).max_entries):
        try:
            check(load().bpf_map_get_next_key(fd, key, following))
        except FileNotFoundError:
            return
        key = following.raw
        if key not in seen:
            seen.add(key)
            yield key


def items(fd: int, key_size: int, value_size: int) -> Iterator[tuple[bytes, bytes]]:
    """Each key with its value. Keys that come or go meanwhile may be missing."""
    batches = _batches(fd, key_size, value_size)
    try:
        first = next(batches, [])
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        yield from _one_by_one(fd, key_size, value_size)
        return
    yield from first
    for batch in batches:
        yield from batch


def reads_batches(fd: int, key_size: int, value_size: int) -> bool:
    """Whether the kernel reads many keys of this map by one call (hash maps from 5.6 on)."""
    try:
        next(_batches(fd, key_size, value_size), None)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return False
    return True


def test_run(prog_fd: int, ctx: bytes) -> int:
    """Run the program once with the bytes of `ctx` as its context, and give what it returns."""
    options = RunOptions(sz=ctypes.sizeof(RunOptions), ctx_in=ctx or None, ctx_size_in=len(ctx))
    check(load().bpf_prog_test_run_opts(prog_fd, ctypes.byref(options)))
    return int(options.retval)


def open_raw_tracepoint(name: str | None, prog_fd: int) -> int:
    """Attach to the raw tracepoint until the descriptor is closed; `name` is None for a program loaded for one."""
    return check(load().bpf_raw_tracepoint_open(name.encode() if name is not None else None, prog_fd))


def link_create(prog_fd: int, target_fd: int, attach_type: int, flags: int = 0) -> int:
    """Attach to what `target_fd` (an interface's index for some types) names, until the descriptor is closed."""
    options = LinkOptions(sz=ctypes.sizeof(LinkOptions), flags=flags)
    return check(load().bpf_link_create(prog_fd, target_fd, attach_type, ctypes.byref(options)))


def program_name(number: int) -> str:
    """What the program of that id is called; empty if that cannot be asked."""
    try:
        descriptor = check(load().bpf_prog_get_fd_by_id(number))
    except OSError:
        return ""
    try:
        info, size = ProgramInfo(), ctypes.c_uint32(ctypes.sizeof(ProgramInfo))
        check(load().bpf_obj_get_info_by_fd(descriptor, ctypes.byref(info), ctypes.byref(size)))
        return bytes(info.name).decode("ascii", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _one_by_one(fd: int, key_size: int, value_size: int) -> Iterator[tuple[bytes, bytes]]:
    for key in keys(fd, key_size):
        value = lookup(fd, key, value_size)
        if value is not None:
            yield key, value


def _batches(fd: int, key_size: int, value_size: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """Batches by bpf_map_lookup_batch(): the token only moves on through the buckets, so that it comes to an end."""
    room, token = _BATCH, None
    while True:
        following = ctypes.create_string_buffer(max(key_size, _TOKEN_SIZE))
        found, error = _batch(fd, token, following, room, (key_size, value_size))
        match error:
            case 0:
                yield found
            case errno.ENOSPC:  # one bucket holds more than there is room for
                room *= 2
                continue
            case errno.EINTR if found:  # the key it stood on went away
                yield found
            case errno.ENOENT | errno.EINTR:
                yield found
                return
            case _:
                raise OSError(error, words(error))
        token = following


def _batch(
    fd: int,
    token: ctypes.Array[ctypes.c_char] | None,
    following: ctypes.Array[ctypes.c_char],
    room: int,
    sizes: tuple[int, int],
) -> tuple[list[tuple[bytes, bytes]], int]:
    """Up to `room` keys and values from `token` on, and the errno (0 when more may follow, at `following`)."""
    keys, values = (ctypes.create_string_buffer(size * room) for size in sizes)
    count, options = ctypes.c_uint32(room), BatchOptions(sz=ctypes.sizeof(BatchOptions))
    result = load().bpf_map_lookup_batch(fd, token, following, keys, values, ctypes.byref(count), ctypes.byref(options))
    error = ctypes.get_errno() if result < 0 else 0
    if error not in (0, errno.ENOENT, errno.EINTR):
        return [], error
    pairs = zip(_pieces(keys.raw, sizes[0]), _pieces(values.raw, sizes[1]), strict=True)
    return list(islice(pairs, count.value)), error


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))
