"""What is attached to the kernel: the ids of all BPF programs and links, and which of them a living process holds."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from xcapscript.kernel.libbpf import check, load

KINDS = "prog", "link"
_HELD = re.compile(r"^(prog|link)_id:\s+(\d+)$", re.MULTILINE)

Id = tuple[str, int]
"""A kind of object and its number."""


def ids() -> set[Id]:
    """All that there are."""
    return {(kind, number) for kind in KINDS for number in _numbers(kind)}


def held() -> set[Id]:
    """Those that a process has a descriptor of."""
    found = set()
    for info in Path("/proc").glob("[0-9]*/fdinfo/*"):
        with suppress(OSError):  # descriptors and processes come and go
            found |= {(kind, int(number)) for kind, number in _HELD.findall(info.read_text())}
    return found


def _numbers(kind: str) -> Iterator[int]:
    following = getattr(load(), f"bpf_{kind}_get_next_id")
    number = ctypes.c_uint32(0)
    while True:
        try:
            check(following(number, ctypes.byref(number)))
        except FileNotFoundError:
            return
        yield number.value
