"""A kernel's types from its BTF, through libbpf: raw tracepoints, enums, structs, and C text of any of them.

Source: Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import ctypes
import re
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from struct import Struct as Packing

from xcapscript.errors import KernelError
from xcapscript.kernel.facts import Argument, Function, Member, RawTracepoint, Struct
from xcapscript.kernel.functions import Prototypes
from xcapscript.kernel.libbpf import PRINTF, check, check_pointer, libc, load
from xcapscript.types import (
    ArrayType,
    EnumType,
    IntType,
    OpaqueType,
    PointerType,
    StringType,
    StructType,
    Type,
)

_HEADER = Packing("=III")  # struct btf_type: name_off, info, size or type
_PAIR = Packing("=II")  # struct btf_param, struct btf_enum
_ARRAY = Packing("=III")  # struct btf_array
_MEMBER = Packing("=III")  # struct btf_member
_ENCODING = Packing("=I")  # what follows struct btf_type for an integer
_BTF_INT_SIGNED = 1
_BTF_HEADER = Packing("=HBBIIIII")  # struct btf_header
_TYPEDEF_PREFIX = "btf_trace_"
_RAW_TRACEPOINT_NAMES = re.compile(rb"\0btf_trace_(\w+)(?=\0)")
_WIDTHS = {1, 2, 4, 8}


class Kind(IntEnum):
    """BTF_KIND_*"""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


_MODIFIERS = {Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG}


@dataclass(frozen=True, slots=True)
class _Record:
    """struct btf_type, and where what follows it lies in memory."""

    kind: Kind
    name: str
    length: int
    flag: bool
    size: int
    tail: int

    @property
    def target(self) -> int:
        return self.size


class Btf:
    """The BTF of the running kernel, or of a file (raw, or an ELF file with a .BTF section); that of a module goes on
    where its `base`, the kernel's, ends.
    """

    def __init__(self, path: Path | None = None, base: Btf | None = None) -> None:
        library = load()
        self._base = base
        try:
            if path is None:
                self._handle = check_pointer(library.btf__load_vmlinux_btf())
            elif base is not None:
                self._handle = check_pointer(library.btf__parse_split(bytes(path), base._handle))  # noqa: SLF001 -- one of its own
            else:
                self._handle = check_pointer(library.btf__parse(bytes(path), None))
        except OSError as error:
            raise KernelError(
                f"cannot read the kernel's types (BTF) from '{path or '/sys/kernel/btf/vmlinux'}': {error.strerror}",
                advice="run a kernel built with CONFIG_DEBUG_INFO_BTF=y; if it is, install a newer libbpf",
            ) from None
        self._library = library
        weakref.finalize(self, library.btf__free, self._handle)

    def raw_tracepoint(self, name: str) -> RawTracepoint | None:
        """The prototype behind the typedef `btf_trace_NAME`; an argument whose name is not known is `argN`."""
        found = self._find(_TYPEDEF_PREFIX + name, Kind.TYPEDEF)
        if found is None:
            return None
        pointer = self._record(self._record(found).target)
        types = [self._type(kind) for _, kind in self._parameters(self._record(pointer.target))]
        names = self._argument_names(name, len(types))
        return RawTracepoint(name, tuple(map(Argument, names, types)))

    @cached_property
    def raw_tracepoints(self) -> tuple[str, ...]:
        """The names of all raw tracepoints, sorted.

        Taken from the strings, which is ten times as fast as to ask for each type's name: only the typedefs' names
        begin so.
        """
        data = self._raw()
        _, _, _, header, _, _, strings, length = _BTF_HEADER.unpack_from(data)
        names = _RAW_TRACEPOINT_NAMES.findall(data, header + strings, header + strings + length)
        return tuple(sorted(name.decode() for name in names))

    def function(self, name: str) -> Function | None:
        """The function of that name, by its prototype; an argument that has no name there is `argN`."""
        found = self._find(name, Kind.FUNC)
        if found is None:
            return None
        prototype = self._record(self._record(found).target)
        arguments = tuple(
            Argument(self._string(label) or f"arg{number}", self._type(kind))
            for number, (label, kind) in enumerate(self._tail(prototype, _PAIR))
            if kind  # the last of a function with a variable number of arguments is none
        )
        result = self._type(prototype.target) if prototype.target else None
        return Function(name, name, arguments, result)

    @cached_property
    def prototypes(self) -> Prototypes:
        """All functions, in one pass."""
        if self._base is None:
            return Prototypes(self._raw())
        base = self._base.prototypes
        return Prototypes(self._raw(), base.count, base.string_size, base)

    def _raw(self) -> bytes:
        size = ctypes.c_uint32()
        start = self._library.btf__raw_data(self._handle, ctypes.byref(size))
        return ctypes.string_at(start, size.value)

    def enum(self, name: str) -> EnumType | None:
        """`enum NAME`, if it is of 32 bits; negative values are given as what their bits are without a sign."""
        found = self._find(name, Kind.ENUM)
        kind = self._type(found) if found is not None else None
        return kind if isinstance(kind, EnumType) else None

    def struct(self, name: str) -> Struct | None:
        """`struct NAME` or `union NAME`."""
        for kind in (Kind.STRUCT, Kind.UNION):
            found = self._find(name, kind)
            if found is not None:
                return self.struct_of(StructType(f"{_KEYWORDS[kind]} {name}", found))
        return None

    def struct_of(self, kind: StructType) -> Struct:
        """The struct of a type that one of its users has."""
        record = self._record(kind.id)
        return Struct(kind.name, record.size, tuple(self._members(record, 0)))

    def c_text(self, wanted: Iterable[tuple[Kind, str]]) -> str:
        """C definitions of the wanted types and of all that they need, in order. Those not there are left out.

        Raises KernelError when libbpf cannot write one down.
        """
        pieces: list[bytes] = []

        def collect(_: int | None, form: bytes, arguments: int) -> None:
            pieces.append(_formatted(form, arguments))

        # A name keeps the callback alive for as long as the library may call it.
        callback = PRINTF(collect)
        dump = check_pointer(self._library.btf_dump__new(self._handle, callback, None, None))
        try:
            for kind, name in wanted:
                found = self._find(name, kind)
                if found is not None:
                    check(self._library.btf_dump__dump_type(dump, found))
        except OSError as error:
            raise KernelError(
                f"libbpf cannot write the kernel's types as C: {error.strerror}", advice="install a newer libbpf"
            ) from None
        finally:
            self._library.btf_dump__free(dump)
        return b"".join(pieces).decode()

    def _find(self, name: str, kind: Kind) -> int | None:
        found = self._library.btf__find_by_name_kind(self._handle, name.encode(), kind)
        return found if found > 0 else None

    def _record(self, type_id: int) -> _Record:
        at = self._library.btf__type_by_id(self._handle, type_id)
        name, info, size = _HEADER.unpack(ctypes.string_at(at, _HEADER.size))
        return _Record(
            kind=Kind(info >> 24 & 0x1F),
            name=self._string(name),
            length=info & 0xFFFF,
            flag=bool(info >> 31),
            size=size,
            tail=at + _HEADER.size,
        )

    def _string(self, offset: int) -> str:
        return str(self._library.btf__name_by_offset(self._handle, offset).decode())

    def _tail(self, record: _Record, form: Packing) -> Iterator[tuple[int, ...]]:
        return form.iter_unpack(ctypes.string_at(record.tail, record.length * form.size))

    def _type(self, type_id: int) -> Type:
        record, typedef = self._record(type_id), ""
        while record.kind in _MODIFIERS or record.kind == Kind.TYPEDEF:
            typedef = record.name if record.kind == Kind.TYPEDEF else typedef
            type_id = record.target
            record = self._record(type_id)
        match record.kind:
            case Kind.INT if record.size in _WIDTHS:
                return IntType(record.size * 8, signed=self._is_signed(record))
            case Kind.ENUM if record.size == 4 and record.name:
                members = self._tail(record, _PAIR)
                return EnumType(record.name, tuple((value, self._string(at)) for at, value in members))
            case Kind.ENUM | Kind.ENUM64:
                return IntType(record.size * 8, signed=record.flag)
            case Kind.PTR:
                return PointerType(self._spell(record.target))
            case Kind.STRUCT | Kind.UNION:
                return StructType(self._spell(type_id, typedef), type_id)
            case Kind.ARRAY:
                return self._array(record)
            case _:
                return OpaqueType(self._spell(type_id))

    def _array(self, record: _Record) -> Type:
        """A string for characters, as long as its room."""
        element, _, length = _ARRAY.unpack(ctypes.string_at(record.tail, _ARRAY.size))
        if self._spell(element) == "char":
            return StringType(length)
        size = self._library.btf__resolve_size(self._handle, element)
        return ArrayType(self._type(element), length, max(0, int(size)))

    def _is_signed(self, record: _Record) -> bool:
        (encoding,) = _ENCODING.unpack(ctypes.string_at(record.tail, _ENCODING.size))
        return bool(encoding >> 24 & _BTF_INT_SIGNED)

    def _spell(self, type_id: int, typedef: str = "") -> str:
        """The type as C writes it, without qualifiers; a typedef's name only for what has none of its own."""
        record = self._record(type_id)
        match record.kind:
            case Kind.VOID | Kind.FUNC_PROTO:
                return "void"
            case Kind.STRUCT | Kind.UNION | Kind.ENUM | Kind.ENUM64 if not record.name:
                return typedef or _KEYWORDS[record.kind]
            case Kind.STRUCT | Kind.UNION | Kind.ENUM | Kind.ENUM64:
                return f"{_KEYWORDS[record.kind]} {record.name}"
            case Kind.FWD:
                return f"{'union' if record.flag else 'struct'} {record.name}"
            case Kind.PTR:
                return f"{self._spell(record.target)} *"
            case Kind.ARRAY:
                element, _, length = _ARRAY.unpack(ctypes.string_at(record.tail, _ARRAY.size))
                return f"{self._spell(element)}[{length}]"
            case Kind.TYPEDEF:
                return self._spell(record.target, record.name)
            case kind if kind in _MODIFIERS:
                return self._spell(record.target, typedef)
            case _:
                return record.name

    def _parameters(self, prototype: _Record) -> list[tuple[int, ...]]:
        """Name and type of each parameter but the first, `void *__data`, which programs never see."""
        return list(self._tail(prototype, _PAIR))[1:]

    def _argument_names(self, name: str, count: int) -> list[str]:
        # DWARF, from which BTF is made, has no names in a typedef's prototype; the functions that call the probes
        # (kernel 5.10) and that call BPF programs have.
        for function in (f"__traceiter_{name}", f"__bpf_trace_{name}"):
            found = self._find(function, Kind.FUNC)
            if found is not None:
                parameters = self._parameters(self._record(self._record(found).target))
                if len(parameters) == count:
                    # `skb__nullable` tells the verifier that it may be NULL (kernel 6.13).
                    return [self._string(at).removesuffix("__nullable") for at, _ in parameters]
        return [f"arg{number}" for number in range(count)]

    def _members(self, record: _Record, base: int) -> Iterator[Member]:
        for name, kind, place in self._tail(record, _MEMBER):
            # With the flag, the upper 8 bits are a bit-field's width.
            offset, width = (place & 0xFFFFFF, place >> 24) if record.flag else (place, 0)
            inner = self._record(kind)
            if name == 0 and inner.kind in (Kind.STRUCT, Kind.UNION):
                yield from self._members(inner, base + offset)
            elif name:
                yield Member(self._string(name), self._type(kind), base + offset, width)


_KEYWORDS = {Kind.STRUCT: "struct", Kind.UNION: "union", Kind.ENUM: "enum", Kind.ENUM64: "enum"}


def _formatted(form: bytes, arguments: int) -> bytes:
    """What printf would print: text that is malloc()ed, so that it may have any length."""
    if b"%" not in form:
        return form
    text = ctypes.c_void_p()
    length = libc().vasprintf(ctypes.byref(text), form, ctypes.c_void_p(arguments))
    try:
        return ctypes.string_at(text, length)
    finally:
        libc().free(text)
