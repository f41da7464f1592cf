"""The types of values in the language and on the border between kernel and user space."""

from __future__ import annotations

from dataclasses import dataclass

STACK_SLACK = 4
"""Frames taken beyond those asked for: the program's own and the tracepoint's, which are taken off when shown.
Their number changes while we run (a tracepoint with one probe calls it directly, kernel 5.10)."""

FRAME_SIZE = 8


@dataclass(frozen=True, slots=True)
class IntType:
    """An integer of `bits` 8, 16, 32 or 64."""

    bits: int
    signed: bool = False

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}int{self.bits}"


@dataclass(frozen=True, slots=True)
class StringType:
    """Bytes up to the first NUL, in a field of `size` bytes."""

    size: int

    def __str__(self) -> str:
        return f"string[{self.size}]"


@dataclass(frozen=True, slots=True)
class InternedType:
    """A string known when the program is made; in the kernel it is a 32-bit index into `Unit.strings`."""

    def __str__(self) -> str:
        return "string"


@dataclass(frozen=True, slots=True)
class EnumType:
    """A kernel enum, of 32 bits; shown by the names of its members."""

    name: str
    members: tuple[tuple[int, str], ...]

    def __str__(self) -> str:
        return f"enum {self.name}"


@dataclass(frozen=True, slots=True)
class StackType:
    """A kernel stack of up to `depth` frames, innermost first, zeros behind the last."""

    depth: int

    def __str__(self) -> str:
        return f"kstack({self.depth})"


@dataclass(frozen=True, slots=True)
class PointerType:
    """A kernel pointer to `target`, as C names it ('struct sk_buff', 'void')."""

    target: str

    def __str__(self) -> str:
        return f"{self.target} *"


@dataclass(frozen=True, slots=True)
class IpType:
    """An IP address: 16 bytes in network order, an IPv4 one mapped into IPv6 (RFC 4291, 2.5.5.2); zeros if none."""

    def __str__(self) -> str:
        return "ip"


@dataclass(frozen=True, slots=True)
class MacType:
    """A hardware address: a number of 48 bits, in 64."""

    def __str__(self) -> str:
        return "mac"


@dataclass(frozen=True, slots=True)
class FlowType:
    """Addresses, ports and protocol of a packet: struct xcap_flow."""

    def __str__(self) -> str:
        return "flow"


@dataclass(frozen=True, slots=True)
class SymbolType:
    """A kernel address that is shown as the symbol at it."""

    def __str__(self) -> str:
        return "ksym"


@dataclass(frozen=True, slots=True)
class StructType:
    """A kernel struct or union where it lies; `id` is its BTF id. Its members can be had, it itself is no value."""

    name: str
    id: int

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class ArrayType:
    """A kernel array where it lies: its elements can be had, it itself is no value."""

    element: Type
    length: int
    element_size: int

    def __str__(self) -> str:
        return f"{self.element}[{self.length}]"


@dataclass(frozen=True, slots=True)
class OpaqueType:
    """A kernel type whose values the language cannot hold."""

    name: str

    def __str__(self) -> str:
        return self.name


Type = (
    IntType
    | StringType
    | InternedType
    | EnumType
    | StackType
    | PointerType
    | IpType
    | MacType
    | FlowType
    | SymbolType
    | StructType
    | ArrayType
    | OpaqueType
)

U8, U16, U32, U64 = IntType(8), IntType(16), IntType(32), IntType(64)
S32, S64 = IntType(32, signed=True), IntType(64, signed=True)
TASK_COMM = StringType(16)
IFNAME = StringType(16)


def is_number(kind: Type) -> bool:
    """Whether arithmetic, sum() and hist() take it."""
    return isinstance(kind, IntType | EnumType | PointerType)
