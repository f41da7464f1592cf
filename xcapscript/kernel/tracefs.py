"""Tracepoints from tracefs, mounted or not: their names, and their records' fields from the `format` files."""

from __future__ import annotations

import ctypes
import os
import re
import weakref
from collections.abc import Callable
from functools import cached_property

from xcapscript.errors import KernelError
from xcapscript.kernel.facts import Tracepoint, TracepointField
from xcapscript.kernel.libbpf import check, libc
from xcapscript.types import EnumType, IntType, OpaqueType, PointerType, StringType, Type

DYNAMIC_STRING_SIZE = 64
"""How much we keep of a string whose length is known only when the tracepoint is hit."""

EnumLookup = Callable[[str], EnumType | None]

MOUNT_POINTS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_ADVICE = (
    "run as root, or use rawtracepoint: hooks; with CAP_DAC_READ_SEARCH it can be read where root has mounted it: "
    "mount -t tracefs tracefs /sys/kernel/tracing"
)
# Kernel 5.2; new system calls have the same number on every architecture since 5.0.
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_FSCONFIG_CMD_CREATE = 6
_MOUNT_ATTRIBUTES = 1 | 2 | 4 | 8  # RDONLY, NOSUID, NODEV, NOEXEC

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ID = re.compile(r"^ID:\s*(\d+)", re.MULTILINE)
_FIELD = re.compile(r"^\tfield:(.+?);\s*offset:(\d+);\s*size:(\d+);(?:\s*signed:(\d))?", re.MULTILINE)
_DECLARATION = re.compile(r"(?P<type>.*?)\s*(?P<name>\w+)(?P<array>\[.*\])?")
_QUALIFIERS = re.compile(r"\b(?:const|volatile|__user|__rcu|__percpu|__seg_[gf]s)\b")
_DATA_LOC = "__data_loc "
_WIDTHS = {1, 2, 4, 8}


class Tracefs:
    """The tracefs of the running kernel. Without a mounted one it is mounted where nobody sees it, and goes with us."""

    def __init__(self) -> None:
        self._root = _open_root()
        weakref.finalize(self, os.close, self._root)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All tracepoints that can be attached to, as 'category:name', sorted."""
        return tuple(sorted((self.read("available_events") or "").split()))

    def format(self, category: str, name: str) -> str | None:
        """The text of the tracepoint's `format` file."""
        if not (_NAME.fullmatch(category) and _NAME.fullmatch(name)):
            return None
        return self.read(f"events/{category}/{name}/format")

    def tracepoint(self, category: str, name: str, enum: EnumLookup) -> Tracepoint | None:
        """The tracepoint, its enums as `enum` knows them."""
        text = self.format(category, name)
        return parse_format(category, name, text, enum) if text is not None else None

    def read(self, path: str) -> str | None:
        """The text of a file; None if it is not there."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._root)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise KernelError(f"cannot read '{path}' in tracefs: {error.strerror}", advice=_ADVICE) from None
        with os.fdopen(fd, encoding="utf-8", errors="replace") as file:
            return file.read()


def parse_format(category: str, name: str, text: str, enum: EnumLookup) -> Tracepoint:
    """A tracepoint from its `format` file (kernel/trace/trace_events.c, f_show())."""
    number = _ID.search(text)
    if number is None:
        raise KernelError(f"the format of tracepoint '{category}:{name}' has no id", advice=_ADVICE)
    fields = (_field(match, enum) for match in _FIELD.finditer(text))
    shown = tuple(field for field in fields if field is not None and not field.name.startswith("common_"))
    return Tracepoint(category, name, int(number[1]), shown)


def _field(match: re.Match[str], enum: EnumLookup) -> TracepointField | None:
    declaration = _DECLARATION.fullmatch(match[1].strip())
    if declaration is None:  # a pointer to a function
        return None
    declared = _QUALIFIERS.sub("", declaration["type"]).strip()
    dynamic = declared.startswith(_DATA_LOC)
    declared = " ".join(declared.removeprefix(_DATA_LOC).split())
    array, size = declaration["array"], int(match[3])
    kind: Type
    if dynamic:
        kind = StringType(DYNAMIC_STRING_SIZE) if declared == "char[]" else OpaqueType(declared)
    elif array is None:
        kind = _scalar(declared, size, enum, signed=match[4] == "1")
    elif declared == "char" and size:
        kind = StringType(size)
    else:
        kind = OpaqueType(declared + array)
    return TracepointField(declaration["name"], kind, int(match[2]), dynamic)


def _scalar(declared: str, size: int, enum: EnumLookup, *, signed: bool) -> Type:
    if declared.endswith("*"):
        return PointerType(" ".join(declared[:-1].split()))
    if declared.startswith("enum ") and size == 4:
        name = declared.removeprefix("enum ")
        return enum(name) or EnumType(name, ())
    if size in _WIDTHS and not declared.startswith(("struct ", "union ", "__rel_loc ")):
        return IntType(size * 8, signed)
    return OpaqueType(declared)


def is_readable(directory: str) -> bool:
    """Whether a tracefs is mounted there that we may read; access(2) would leave capabilities out of account."""
    try:
        os.close(os.open(f"{directory}/events", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _open_root() -> int:
    for directory in MOUNT_POINTS:
        if is_readable(directory):
            return os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _mount_detached()
    except OSError as error:
        raise KernelError(f"cannot open tracefs: {error.strerror}", advice=_ADVICE) from None


def _mount_detached() -> int:
    """A mount of tracefs that is in no mount table, as a descriptor; the last one closed takes it away."""
    system = libc().syscall
    context = check(system(_FSOPEN, b"tracefs", _FSOPEN_CLOEXEC))
    try:
        check(system(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0))
        return check(system(_FSMOUNT, context, _FSMOUNT_CLOEXEC, ctypes.c_uint(_MOUNT_ATTRIBUTES)))
    finally:
        os.close(context)
