"""The network interfaces of this machine, in all namespaces that this process may look into."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from xcapscript.kernel.libbpf import check, libc

_OWN = Path("/proc/thread-self/net/dev")
_NAMED = (Path("/run/netns"), Path("/run/docker/netns"))
"""Namespaces that no process may live in."""

CLONE_NEWNET = 0x40000000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Interfaces:
    """Names of interfaces; `all` says that no namespace was closed to us."""

    names: frozenset[str]
    all: bool


def own_interfaces() -> frozenset[str]:
    """Those of our own namespace."""
    return _names(_OWN)


def interfaces_in(namespace: Path | None) -> frozenset[str]:
    """Those of the namespace at a path (None: of our own). OSError if it may not be entered."""
    return within(namespace, own_interfaces)


def named_interfaces() -> Iterator[tuple[str, frozenset[str]]]:
    """Those of each namespace that has a name of ip-netns(8) and may be entered."""
    for path in _entries(_NAMED[0]):
        try:
            yield path.name, interfaces_in(path)
        except OSError:
            continue  # it is closed to us, or went away


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
                names |= interfaces_in(path)
        except OSError:
            complete = False
    return Interfaces(frozenset(names), complete)


def _processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdecimal())


def _named_namespaces() -> Iterator[Path]:
    for directory in _NAMED:
        yield from _entries(directory)


def _entries(directory: Path) -> Iterator[Path]:
    """What is in it; where we may not look, itself, which can as little be entered."""
    try:
        yield from directory.iterdir()
    except FileNotFoundError:
        return
    except PermissionError:
        yield directory


def _names(path: Path) -> frozenset[str]:
    """Of the lines below the two headings (net/core/net-procfs.c)."""
    lines = path.read_bytes().split(b"\n")[2:-1]
    # a name may have what Python, but not the kernel, takes for a blank or the end of a line
    return frozenset(os.fsdecode(line.partition(b":")[0].lstrip(b" ")) for line in lines)


def _names_if_there(path: Path) -> frozenset[str]:
    try:
        return _names(path)
    except OSError:
        return frozenset()


def within(namespace: Path | None, what: Callable[[], T]) -> T:
    """What a function gives in the network namespace at a path (None: in our own): a thread of its own enters it.

    OSError if it may not, and what the function raises.
    """
    if namespace is None:
        return what()

    def enter() -> T:
        with namespace.open("rb", buffering=0) as file:
            check(libc().setns(file.fileno(), ctypes.c_int(CLONE_NEWNET)))
        return what()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(enter).result()
