"""BTF written here by hand, after Documentation/bpf/btf.rst, and the running kernel's own where it has one."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from xcapscript.errors import KernelError
from xcapscript.kernel.btf import Btf, Kind
from xcapscript.kernel.facts import Argument, Member, Struct
from xcapscript.types import (
    S32,
    S64,
    U8,
    U32,
    ArrayType,
    EnumType,
    IntType,
    OpaqueType,
    PointerType,
    StringType,
    StructType,
    Type,
)

VMLINUX = Path("/sys/kernel/btf/vmlinux")
needs_btf = pytest.mark.skipif(not VMLINUX.exists(), reason="the running kernel has no BTF")

SIGNED, BOOL = 1, 4


class Blob:
    """Raw BTF, type by type; add() gives the new type's id."""

    def __init__(self) -> None:
        self.types = b""
        self.strings = b"\0"
        self.count = 0
        self.int = self.add("int", Kind.INT, 4, tail=self.encoding(32, SIGNED))
        self.uint = self.add("unsigned int", Kind.INT, 4, tail=self.encoding(32))
        self.data = self.add("", Kind.PTR, 0)

    @staticmethod
    def encoding(bits: int, encoding: int = 0) -> bytes:
        return struct.pack("=I", encoding << 24 | bits)

    def string(self, text: str) -> int:
        if not text:
            return 0
        at = len(self.strings)
        self.strings += text.encode() + b"\0"
        return at

    def add(self, name: str, kind: Kind, size: int, *, length: int = 0, flag: int = 0, tail: bytes = b"") -> int:
        self.types += struct.pack("=III", self.string(name), flag << 31 | kind << 24 | length, size) + tail
        self.count += 1
        return self.count

    def struct(
        self, name: str, size: int, members: list[tuple[str, int, int]], *, kind: Kind = Kind.STRUCT, flag: int = 0
    ) -> int:
        tail = b"".join(struct.pack("=III", self.string(member), *place) for member, *place in members)
        return self.add(name, kind, size, length=len(members), flag=flag, tail=tail)

    def enum(self, name: str, members: dict[str, int], size: int = 4) -> int:
        tail = b"".join(struct.pack("=Ii", self.string(member), value) for member, value in members.items())
        return self.add(name, Kind.ENUM, size, length=len(members), tail=tail)

    def prototype(self, parameters: list[tuple[str, int]], returns: int = 0) -> int:
        tail = b"".join(struct.pack("=II", self.string(name), kind) for name, kind in parameters)
        return self.add("", Kind.FUNC_PROTO, returns, length=len(parameters), tail=tail)

    def raw_tracepoint(self, name: str, parameters: list[tuple[str, int]], caller: str = "__traceiter_") -> None:
        """The typedef has no names of parameters, the function that calls the probes has."""
        unnamed = self.prototype([("", kind) for kind in (self.data, *(kind for _, kind in parameters))])
        self.add(f"btf_trace_{name}", Kind.TYPEDEF, self.add("", Kind.PTR, unnamed))
        if caller:
            named = self.prototype([("__data", self.data), *parameters], self.int)
            self.add(f"{caller}{name}", Kind.FUNC, named, length=1)

    def load(self, directory: Path) -> Btf:
        path = directory / "btf"
        sizes = (0, len(self.types), len(self.types), len(self.strings))
        path.write_bytes(struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, *sizes) + self.types + self.strings)
        return Btf(path)


def mapped(blob: Blob, kind: int, directory: Path) -> Type:
    blob.raw_tracepoint("probe", [("value", kind)])
    found = blob.load(directory).raw_tracepoint("probe")
    assert found is not None
    return found.arguments[0].type


def test_a_raw_tracepoint_has_the_names_of_the_function_that_calls_its_probes(tmp_path: Path) -> None:
    blob = Blob()
    skb = blob.add("", Kind.PTR, blob.add("sk_buff", Kind.FWD, 0))
    blob.raw_tracepoint("tcp_send_reset", [("skb__nullable", skb), ("location", blob.data), ("rc", blob.int)])
    found = blob.load(tmp_path).raw_tracepoint("tcp_send_reset")
    assert found is not None
    assert found.arguments == (
        Argument("skb", PointerType("struct sk_buff")),
        Argument("location", PointerType("void")),
        Argument("rc", S32),
    )


