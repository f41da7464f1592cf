"""Writes what the standard library and the examples ask of the running kernel, as JSON.

As root, on the kernel itself: tests/vm/boot -- sh -c "modprobe bridge; python -m tests.data.kernel.asked"
All that a hook may stand for is tried, also what this kernel would never come to, as older ones may.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.stdlib import programs
from xcapscript.codegen.generate import Options
from xcapscript.compiler import compile_script
from xcapscript.diagnostics import ScriptError
from xcapscript.kernel.facts import Function, Kernel, Member, RawTracepoint, Struct, Tracepoint
from xcapscript.kernel.frozen import freeze
from xcapscript.kernel.live import LiveKernel
from xcapscript.library import default_library
from xcapscript.sema.analyse import Settings
from xcapscript.types import EnumType, StructType


@dataclass
class Asked:
    """A kernel that remembers what it was asked, and of structs also which of their members."""

    kernel: Kernel
    raw: set[str] = field(default_factory=set)
    records: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    shapes: dict[str, set[str]] = field(default_factory=dict)
    whole: bool = True
    """Whether structs have the members that nobody has asked for, too."""

    def raw_tracepoint(self, name: str) -> RawTracepoint | None:
        self.raw.add(name)
        return self.kernel.raw_tracepoint(name)

    def raw_tracepoints(self) -> Sequence[str]:
        return self.kernel.raw_tracepoints()

    def attaches(self, kind: str) -> bool:
        return self.kernel.attaches(kind)

    def function(self, name: str, module: str = "") -> Function | None:
        self.names.add(name)
        return self.kernel.function(name, module)

    def functions(self, pattern: str, taking: Sequence[str] = ()) -> Sequence[str]:
        return self.kernel.functions(pattern, taking)

    def why_not(self, name: str) -> str | None:
        self.names.add(name)
        return self.kernel.why_not(name)

    def tracepoint(self, category: str, name: str) -> Tracepoint | None:
        self.records.add(f"{category}:{name}")
        return self.kernel.tracepoint(category, name)

    def tracepoints(self) -> Sequence[str]:
        return self.kernel.tracepoints()

    def enum(self, name: str) -> EnumType | None:
        return self.kernel.enum(name)

    def struct(self, name: str) -> Struct | None:
        return self._remembered(self.kernel.struct(name))

    def struct_of(self, kind: StructType) -> Struct | None:
        return self._remembered(self.kernel.struct_of(kind))

    def network_namespace(self, text: str) -> int:
        return self.kernel.network_namespace(text)

    def cgroup(self, text: str) -> int:
        return self.kernel.cgroup(text)

    def _remembered(self, found: Struct | None) -> Struct | None:
        if found is None:
            return None
        asked = self.shapes.setdefault(found.name, set())
        if not self.whole:
            return Struct(found.name, found.size, tuple(member for member in found.members if member.name in asked))
        return _Remembering(found.name, found.size, found.members, asked)


@dataclass(frozen=True, slots=True)
class _Remembering(Struct):
    asked: set[str]

    def member(self, name: str) -> Member | None:
        self.asked.add(name)
        return next((member for member in self.members if member.name == name), None)


def main() -> None:
    kernel = Asked(LiveKernel())
    for program in programs():
        # what this kernel does not have it was asked for all the same
        with suppress(ScriptError):
            compile_script(program, default_library({}), kernel, Settings(checking=True), Options())
    kernel.whole = False
    structs = {name.partition(" ")[2] for name in kernel.shapes} - {""}
    sys.stdout.write(freeze(kernel, *map(sorted, (kernel.raw, kernel.records, structs, kernel.names))))


if __name__ == "__main__":
    main()
