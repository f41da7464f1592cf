"""The network interfaces of this machine, in all namespaces that this process may look into."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xcapscript.kernel.libbpf import check, libc

_OWN = Path("/proc/thread-self/net/dev")
_NAMED = (Path("/run/netns"), Path("/run/docker/netns"))
"""Namespaces that no process may live in."""

_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class Interfaces:
    """Names of interfaces; `all` says that no namespace was closed to us."""

    names: frozenset[str]
    all: bool


def own_interfaces() -> frozenset[str]:
    """Those of our own namespace."""
    return _names(_OWN)


def known_interfaces() -> Interfaces:
    """Those of the namespaces of all processes, and of the namespaces that have names."""
    names, seen, complete = set(own_interfaces()), set[int](), True
    for process in _processes():
        try:
            inode = (process / "ns" / "net").stat().st_ino
            if inode not in seen:
                names |= _names(process / "net" / "dev")
                seen.add(inode)
        except PermissionError:
            # the list may be read where the number may not
            names |= _names_if_there(process / "net" / "dev")
        except OSError:
            continue  # it ended meanwhile
    for path in _named_namespaces():
        try:
            if path.stat().st_ino not in seen:
                names |= _names_within(path)
        except OSError:
            complete = False
    return Interfaces(frozenset(names), complete)


def _processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdecimal())


def _named_namespaces() -> Iterator[Path]:
    for directory in _NAMED:
        try:
            yield from directory.iterdir()
        except FileNotFoundError:
            continue
        except PermissionError:
            yield directory


def _names(path: Path) -> frozenset[str]:
    """Of the lines below the two headings (net/core/net-procfs.c)."""
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()[2:]
    return frozenset(line.partition(":")[0].strip() for line in lines)


def _names_if_there(path: Path) -> frozenset[str]:
    try:
        return _names(path)
    except OSError:
        return frozenset()


def _names_within(path: Path) -> frozenset[str]:
    """Those of the namespace at a path, seen by a thread of its own, which enters it. OSError if it may not."""
    found: list[frozenset[str] | OSError] = []

    def look() -> None:
        try:
            with path.open("rb", buffering=0) as file:
                check(libc().setns(file.fileno(), ctypes.c_int(_CLONE_NEWNET)))
            found.append(_names(_OWN))
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]