def test_before_linux_5_10_the_names_are_those_of_the_function_that_calls_the_programs(tmp_path: Path) -> None:
    blob = Blob()
    blob.raw_tracepoint("netif_rx", [("rc", blob.int)], caller="__bpf_trace_")
    found = blob.load(tmp_path).raw_tracepoint("netif_rx")
    assert found is not None
    assert [argument.name for argument in found.arguments] == ["rc"]


def test_arguments_that_nobody_names_are_numbered(tmp_path: Path) -> None:
    blob = Blob()
    blob.raw_tracepoint("netif_rx", [("", blob.int), ("", blob.uint)], caller="")
    found = blob.load(tmp_path).raw_tracepoint("netif_rx")
    assert found is not None
    assert found.arguments == (Argument("arg0", S32), Argument("arg1", U32))


def test_the_list_of_raw_tracepoints(tmp_path: Path) -> None:
    blob = Blob()
    for name in ("netif_rx", "kfree_skb"):
        blob.raw_tracepoint(name, [])
    blob.add("not_btf_trace_x", Kind.TYPEDEF, blob.int)
    btf = blob.load(tmp_path)
    assert btf.raw_tracepoints == ("kfree_skb", "netif_rx")
    assert btf.raw_tracepoint("none") is None


@pytest.mark.parametrize(
    ("size", "encoding", "kind"),
    [(1, BOOL, U8), (1, SIGNED, IntType(8, signed=True)), (2, 0, IntType(16)), (8, SIGNED, S64)],
)
def test_numbers(tmp_path: Path, size: int, encoding: int, kind: Type) -> None:
    blob = Blob()
    assert mapped(blob, blob.add("x", Kind.INT, size, tail=blob.encoding(size * 8, encoding)), tmp_path) == kind


def test_a_number_of_128_bits_is_opaque(tmp_path: Path) -> None:
    blob = Blob()
    wide = blob.add("__int128", Kind.INT, 16, tail=blob.encoding(128))
    assert mapped(blob, wide, tmp_path) == OpaqueType("__int128")


def test_typedefs_and_qualifiers_are_taken_off(tmp_path: Path) -> None:
    blob = Blob()
    volatile = blob.add("", Kind.VOLATILE, blob.add("", Kind.CONST, blob.uint))
    assert mapped(blob, blob.add("u32", Kind.TYPEDEF, volatile), tmp_path) == U32


def test_an_enum_has_its_members_as_their_bits_are(tmp_path: Path) -> None:
    blob = Blob()
    kind = blob.enum("reason", {"NONE": 0, "SOME": 7, "ERROR": -1})
    expected = EnumType("reason", ((0, "NONE"), (7, "SOME"), (0xFFFFFFFF, "ERROR")))
    assert mapped(blob, kind, tmp_path) == expected
    btf = blob.load(tmp_path)
    assert btf.enum("reason") == expected
    assert btf.enum("none") is None


def test_enums_that_are_no_enum_type_are_numbers(tmp_path: Path) -> None:
    blob = Blob()
    blob.raw_tracepoint("x", [("packed", blob.enum("small", {"A": 0}, size=1)), ("anonymous", blob.enum("", {"B": 0}))])
    btf = blob.load(tmp_path)
    found = btf.raw_tracepoint("x")
    assert found is not None
    assert [argument.type for argument in found.arguments] == [U8, U32]
    assert btf.enum("small") is None


def test_pointers_are_named_as_c_does(tmp_path: Path) -> None:
    blob = Blob()
    const_char = blob.add("", Kind.CONST, blob.add("char", Kind.INT, 1, tail=blob.encoding(8, SIGNED)))
    text = blob.add("", Kind.PTR, const_char)
    lock = blob.add("lock_t", Kind.TYPEDEF, blob.struct("", 4, [("value", blob.int, 0)]))
    targets = {
        "char": const_char,
        "char *": text,
        "union u": blob.struct("u", 4, [("value", blob.int, 0)], kind=Kind.UNION),
        "enum e": blob.enum("e", {"A": 0}),
        "lock_t": lock,
        "struct s": blob.add("s_t", Kind.TYPEDEF, blob.struct("s", 4, [("value", blob.int, 0)])),
        "void": blob.prototype([]),
    }
    blob.raw_tracepoint("x", [("p", blob.add("", Kind.PTR, target)) for target in targets.values()])
    found = blob.load(tmp_path).raw_tracepoint("x")
    assert found is not None
    assert [argument.type for argument in found.arguments] == [PointerType(target) for target in targets]


