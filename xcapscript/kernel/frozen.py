"""The facts of a kernel from a JSON file, which tests use without root; and how that file is made.

A type is written as it is shown ('uint32', 'string[16]', 'struct sk_buff *'), an enum's members stand apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from xcapscript.diagnostics import did_you_mean
from xcapscript.kernel.facts import (
    Argument,
    Function,
    Kernel,
    Member,
    NotFound,
    RawTracepoint,
    Struct,
    Tracepoint,
    TracepointField,
)
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

_INT = re.compile(r"(u?)int(8|16|32|64)")
_STRING = re.compile(r"string\[(\d+)\]")
_ARRAY = re.compile(r"(.+)\[(\d+)x(\d+)\]")
"""An array: its elements, their number, and the bytes of each."""


class FrozenKernel:
    """A kernel as freeze() found it. What was not frozen is not there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def raw_tracepoint(self, name: str) -> RawTracepoint | None:
        found = self._facts["raw_tracepoints"].get(name)
        if found is None:
            return None
        return RawTracepoint(name, tuple(Argument(argument, self._type(kind)) for argument, kind in found))

    def raw_tracepoints(self) -> Sequence[str]:
        return sorted(self._facts["raw_tracepoints"])

    def attaches(self, kind: str) -> bool:
        return kind in self._facts.get("attaches", ())

    def function(self, name: str, module: str = "") -> Function | None:
        found = self._facts.get("functions", {}).get(name)
        if found is None or module not in ("", found["module"]):
            return None
        known = found["arguments"]
        arguments = None if known is None else tuple(Argument(one, self._type(kind)) for one, kind in known)
        result = self._type(found["result"]) if found["result"] else None
        return Function(name, found["symbol"], arguments, result, found["module"])

    def functions(self, pattern: str, taking: Sequence[str] = ()) -> Sequence[str]:
        wanted = {f"struct {name} *" for name in taking}
        return sorted(
            f"{found['module']}:{name}" if found["module"] else name
            for name, found in self._facts.get("functions", {}).items()
            if fnmatchcase(name, pattern)
            and (not wanted or any(kind in wanted for _, kind in found["arguments"] or ()))
        )

    def why_not(self, name: str) -> str | None:
        found: str | None = self._facts.get("why_not", {}).get(name)
        return found

    def tracepoint(self, category: str, name: str) -> Tracepoint | None:
        found = self._facts["tracepoints"].get(f"{category}:{name}")
        if found is None:
            return None
        fields = (
            TracepointField(field, self._type(kind), offset, bool(dynamic))
            for field, kind, offset, dynamic in found["fields"]
        )
        return Tracepoint(category, name, found["id"], tuple(fields))

    def tracepoints(self) -> Sequence[str]:
        return sorted(self._facts["tracepoints"])

    def interfaces(self, namespace: str) -> Sequence[str]:
        known: dict[str, list[str]] = self._facts.get("interfaces", {})
        if namespace not in known:
            raise NotFound(
                f"there is no network namespace '{namespace}'", *did_you_mean(namespace, filter(None, known))
            )
        return sorted(known[namespace])

    def xdp_program(self, interface: str) -> str | None:
        found: str | None = self._facts.get("xdp_programs", {}).get(interface)
        return found

    def namespaces_with(self, interface: str) -> Sequence[str]:
        known: dict[str, list[str]] = self._facts.get("interfaces", {})
        return sorted(namespace for namespace, names in known.items() if namespace and interface in names)

    def enum(self, name: str) -> EnumType | None:
        members = self._facts["enums"].get(name)
        return EnumType(name, tuple((value, member) for value, member in members)) if members is not None else None

    def struct(self, name: str) -> Struct | None:
        for keyword in ("struct", "union"):
            if found := self.struct_of(StructType(f"{keyword} {name}", 0)):
                return found
        return None

    def struct_of(self, kind: StructType) -> Struct | None:
        found = self._facts["structs"].get(kind.name)
        if found is None:
            return None
        members = (Member(member, self._type(form), at, width) for member, form, at, width in found["members"])
        return Struct(kind.name, found["size"], tuple(members))

    def network_namespace(self, text: str) -> int:
        return self._numbered("namespaces", "network namespace", text)

    def cgroup(self, text: str) -> int:
        return self._numbered("cgroups", "cgroup", text)

    def _numbered(self, section: str, kind: str, text: str) -> int:
        known: dict[str, int] = self._facts.get(section, {})
        if text not in known:
            raise NotFound(f"there is no {kind} '{text}'", *did_you_mean(text, known))
        return known[text]

    @cached_property
    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        return facts

    def _type(self, text: str) -> Type:
        if text.endswith(" *"):
            return PointerType(text.removesuffix(" *"))
        if number := _INT.fullmatch(text):
            return IntType(int(number[2]), signed=not number[1])
        if string := _STRING.fullmatch(text):
            return StringType(int(string[1]))
        if text.startswith("enum "):
            name = text.removeprefix("enum ")
            return self.enum(name) or EnumType(name, ())
        if array := _ARRAY.fullmatch(text):
            return ArrayType(self._type(array[1]), int(array[2]), int(array[3]))
        if text in self._facts["structs"]:
            return StructType(text, 0)
        return OpaqueType(text)


