"""Where the kernel has the bytes of a struct page: found by looking for bytes of pages of our own, and proven by them.

With a virtual memory map all struct pages lie in one row, and what they stand for in another: a shift and a sum lead
from one to the other. The summand is the kernel's secret (x86 draws it at random when it boots, and not every kernel
has it in /proc/kallsyms); but a pipe holds the struct pages of what was spliced into it, and we choose what they hold.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from xcapscript.errors import KernelError
from xcapscript.kernel import bpf
from xcapscript.kernel.btf import Btf
from xcapscript.kernel.kinds import ProgramType
from xcapscript.kernel.libbpf import check, libc, load
from xcapscript.kernel.typed import Load, load_copy

ZONES = Path("/proc/zoneinfo")

_GIGABYTE = 1 << 30
"""Both rows begin at multiples of it, whatever is random: kernel_randomize_memory() of x86, ARM64_MEMSTART_ALIGN."""

_MOST_PLACES = 1 << 14
_PAGES, _BYTES = 4, 56
"""Pages that are compared, and bytes of each, which are random: nobody else has the like."""

_BPF_MAP_TYPE_ARRAY = 2
_INSTRUCTION = struct.Struct("=BBhi")
_FOUND = struct.Struct(f"=Qq{_BYTES}s")
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Place:
    """The bytes of the struct page at an address are at `(address << shift) + base`, of which 64 bits count."""

    shift: int
    base: int

    def address(self, page: int) -> int:
        """The address of a page's bytes."""
        return (page << self.shift) + self.base & _MASK

    def page(self, address: int) -> int:
        """What address() gives that for, be there a page or not; `address` is a multiple of a page's size."""
        return (address - self.base & _MASK) >> self.shift


@functools.cache
def place_of_pages() -> Place | None:
    """Where this kernel has them; None where that cannot be found, or is not ours to ask."""
    try:
        return _find(Btf())
    except (OSError, KernelError):
        return None


def flags_of(place: Place | None) -> list[str]:
    """What the fixed C is told of it."""
    if place is None:
        return []
    return ["-DXCAP_PAGES=1", f"-DXCAP_PAGES_SHIFT={place.shift}", f"-DXCAP_PAGES_BASE={place.base:#x}ULL"]


