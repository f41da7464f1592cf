"""What the compiler asks of a kernel, live or frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from xcapscript.types import EnumType, StructType, Type


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
class Function:
    """A function of the kernel or of a module, as kprobes find it by `symbol`: `symbol` is longer than `name` where the
    compiler made a variant of it (`.isra.0`, `.constprop.0`).

    BTF tells `arguments` and what it returns (None: nothing); where it knows no prototype, `arguments` is None.
    """

    name: str
    symbol: str
    arguments: tuple[Argument, ...] | None
    result: Type | None = None
    module: str = ""


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


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct: where it begins, in bits, and its width in bits when it is a bit-field, else 0."""

    name: str
    type: Type
    bit_offset: int
    bit_size: int = 0


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct or union of `size` bytes; members of anonymous structs and unions within it stand among its own."""

    name: str
    size: int
    members: tuple[Member, ...]

    def member(self, name: str) -> Member | None:
        """The member of that name."""
        return next((member for member in self.members if member.name == name), None)


class NotFound(Exception):
    """What a script calls a thing of the machine names none: one sentence, and hints."""

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints


class Kernel(Protocol):
    """The facts themselves. Names that are not there give None; what cannot be asked raises KernelError."""

    def raw_tracepoint(self, name: str) -> RawTracepoint | None:
        """The raw tracepoint of that name."""

    def raw_tracepoints(self) -> Sequence[str]:
        """All names of raw tracepoints, sorted."""

    def attaches(self, kind: str) -> bool:
        """Whether this kernel has 'kprobe' or 'fentry' at all, as far as can be told without trying."""

    def function(self, name: str, module: str = "") -> Function | None:
        """The function of that name, which can be attached to."""

    def functions(self, pattern: str, taking: Sequence[str] = ()) -> Sequence[str]:
        """The functions that a pattern with wildcards matches, sorted: only those that take a pointer to one of the
        structs `taking`, if there are any. One that is in a module is 'module:function'.
        """

    def why_not(self, name: str) -> str | None:
        """Why no kprobe can be at what is called so; None if one can, or if it is not known."""

    def tracepoint(self, category: str, name: str) -> Tracepoint | None:
        """The tracepoint of that category and name."""

    def tracepoints(self) -> Sequence[str]:
        """All tracepoints as 'category:name', sorted."""

    def interfaces(self, namespace: str) -> Sequence[str]:
        """The network interfaces of the namespace that a name or `pid:N` stands for, of our own for an empty one;
        sorted. NotFound if there is no such namespace.
        """

    def xdp_program(self, interface: str) -> str | None:
        """The XDP program that an interface of our own namespace has already, in words."""

    def namespaces_with(self, interface: str) -> Sequence[str]:
        """The names of the network namespaces that have an interface of that name, sorted."""

    def enum(self, name: str) -> EnumType | None:
        """The kernel's `enum NAME`, with the members' names as the kernel spells them."""

    def struct(self, name: str) -> Struct | None:
        """The kernel's `struct NAME` or `union NAME`."""

    def struct_of(self, kind: StructType) -> Struct | None:
        """The struct of a type that the kernel gave."""

    def network_namespace(self, text: str) -> int:
        """The inode of the network namespace that a name, a path or `pid:N` stands for; NotFound if there is none."""

    def cgroup(self, text: str) -> int:
        """The id of the cgroup that a path or `pid:N` stands for; NotFound if there is none."""