def freeze(
    kernel: Kernel,
    raw_tracepoints: Iterable[str],
    tracepoints: Iterable[str],
    structs: Iterable[str],
    functions: Iterable[str] = (),
) -> str:
    """JSON that FrozenKernel reads: those hooks, functions and structs, and the enums that they use."""
    types = _Types(kernel)
    raw = {name: types.arguments(one.arguments) for name in raw_tracepoints if (one := kernel.raw_tracepoint(name))}
    records = {name: types.record(record) for name in tracepoints if (record := kernel.tracepoint(*name.split(":", 1)))}
    wanted = tuple(functions)
    reasons = {name: reason for name in wanted if (reason := kernel.why_not(name))}
    prototypes = {name: types.function(function) for name in wanted if (function := kernel.function(name))}
    for name in structs:
        if shape := kernel.struct(name):
            types.add(shape)
    facts: dict[str, dict[str, Any]] = {
        "enums": {name: [list(member) for member in kind.members] for name, kind in sorted(types.enums.items())},
        "raw_tracepoints": raw,
        "tracepoints": records,
        "structs": types.shapes,
        # what a machine has of these is no fact about its kernel: some for tests
        "namespaces": {"blue": 4026532281},
        "cgroups": {"/system.slice": 4711},
        "xdp_programs": {"eth0": "the XDP program 7 (firewall)"},
        "interfaces": {"": ["eth0", "eth1", "lo", "veth7"], "blue": ["lo", "vb"]},
    }
    if prototypes or reasons:
        facts["functions"] = prototypes
        facts["attaches"] = {kind: True for kind in ("kprobe", "fentry") if kernel.attaches(kind)}
        facts["why_not"] = reasons
    return _one_line_an_entry(facts)


class _Types:
    """Writes types down, and keeps the enums and structs that they are made of."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.enums: dict[str, EnumType] = {}
        self.shapes: dict[str, dict[str, Any]] = {}

    def written(self, kind: Type) -> str:
        if isinstance(kind, EnumType):
            self.enums[kind.name] = kind
        if isinstance(kind, StructType) and " " not in kind.name and (shape := self._kernel.struct_of(kind)):
            self.add(shape)  # it has only a typedef's name
        if isinstance(kind, ArrayType):
            return f"{self.written(kind.element)}[{kind.length}x{kind.element_size}]"
        return str(kind)

    def add(self, shape: Struct) -> None:
        members = [[m.name, self.written(m.type), m.bit_offset, m.bit_size] for m in shape.members]
        self.shapes[shape.name] = {"size": shape.size, "members": members}

    def arguments(self, arguments: Iterable[Argument]) -> list[list[str]]:
        return [[argument.name, self.written(argument.type)] for argument in arguments]

    def record(self, record: Tracepoint) -> dict[str, Any]:
        fields = [[f.name, self.written(f.type), f.offset, int(f.dynamic)] for f in record.fields]
        return {"id": record.id, "fields": fields}

    def function(self, function: Function) -> dict[str, Any]:
        return {
            "symbol": function.symbol,
            "module": function.module,
            "arguments": None if function.arguments is None else self.arguments(function.arguments),
            "result": self.written(function.result) if function.result is not None else None,
        }


def _one_line_an_entry(facts: dict[str, dict[str, Any]]) -> str:
    sections = []
    for title, entries in facts.items():
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items())
        sections.append(f"{json.dumps(title)}: {{\n{lines}\n}}")
    return "{\n" + ",\n".join(sections) + "\n}\n"