def test_a_struct_by_value_is_known_by_its_id(tmp_path: Path) -> None:
    blob = Blob()
    pair = blob.struct("pair", 4, [("value", blob.int, 0)])
    kind = mapped(blob, pair, tmp_path)
    assert kind == StructType("struct pair", pair)
    found = blob.load(tmp_path).struct_of(kind)
    assert found == Struct("struct pair", 4, (Member("value", S32, 0),))


def test_characters_are_a_string(tmp_path: Path) -> None:
    blob = Blob()
    char = blob.add("char", Kind.INT, 1, tail=struct.pack("=I", 8 | 1 << 24))
    name = blob.add("", Kind.ARRAY, 0, tail=struct.pack("=III", char, blob.int, 16))
    assert mapped(blob, name, tmp_path) == StringType(16)


def test_the_members_of_a_struct(tmp_path: Path) -> None:
    blob = Blob()
    array = blob.add("", Kind.ARRAY, 0, tail=struct.pack("=III", blob.uint, blob.int, 3))
    anonymous = blob.struct("", 4, [("len", blob.uint, 0), ("mark", blob.uint, 0)], kind=Kind.UNION)
    width = 3 << 24
    blob.struct(
        "packet",
        24,
        [("", anonymous, 32), ("kind", blob.uint, width | 64), ("rest", blob.uint, 67), ("cb", array, 96)],
        flag=1,
    )
    found = blob.load(tmp_path).struct("packet")
    assert found is not None
    assert found.size == 24
    assert found.members == (
        Member("len", U32, 32),
        Member("mark", U32, 32),
        Member("kind", U32, 64, 3),
        Member("rest", U32, 67),
        Member("cb", ArrayType(U32, 3, 4), 96),
    )
    assert found.member("mark") == found.members[1]
    assert found.member("none") is None


def test_c_text_has_what_a_type_needs_before_it(tmp_path: Path) -> None:
    blob = Blob()
    inner = blob.struct("inner", 4, [("value", blob.int, 0)])
    blob.struct("outer", 4, [("inner", inner, 0)])
    blob.add("word", Kind.TYPEDEF, blob.uint)
    text = blob.load(tmp_path).c_text([(Kind.STRUCT, "outer"), (Kind.STRUCT, "none"), (Kind.TYPEDEF, "word")])
    assert text == (
        "struct inner {\n\tint value;\n};\n\n"
        "struct outer {\n\tstruct inner inner;\n};\n\n"
        "typedef unsigned int word;\n\n"
    )


def test_c_text_has_names_of_any_length(tmp_path: Path) -> None:
    blob = Blob()
    name = "x" * 100_000
    blob.add(name, Kind.TYPEDEF, blob.uint)
    assert blob.load(tmp_path).c_text([(Kind.TYPEDEF, name)]) == f"typedef unsigned int {name};\n\n"


def test_a_struct_that_holds_itself_is_an_error(tmp_path: Path) -> None:
    blob = Blob()
    blob.struct("endless", 4, [("endless", blob.count + 1, 0)])
    with pytest.raises(KernelError, match="as C"):
        blob.load(tmp_path).c_text([(Kind.STRUCT, "endless")])


def test_what_is_no_btf_is_an_error_with_advice(tmp_path: Path) -> None:
    (tmp_path / "btf").write_bytes(b"no BTF at all, but long enough")
    with pytest.raises(KernelError) as caught:
        Btf(tmp_path / "btf")
    assert "CONFIG_DEBUG_INFO_BTF" in str(caught.value.advice)


@needs_btf
def test_each_listed_raw_tracepoint_of_this_kernel_is_one() -> None:
    btf = Btf()
    assert "kfree_skb" in btf.raw_tracepoints
    assert [name for name in btf.raw_tracepoints if btf.raw_tracepoint(name) is None] == []


@needs_btf
def test_kfree_skb_of_this_kernel() -> None:
    found = Btf().raw_tracepoint("kfree_skb")
    assert found is not None
    assert found.arguments[:2] == (
        Argument("skb", PointerType("struct sk_buff")),
        Argument("location", PointerType("void")),
    )