def _find(btf: Btf) -> Place | None:
    size = _size(btf, "page")
    if not size or mmap.PAGESIZE % size:
        return None
    shift = (mmap.PAGESIZE // size).bit_length() - 1
    wanted = [os.urandom(_BYTES) for _ in range(_PAGES)]
    with closing(mmap.mmap(-1, _PAGES * mmap.PAGESIZE)) as memory, _reader() as read:
        for number, text in enumerate(wanted):
            memory[number * mmap.PAGESIZE : number * mmap.PAGESIZE + _BYTES] = text
        with _spliced(memory) as pipe:
            pages = _struct_pages(btf, read, pipe)
            task, span = read(0)[0], _span()
            if any(abs(page - task) <= span for page in pages):
                return None  # struct pages among the memory that they stand for: they lie in more than one row
            found = [
                place
                for place in _places(pages[0], shift, task, span)
                if all(read(place.address(page))[1] == text for page, text in zip(pages, wanted, strict=True))
            ]
    return found[0] if len(found) == 1 else None


def _places(page: int, shift: int, task: int, span: int) -> Iterator[Place]:
    """All that there can be: where a task is, all memory is, and it reaches no further than `span`."""
    if 2 * span > _MOST_PLACES * _GIGABYTE:
        return
    within = (page << shift) % _GIGABYTE
    for start in range((task - span) // _GIGABYTE * _GIGABYTE, task + span, _GIGABYTE):
        yield Place(shift, start + within - (page << shift) & _MASK)


def _span() -> int:
    """How far physical memory reaches, in bytes."""
    ends = [0]
    for zone in ZONES.read_text(encoding="ascii").split("Node ")[1:]:
        numbers = [re.search(rf"\b{name}:?\s+(\d+)", zone) for name in ("start_pfn", "spanned")]
        ends.append(sum(int(number[1]) for number in numbers if number is not None))  # an empty zone starts nowhere
    return max(ends) * mmap.PAGESIZE


Reader = Callable[[int], tuple[int, bytes | None]]
"""Gives the address of the running task, and bytes at an address, None where they cannot be read."""


def _struct_pages(btf: Btf, read: Reader, pipe: int) -> list[int]:
    """The addresses of the struct pages in our pipe's buffers."""

    def follow(address: int, structure: str, member: str) -> int:
        return _pointer(read, address + _offset(btf, structure, member))

    files = follow(read(0)[0], "task_struct", "files")
    table = follow(follow(files, "files_struct", "fdt"), "fdtable", "fd")
    inode = follow(_pointer(read, table + 8 * pipe), "file", "private_data")
    buffers, size = follow(inode, "pipe_inode_info", "bufs"), _size(btf, "pipe_buffer")
    return [follow(buffers + number * size, "pipe_buffer", "page") for number in range(_PAGES)]


def _pointer(read: Reader, address: int) -> int:
    found = read(address & _MASK)[1]
    if found is None:
        raise OSError("the kernel's own structures cannot be read")
    return int.from_bytes(found[:8], "little")


def _size(btf: Btf, name: str) -> int:
    found = btf.struct(name)
    return found.size if found is not None else 0


def _offset(btf: Btf, name: str, member: str) -> int:
    found = btf.struct(name)
    place = found.member(member) if found is not None else None
    if place is None:
        raise OSError(f"this kernel's struct {name} has no {member}")
    return place.bit_offset // 8


class _IoVec(ctypes.Structure):
    _fields_ = [("iov_base", ctypes.c_void_p), ("iov_len", ctypes.c_size_t)]


@contextmanager
def _spliced(memory: mmap.mmap) -> Iterator[int]:
    """A pipe that holds the pages of `memory`: its descriptor."""
    ends = os.pipe()
    try:
        buffer = (ctypes.c_char * len(memory)).from_buffer(memory)
        vector = _IoVec(ctypes.addressof(buffer), len(memory))
        del buffer  # else the memory could not be let go of
        if check(libc().vmsplice(ends[1], ctypes.byref(vector), 1, 0)) != len(memory):
            raise OSError("the pipe did not take all pages")
        yield ends[0]
    finally:
        for end in ends:
            os.close(end)


@contextmanager
def _reader() -> Iterator[Reader]:
    """A program that reads kernel memory where it can be read, run by hand."""
    room = check(load().bpf_map_create(_BPF_MAP_TYPE_ARRAY, b"xcap_asks", 4, _FOUND.size, 1, None))
    try:
        program = load_copy("xcap_asks", _code(room), Load(ProgramType.RAW_TRACEPOINT))
    except OSError:
        os.close(room)
        raise

    def read(address: int) -> tuple[int, bytes | None]:
        bpf.test_run(program, struct.pack("=Q", address))
        task, failed, found = _FOUND.unpack(bpf.lookup(room, bytes(4), _FOUND.size) or bytes(_FOUND.size))
        return task, None if failed else found

    try:
        yield read
    finally:
        os.close(program)
        os.close(room)


def _code(room: int) -> bytes:
    instructions = (
        (0x79, 0x16, 0, 0),  # r6 = *(u64 *)(r1 + 0): the address
        (0x62, 0x0A, -4, 0),  # *(u32 *)(r10 - 4) = 0
        (0xBF, 0xA2, 0, 0),  # r2 = r10
        (0x07, 0x02, 0, -4),  # r2 += -4
        (0x18, 0x11, 0, room),  # r1 = the map
        (0x00, 0x00, 0, 0),
        (0x85, 0x00, 0, 1),  # bpf_map_lookup_elem()
        (0x55, 0x00, 2, 0),  # if r0 != 0 goto +2
        (0xB7, 0x00, 0, 0),  # r0 = 0
        (0x95, 0x00, 0, 0),  # exit
        (0xBF, 0x07, 0, 0),  # r7 = r0
        (0x85, 0x00, 0, 35),  # bpf_get_current_task()
        (0x7B, 0x07, 0, 0),  # *(u64 *)(r7 + 0) = r0
        (0xBF, 0x71, 0, 0),  # r1 = r7
        (0x07, 0x01, 0, 16),  # r1 += 16
        (0xB7, 0x02, 0, _BYTES),  # r2 = _BYTES
        (0xBF, 0x63, 0, 0),  # r3 = r6
        (0x85, 0x00, 0, 113),  # bpf_probe_read_kernel()
        (0x7B, 0x07, 8, 0),  # *(u64 *)(r7 + 8) = r0
        (0xB7, 0x00, 0, 0),  # r0 = 0
        (0x95, 0x00, 0, 0),  # exit
    )
    return b"".join(_INSTRUCTION.pack(*one) for one in instructions)
