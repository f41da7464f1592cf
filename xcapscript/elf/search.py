"""Programs and libraries by name: `ls` is looked for as a shell does it, `c` and `libc` as the dynamic linker does.

Source: glibc's sysdeps/generic/dl-cache.h.
"""

from __future__ import annotations

import platform
import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

CACHE = Path("/etc/ld.so.cache")
_MULTIARCH = f"{platform.machine()}-linux-gnu"
DIRECTORIES = tuple(Path(text) for text in (f"/lib/{_MULTIARCH}", "/lib64", "/usr/lib64", "/lib", "/usr/local/lib"))
_HEADER = struct.Struct("=20sI24x")
_MAGIC = b"glibc-ld.so.cache1.1"
_ENTRY = struct.Struct("=iIIIQ")


def find_file(text: str) -> Path | None:
    """The file that a path or a name stands for; None if there is none."""
    if "/" in text:
        path = Path(text)
        try:
            return path if path.exists() else None
        except OSError:
            return path  # it may be there, and whoever reads it is told why not
    if program := shutil.which(text):
        return Path(program)
    return next((path for path in _libraries(text) if path.exists()), None)


def _libraries(text: str) -> Iterator[Path]:
    plain = text.removeprefix("lib").partition(".so")[0]
    wanted = re.compile(rf"(?:{re.escape(text)}|lib{re.escape(plain)}\.so(?:\.[0-9]+)*)\Z")
    for name, path in _cached():
        if wanted.match(name):
            yield Path(path)
    for directory in DIRECTORIES:
        if directory.is_dir():
            yield from sorted(path for path in directory.glob("lib*.so*") if wanted.match(path.name))


def _cached() -> Iterator[tuple[str, str]]:
    """The names and paths in the dynamic linker's cache; none where there is no cache, or one of another kind."""
    try:
        data = CACHE.read_bytes()
    except OSError:
        return
    if len(data) < _HEADER.size:
        return
    magic, count = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        return
    entries = data[_HEADER.size : _HEADER.size + count * _ENTRY.size]
    for _, name, path, _, _ in _ENTRY.iter_unpack(entries[: len(entries) // _ENTRY.size * _ENTRY.size]):
        yield _text(data, name), _text(data, path)


def _text(data: bytes, at: int) -> str:
    return data[at : data.find(b"\0", at)].decode("utf-8", "replace")
