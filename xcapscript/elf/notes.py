"""Static probes (USDT): a program tells of them in notes, with the places of their arguments in the assembler's words.

Source: https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from xcapscript.elf.binary import Binary

NOTES, BASE = ".note.stapsdt", ".stapsdt.base"
_OWNER, _TYPE = b"stapsdt\0", 3
_HEAD = struct.Struct("=III")
_ADDRESSES = struct.Struct("=QQQ")


@dataclass(frozen=True, slots=True)
class StaticProbe:
    """A place in the code, as the file has it; `semaphore` is the address of the counter of who looks, or 0."""

    provider: str
    name: str
    address: int
    semaphore: int
    arguments: tuple[str, ...]


def static_probes(binary: Binary) -> Iterator[StaticProbe]:
    """All that the notes of a program tell of. What is damaged ends them."""
    notes = binary.section(NOTES)
    if notes is None:
        return
    base = binary.section(BASE)
    data, at = notes[1], 0
    while at + _HEAD.size <= len(data):
        owner, size, kind = _HEAD.unpack_from(data, at)
        begin = at + _HEAD.size + (owner + 3 & ~3)
        at = begin + (size + 3 & ~3)
        content = data[begin : begin + size]
        if kind == _TYPE and data[begin - (owner + 3 & ~3) :].startswith(_OWNER) and len(content) > _ADDRESSES.size:
            yield _probe(content, base[0] if base else 0)


def _probe(content: bytes, base: int) -> StaticProbe:
    address, linked, semaphore = _ADDRESSES.unpack_from(content)
    # a program that was linked once more has moved, and its notes have not
    moved = base - linked if base and linked else 0
    texts = [text.decode("utf-8", "replace") for text in content[_ADDRESSES.size :].split(b"\0")]
    provider, name, places = (*texts, "", "")[:3]
    return StaticProbe(provider, name, address + moved, semaphore + moved if semaphore else 0, _split(places))


def _split(places: str) -> tuple[str, ...]:
    """`-4@%edi 8@[sp, 16]`: blanks part them, but not those in brackets."""
    return tuple(re.findall(r"\S+@(?:\[[^\]]*\]|\S+)", places))
