"""The kernel's structures: members, elements and pointers to where a value lies, by BTF."""

from __future__ import annotations

from dataclasses import dataclass

from xcapscript.builtins import SOCKET_FIELDS
from xcapscript.diagnostics import Code, did_you_mean
from xcapscript.kernel.facts import Kernel, Struct
from xcapscript.nodes.expressions import Binary, Expression, Load, Number
from xcapscript.sema.kinds import a
from xcapscript.sema.refusal import refuse
from xcapscript.syntax import ast
from xcapscript.types import U8, U64, ArrayType, EnumType, IntType, PointerType, StringType, StructType, Type

INTEGERS = {f"{sign}int{bits}": IntType(bits, signed=not sign) for sign in ("", "u") for bits in (8, 16, 32, 64)}
SHORT_INTEGERS = {f"{sign}{bits}": IntType(bits, signed=sign == "s") for sign in "us" for bits in (8, 16, 32, 64)}
C_INTEGERS = {
    "unsigned int": IntType(32),
    "int": IntType(32, signed=True),
    "unsigned long": IntType(64),
    "long": IntType(64, signed=True),
    "unsigned char": IntType(8),
    "char": IntType(8, signed=True),
}
BYTE = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value lies: bytes behind an address, and of a bit-field also bits."""

    address: Expression
    offset: int
    type: Type
    bit_offset: int = 0
    bit_size: int = 0


@dataclass(frozen=True, slots=True)
class Structures:
    """Finds places in a kernel's structures."""

    kernel: Kernel

    def pointed_at(self, pointer: Expression, node: ast.Expression) -> Place:
        """What a pointer to a struct points at; refuses other values."""
        if not isinstance(pointer.type, PointerType):
            refuse(Code.TYPE_CLASH, node, f"'{node.span.text}' is {a(pointer.type)}, which has no members")
        keyword, _, name = pointer.type.target.partition(" ")
        found = self.kernel.struct(name) if keyword in ("struct", "union") else None
        if found is None:
            hint = f"say what it points at: ((struct sk_buff *){node.span.text})->..."
            refuse(Code.TYPE_CLASH, node, f"'{node.span.text}' points at {pointer.type.target}", hint)
        return Place(pointer, 0, StructType(found.name, 0))

    def member(self, place: Place, field: ast.Name) -> Place:
        """A member of the struct at a place; refuses names that it does not have."""
        shape = self._shape(place.type)
        if shape is None:
            refuse(Code.TYPE_CLASH, field, f"{a(place.type)} has no members, and so no '{field.name}'")
        member = shape.member(field.name)
        if member is None:
            short = SOCKET_FIELDS if shape.name == "struct sock" else ()
            hints = did_you_mean(field.name, [*short, *(m.name for m in shape.members)])
            refuse(Code.UNKNOWN_FIELD, field, f"'{shape.name}' has no member '{field.name}'", *hints)
        offset, bits = divmod(member.bit_offset, BYTE)
        return Place(place.address, place.offset + offset, member.type, bits, member.bit_size)

    def has(self, place: Place, name: str) -> bool:
        """Whether the struct at a place has a member of that name."""
        shape = self._shape(place.type)
        return shape is not None and shape.member(name) is not None

    def element(self, place: Place, index: Expression, node: ast.Index) -> Place:
        """An element of the array at a place; refuses a constant index that is outside."""
        kind = ArrayType(U8, place.type.size, 1) if isinstance(place.type, StringType) else place.type
        if not isinstance(kind, ArrayType):
            refuse(Code.TYPE_CLASH, node, f"'{node.object.span.text}' is {a(kind)}, which has no elements")
        element, size = kind.element, kind.element_size
        if not isinstance(index, Number):
            distance = Binary("*", index, Number(size, U64), U64)
            return Place(Binary("+", place.address, distance, U64), place.offset, element)
        # an array of no length ends its struct: how long it is, the kernel knows (struct neighbour's primary_key)
        if index.value < 0 or 0 < kind.length <= index.value:
            message = f"'{node.object.span.text}' has {kind.length} elements, counted from 0"
            refuse(Code.TYPE_CLASH, node.index, message)
        return Place(place.address, place.offset + index.value * size, element)

    def value(self, place: Place, node: ast.Expression) -> Expression:
        """What lies at a place; refuses what the language has no value for."""
        kind = place.type
        if isinstance(kind, StructType | ArrayType):
            shape = self._shape(kind)
            known = f"its members: {' '.join(m.name for m in shape.members[:12])}" if shape else "name an element: x[0]"
            refuse(Code.TYPE_CLASH, node, f"'{node.span.text}' is {a(kind)}, which is no value", known)
        if not isinstance(kind, IntType | EnumType | PointerType | StringType):
            refuse(Code.TYPE_CLASH, node, f"'{node.span.text}' is {a(kind)}, which the language has no value for")
        return Load(place.address, place.offset, place.bit_offset, place.bit_size, kind)

    def dereferenced(self, pointer: Expression, node: ast.Expression) -> Expression:
        """The number that a pointer points at."""
        target = pointer.type.target if isinstance(pointer.type, PointerType) else ""
        kind = integer_type(target)
        if kind is None:
            hint = "write *(u64 *)x, or name a member: x->member"
            refuse(Code.TYPE_CLASH, node, f"'{node.span.text}' is {a(pointer.type)}, which points at no number", hint)
        return Load(pointer, 0, 0, 0, kind)

    def cast_to(self, wanted: ast.TypeName) -> Type:
        """The type that a cast names; refuses structs by value and structs that the kernel does not have."""
        name = wanted.name
        if wanted.stars:
            keyword, _, tag = name.partition(" ")
            if keyword in ("struct", "union") and self.kernel.struct(tag) is None:
                refuse(Code.UNKNOWN_NAME, wanted, f"this kernel has no '{name}'")
            return PointerType(name + " *" * (wanted.stars - 1))
        kind: Type | None = integer_type(name)
        if name.startswith("enum "):
            kind = self.kernel.enum(name.removeprefix("enum "))
            if kind is None:
                refuse(Code.UNKNOWN_NAME, wanted, f"this kernel has no '{name}'")
        if kind is None:
            refuse(Code.TYPE_CLASH, wanted, f"'{name}' is no type of a value", f"write ({name} *) for a pointer to one")
        return kind

    def _shape(self, kind: Type) -> Struct | None:
        if not isinstance(kind, StructType):
            return None
        if kind.id:
            return self.kernel.struct_of(kind)
        return self.kernel.struct(kind.name.partition(" ")[2]) or self.kernel.struct_of(kind)


def integer_type(name: str) -> IntType | None:
    """The integer type that a name stands for: u32, uint32_t, or C's own words."""
    plain = name.removesuffix("_t")
    return INTEGERS.get(plain) or SHORT_INTEGERS.get(plain) or C_INTEGERS.get(name)
