"""BPF links, by which programs hang on interfaces: what one is at, which of them there are, and who holds one.

Source: include/uapi/linux/bpf.h (struct bpf_link_info), kernel/bpf/syscall.c (bpf_link_show_fdinfo).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xcapscript.kernel.libbpf import check, load

PROC = Path("/proc")
XDP, TCX = 6, 11
_ROOM = 512
_LINK = struct.Struct("=III4xI")
"""type, id, prog_id; of links at interfaces, the index, 0 when the interface is gone."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link at an interface; of which network namespace is not told."""

    id: int
    kind: int
    program: int
    index: int


def info(descriptor: int) -> bytes:
    """What BPF_OBJ_GET_INFO_BY_FD says, as much as this kernel has of it; nothing of what it does not know."""
    room, size = ctypes.create_string_buffer(_ROOM), ctypes.c_uint32(_ROOM)
    try:
        check(load().bpf_obj_get_info_by_fd(descriptor, room, ctypes.byref(size)))
    except OSError:
        # a perf event, or a kernel that has no links: a count that is not to be had is no reason to lose the others
        return b""
    return room.raw[: size.value]


def is_gone(descriptor: int) -> bool:
    """Whether a link's interface was removed; False of what is no such link."""
    found = _link(descriptor)
    return found is not None and found.kind in (XDP, TCX) and not found.index


def link_of(program: int, index: int) -> Link | None:
    """The link by which a program, of that id, is at the interface of that index; None if there is none, or we may not
    look.
    """
    return next((link for link in _links() if (link.program, link.index) == (program, index)), None)


def holders(link: int, proc: Path = PROC) -> list[tuple[int, str]]:
    """The processes that have a descriptor of the link of that id, as far as we may look, and what they are called."""
    found = []
    for process in (path for path in proc.iterdir() if path.name.isdecimal()):
        try:
            if any(_is_of(one, link) for one in (process / "fdinfo").iterdir()):
                name = (process / "comm").read_text(encoding="utf-8", errors="backslashreplace").strip()
                found.append((int(process.name), name))
        except OSError:
            continue  # it ended meanwhile, or is not ours to look at
    return sorted(found)


def _is_of(fdinfo: Path, link: int) -> bool:
    try:
        lines = fdinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.split() == ["link_id:", str(link)] for line in lines)


def _links() -> Iterator[Link]:
    library, number = load(), ctypes.c_uint32(0)
    if not hasattr(library, "bpf_link_get_next_id"):
        return
    while library.bpf_link_get_next_id(number.value, ctypes.byref(number)) == 0:
        try:
            descriptor = check(library.bpf_link_get_fd_by_id(number.value))
        except OSError:
            continue  # it is gone, or not for us to see
        try:
            found = _link(descriptor)
        finally:
            os.close(descriptor)
        if found is not None:
            yield found


def _link(descriptor: int) -> Link | None:
    data = info(descriptor)
    if len(data) < _LINK.size:
        return None
    kind, number, program, index = _LINK.unpack_from(data)
    return Link(number, kind, program, index)
