"""What the nodes speak of: the values that a hook gives, and tcpdump's expressions."""

from __future__ import annotations

from dataclasses import dataclass

from xcapscript.source import Span
from xcapscript.types import Type

Instructions = tuple[tuple[int, int, int, int], ...]
"""Classic BPF: (code, jt, jf, k) each."""


RESULT, NO_RESULT = -1, -2
"""The place of what a kretprobe's function returned, and that of what is 0, as the function returns nothing."""


@dataclass(frozen=True, slots=True)
class Operand:
    """Where a static probe's argument is: a constant, a register (named as struct pt_regs does) or `shift` bits behind
    its beginning, or what is in memory at register + index * scale + offset.
    """

    bits: int
    signed: bool
    constant: int | None = None
    register: str = ""
    shift: int = 0
    in_memory: bool = False
    index: str = ""
    scale: int = 1
    offset: int = 0


@dataclass(frozen=True, slots=True)
class HookArgument:
    """A value that the hook gives: an argument by its index, or as a static probe says where it is, or a tracepoint's
    field by its offset in bytes.
    """

    name: str
    type: Type
    place: int | Operand


@dataclass(frozen=True, slots=True)
class Filter:
    """A tcpdump expression and its classic BPF for Ethernet and for raw IP; None: no packet of that kind matches."""

    text: str
    ethernet: Instructions | None
    raw: Instructions | None
    span: Span
