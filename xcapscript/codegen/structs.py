"""C structs from layouts, and the C types of the language's types."""

from __future__ import annotations

from typing import assert_never

from xcapscript.codegen.literals import c_identifier
from xcapscript.layout import Layout, size_of
from xcapscript.types import (
    STACK_SLACK,
    ArrayType,
    EnumType,
    FlowType,
    InternedType,
    IntType,
    IpType,
    MacType,
    OpaqueType,
    PointerType,
    StackType,
    StringType,
    StructType,
    SymbolType,
    Type,
)


def struct_text(layout: Layout) -> str:
    """The declaration of a layout's struct; gaps are members, so that they can be set to zero."""
    lines = [f"struct {c_identifier(layout.name)} {{"]
    for name, offset, size in members(layout):
        if offset < 0:
            lines.append(f"\tu8 {name}[{size}];")
        else:
            lines.append(f"\t{_member(name, layout.field(name).type)};")
    return "\n".join([*lines, "};"])


def members(layout: Layout) -> list[tuple[str, int, int]]:
    """(name, offset, size) of each member in order; a gap has the offset -1."""
    found: list[tuple[str, int, int]] = []
    at = 0
    for field in layout.fields:
        if field.offset > at:
            found.append((f"gap_{at}", -1, field.offset - at))
        found.append((field.name, field.offset, size_of(field.type)))
        at = field.offset + size_of(field.type)
    if layout.size > at:
        found.append((f"gap_{at}", -1, layout.size - at))
    return found


def _member(name: str, kind: Type) -> str:
    match kind:
        case StringType(size):
            return f"char {c_identifier(name)}[{size}]"
        case StackType(depth):
            return f"u64 {c_identifier(name)}[{depth + STACK_SLACK}]"
        case IpType():
            return f"struct xcap_ip {c_identifier(name)}"
        case FlowType():
            return f"struct xcap_flow {c_identifier(name)}"
        case _:
            return f"{ctype(kind)} {c_identifier(name)}"


def ctype(kind: Type) -> str:
    """The C type of a number."""
    match kind:
        case IntType(bits, signed):
            return f"{'s' if signed else 'u'}{bits}"
        case EnumType() | InternedType():
            return "u32"
        case PointerType() | MacType() | SymbolType():
            return "u64"
        case StringType() | StackType() | IpType() | FlowType() | StructType() | ArrayType() | OpaqueType():
            raise ValueError(f"{kind} is not a number in C")
        case _:
            assert_never(kind)
