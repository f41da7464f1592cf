"""The facts of the running kernel, each asked for when it is first needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from xcapscript.errors import KernelError
from xcapscript.kernel import places
from xcapscript.kernel.btf import Btf
from xcapscript.kernel.facts import RawTracepoint, Struct, Tracepoint
from xcapscript.kernel.tracefs import Tracefs
from xcapscript.types import EnumType, StructType


class LiveKernel:
    """The running kernel, through BTF and tracefs."""

    @cached_property
    def btf(self) -> Btf:
        return Btf()

    @cached_property
    def tracefs(self) -> Tracefs:
        return Tracefs()

    def raw_tracepoint(self, name: str) -> RawTracepoint | None:
        return self.btf.raw_tracepoint(name)

    def raw_tracepoints(self) -> Sequence[str]:
        return self.btf.raw_tracepoints

    def tracepoint(self, category: str, name: str) -> Tracepoint | None:
        return self.tracefs.tracepoint(category, name, self._enum_if_known)

    def tracepoints(self) -> Sequence[str]:
        return self.tracefs.names

    def enum(self, name: str) -> EnumType | None:
        return self.btf.enum(name)

    def struct(self, name: str) -> Struct | None:
        return self.btf.struct(name)

    def struct_of(self, kind: StructType) -> Struct | None:
        return self.btf.struct_of(kind)

    def network_namespace(self, text: str) -> int:
        return places.network_namespace(text)

    def cgroup(self, text: str) -> int:
        return places.cgroup(text)

    def _enum_if_known(self, name: str) -> EnumType | None:
        # A tracepoint can be used without the names of its enums' members.
        try:
            return self.btf.enum(name)
        except KernelError:
            return None
