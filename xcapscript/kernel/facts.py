"""What the compiler asks of a kernel, live or frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from xcapscript.types import EnumType, Type


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a raw tracepoint or function."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class RawTracepoint:
    """A raw tracepoint's own arguments (BTF typedef `btf_trace_NAME`, without the leading `void *__data`)."""

    name: str
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class TracepointField:
    """A field of a tracepoint's record (tracefs `events/CATEGORY/NAME/format`); offset in bytes.

    `dynamic` fields (`__data_loc`) hold a 32-bit offset and length instead of the value.
    """

    name: str
    type: Type
    offset: int
    dynamic: bool = False


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """A tracepoint: the id that perf_event_open(2) takes, and its fields without the common_ ones."""

    category: str
    name: str
    id: int
    fields: tuple[TracepointField, ...]


class Kernel(Protocol):
    """The facts themselves. Names that are not there give None; what cannot be asked raises KernelError."""

    def raw_tracepoint(self, name: str) -> RawTracepoint | None:
        """The raw tracepoint of that name."""

    def raw_tracepoints(self) -> Sequence[str]:
        """All names of raw tracepoints, sorted."""

    def tracepoint(self, category: str, name: str) -> Tracepoint | None:
        """The tracepoint of that category and name."""

    def tracepoints(self) -> Sequence[str]:
        """All tracepoints as 'category:name', sorted."""

    def enum(self, name: str) -> EnumType | None:
        """The kernel's `enum NAME`, with the members' names as the kernel spells them."""
