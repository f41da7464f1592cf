"""The functions of the running kernel: which there are (/proc/kallsyms), which a kprobe cannot be at and why, and which
of them take a pointer to a struct, found in one pass over a BTF's types.

Source: Documentation/bpf/btf.rst, Documentation/trace/kprobes.rst.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

KALLSYMS = Path("/proc/kallsyms")
BLACKLIST = Path("/sys/kernel/debug/kprobes/blacklist")

_TYPE = struct.Struct("=III")
_HEADER = struct.Struct("=HBBIIIII")
_CODE = "tTwW"
_PADDING = ("__pfx_", "__cfi_")
"""What lies before functions, and is called by nobody."""

_VARIANT = re.compile(r"\.(?:isra|constprop|part|cold|llvm)\b.*")
_PTR, _STRUCT, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _FUNC, _PROTO, _TYPE_TAG = 2, 4, 8, 9, 10, 11, 12, 13, 18
_MODIFIERS = {_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG}
# What follows struct btf_type: bytes in all, or bytes for each of its `vlen` parts.
_FIXED = {1: 4, 3: 12, 14: 4, 17: 4}
_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}


class SymbolTable:
    """The names of the code in /proc/kallsyms, which anybody may read, and the module that each is in."""

    def __init__(self, path: Path = KALLSYMS) -> None:
        self._path = path

    @cached_property
    def modules(self) -> Mapping[str, str]:
        """The module of each symbol, '' for the kernel's own."""
        found: dict[str, str] = {}
        for line in self._path.read_text(encoding="ascii", errors="replace").splitlines():
            _, kind, rest = line.split(" ", 2)
            if kind in _CODE:
                name, _, module = rest.partition("\t")
                if module != "[bpf]" and not name.startswith(_PADDING):
                    found.setdefault(name, module.strip("[]"))
        return found

    @cached_property
    def variants(self) -> Mapping[str, Sequence[str]]:
        """The symbols that the compiler made out of each function, under names of their own."""
        found: dict[str, list[str]] = {}
        for symbol in self.modules:
            if "." in symbol and is_variant(symbol):
                found.setdefault(plain_name(symbol), []).append(symbol)
        return found

    def symbol(self, name: str) -> str | None:
        """The symbol that a function is found by: its name, or that of its only variant."""
        if name in self.modules:
            return name
        variants = self.variants.get(name, ())
        return variants[0] if len(variants) == 1 else None


def is_variant(symbol: str) -> bool:
    """Whether the compiler made this out of a function of another name, and it begins where that does."""
    found = _VARIANT.search(symbol)
    return found is not None and ".cold" not in symbol and ".part" not in symbol


def plain_name(symbol: str) -> str:
    """The function's name in the source."""
    return _VARIANT.sub("", symbol)


def blacklisted(path: Path = BLACKLIST) -> Collection[str]:
    """The functions that kprobes must not be at; none where debugfs is not mounted, or not for us to read."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(line.partition("\t")[2] for line in lines)


@dataclass(frozen=True)
class Prototypes:
    """One pass over raw BTF: of each function its name, and what its prototype's parameters are.

    A module's BTF goes on where the kernel's ends: its first type has the id `first`, its first string the offset
    `strings`, and `base` is the kernel's own.
    """

    data: bytes
    first: int = 1
    strings: int = 0
    base: Prototypes | None = None

    @cached_property
    def _records(self) -> list[tuple[int, int, int, int]]:
        """Of each type: name, kind and number of parts, size or type, and where what follows it lies."""
        _, _, _, header, start, length, _, _ = _HEADER.unpack_from(self.data)
        at, end = header + start, header + start + length
        unpack, records = _TYPE.unpack_from, []
        while at < end:
            name, info, size = unpack(self.data, at)
            at += 12
            records.append((name, info, size, at))
            kind = info >> 24 & 0x1F
            at += _FIXED.get(kind, 0) + _EACH.get(kind, 0) * (info & 0xFFFF)
        return records

    @property
    def count(self) -> int:
        """The id behind that of the last type."""
        return self.first + len(self._records)

    @property
    def string_size(self) -> int:
        """The offset behind the last string."""
        return self.strings + int(_HEADER.unpack_from(self.data)[7])

    def functions(self, taking: Collection[str] = ()) -> Iterator[str]:
        """The names of the functions, or of those that take a pointer to one of these structs."""
        wanted = self._prototypes(taking) if taking else None
        for name, info, kind, _ in self._records:
            if info >> 24 & 0x1F == _FUNC and (wanted is None or kind in wanted):
                yield self._string(name)

    def _prototypes(self, taking: Collection[str]) -> set[int]:
        pointers = self.pointers(taking)
        found = set(self.base._prototypes(taking)) if self.base else set()  # noqa: SLF001 -- one of its own
        for number, (_, info, _, at) in enumerate(self._records, self.first):
            if info >> 24 & 0x1F == _PROTO:
                count = info & 0xFFFF
                parameters = struct.unpack_from(f"={2 * count}I", self.data, at)[1::2]
                if not pointers.isdisjoint(parameters):
                    found.add(number)
        return found

    def pointers(self, taking: Collection[str]) -> set[int]:
        """The ids of all types that are pointers to one of the structs, whatever qualifies them."""
        structs = self._structs(taking)
        found = set(self.base.pointers(taking)) if self.base else set()
        qualified = set(structs)
        # what qualifies a type stands before or behind it: again, until nothing is new
        before = -1
        while before != len(qualified) + len(found):
            before = len(qualified) + len(found)
            for number, (_, info, target, _) in enumerate(self._records, self.first):
                kind = info >> 24 & 0x1F
                if kind == _PTR and target in qualified:
                    found.add(number)
                elif kind in _MODIFIERS:
                    if target in qualified:
                        qualified.add(number)
                    elif target in found:
                        found.add(number)
        return found

    def _structs(self, names: Collection[str]) -> set[int]:
        found = set(self.base._structs(names)) if self.base else set()  # noqa: SLF001 -- one of its own
        for number, (name, info, _, _) in enumerate(self._records, self.first):
            if info >> 24 & 0x1F == _STRUCT and self._string(name) in names:
                found.add(number)
        return found

    def _string(self, offset: int) -> str:
        if offset < self.strings and self.base is not None:
            return self.base._string(offset)  # noqa: SLF001 -- one of its own
        _, _, _, header, _, _, start, _ = _HEADER.unpack_from(self.data)
        at = header + start + offset - self.strings
        return self.data[at : self.data.index(b"\0", at)].decode()
