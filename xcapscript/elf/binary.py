"""One ELF file: its functions, and where in the file their code lies, which is what uprobes go by.

Source: elf(5); Documentation/trace/uprobetracer.rst.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from os import fstat
from pathlib import Path
from typing import BinaryIO

from elftools.common.exceptions import DWARFError, ELFError
from elftools.construct.core import ConstructError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section

SYMBOLS, DYNAMIC_SYMBOLS = ".symtab", ".dynsym"
_LAYOUTS = {64: ("IBBHQQ", (0, 1, 3, 4, 5)), 32: ("IIIBBH", (0, 3, 5, 1, 2))}
"""Elf64_Sym and Elf32_Sym, and where in them st_name, st_info, st_shndx, st_value and st_size are."""

PF_X = 1
_FUNCTION, _CHOSEN = 2, 10
"""STT_FUNC; and STT_GNU_IFUNC, whose code is the choice of a function."""

LARGEST_SECTION = 1 << 29
"""Bytes that are made of a compressed one."""

_BROKEN = (
    *(ELFError, DWARFError, ConstructError, struct.error, zlib.error),
    *(ValueError, KeyError, IndexError, OverflowError, AssertionError),
)
"""What a damaged file makes its reader raise."""


class NotReadable(Exception):
    """A file cannot be had, or is no ELF file: one sentence."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A function: its address, as the file has it, and its size in bytes, 0 if that is not known."""

    name: str
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the file that is mapped, and at which address."""

    address: int
    offset: int
    size: int
    is_code: bool


class Binary:
    """An ELF file, read when it is asked; `name` is the path as it is to be told, `entry` the address at which it is
    begun. Raises NotReadable.
    """

    def __init__(self, path: Path, name: str = "") -> None:
        self._path = path
        self.name = name or str(path)
        with self.reading("header") as file:
            self.bits: int = file.elfclass
            self.machine: str = file.get_machine_arch()
            self.entry: int = file["e_entry"]
            self.is_stripped = file.get_section_by_name(SYMBOLS) is None
            self.segments = tuple(
                Segment(part["p_vaddr"], part["p_offset"], part["p_filesz"], bool(part["p_flags"] & PF_X))
                for part in file.iter_segments("PT_LOAD")
            )
            self._order = "<" if file.little_endian else ">"

    @cached_property
    def functions(self) -> Mapping[str, Sequence[Symbol]]:
        """The functions of each name, of which there may be several: those of files, and versions of a library."""
        found: dict[str, dict[int, Symbol]] = {}
        for symbol in self._symbols(_FUNCTION):
            found.setdefault(symbol.name, {}).setdefault(symbol.address, symbol)
        return {name: tuple(places.values()) for name, places in found.items()}

    @cached_property
    def chosen(self) -> frozenset[str]:
        """The functions that are one of several, which is chosen when the program starts."""
        return frozenset(symbol.name for symbol in self._symbols(_CHOSEN)) - self.functions.keys()

    @cached_property
    def needed(self) -> Sequence[str]:
        """The libraries that it asks the dynamic linker for."""
        with self.reading("dynamic section") as file:
            section = file.get_section_by_name(".dynamic")
            if not isinstance(section, DynamicSection):
                return ()
            return [str(vars(tag)["needed"]) for tag in section.iter_tags("DT_NEEDED")]

    def offset(self, address: int, *, code: bool = True) -> int | None:
        """Where in the file the code, or the data, of an address is; None if there is none."""
        for part in self.segments:
            if part.is_code == code and part.address <= address < part.address + part.size:
                return address - part.address + part.offset
        return None

    def section(self, name: str) -> tuple[int, bytes] | None:
        """The address and the bytes of a section."""
        with self.reading(name) as file:
            section = file.get_section_by_name(name)
            return None if section is None else (section["sh_addr"], _data(section))

    def _symbols(self, kind: int) -> Iterator[Symbol]:
        """Those of a type that are in this file: STT_*. pyelftools makes an object of each, which takes seconds."""
        layout, places = _LAYOUTS[self.bits]
        for name in (SYMBOLS, DYNAMIC_SYMBOLS):
            with self.reading("symbols") as file:
                section = file.get_section_by_name(name)
                if section is None:
                    continue
                texts = _data(file.get_section(section["sh_link"]))
                data = _data(section)
                size = struct.calcsize(self._order + layout)
                whole = memoryview(data)[: len(data) // size * size]
                for members in struct.iter_unpack(self._order + layout, whole):
                    at, info, where, address, length = (members[place] for place in places)
                    if info & 0xF == kind and where and at < len(texts):
                        text = texts[at : texts.find(b"\0", at)].decode("utf-8", "replace")
                        # a library's default version of a function
                        yield Symbol(text.partition("@")[0], address, length)

    @contextmanager
    def reading(self, what: str) -> Iterator[ELFFile]:
        """The file, opened: what it raises for damage becomes NotReadable."""
        try:
            if self._path.is_fifo():
                # it would be waited for
                raise NotReadable(f"'{self.name}' is a named pipe, and no ELF file")
            with self._path.open("rb") as stream:
                yield _opened(stream, self.name)
        except OSError as error:
            raise NotReadable(f"cannot read '{self.name}': {error.strerror or error}") from error
        except _BROKEN as error:
            raise NotReadable(f"'{self.name}' is damaged: its {what} cannot be read") from error


def _data(section: Section) -> bytes:
    """The bytes of a section. What claims to be larger than its file is not asked for."""
    if section.compressed and section.data_size <= LARGEST_SECTION:
        return bytes(section.data())
    if section.compressed or section["sh_offset"] + section["sh_size"] > fstat(section.stream.fileno()).st_size:
        raise ValueError(f"{section.name} is not in the file")
    return bytes(section.data())


def _opened(stream: BinaryIO, name: str) -> ELFFile:
    if stream.read(4) != b"\x7fELF":
        raise NotReadable(f"'{name}' is no ELF file")
    stream.seek(0)
    return ELFFile(stream)
