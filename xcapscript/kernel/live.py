"""The facts of the running kernel, each asked for when it is first needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from socket import if_nametoindex

from xcapscript.errors import KernelError
from xcapscript.kernel import places
from xcapscript.kernel.btf import Btf
from xcapscript.kernel.facts import Function, RawTracepoint, Struct, Tracepoint
from xcapscript.kernel.functions import SymbolTable, blacklisted, plain_name
from xcapscript.kernel.interfaces import interfaces_in, named_interfaces
from xcapscript.kernel.netlink import xdp_program
from xcapscript.kernel.tracefs import Tracefs
from xcapscript.types import EnumType, StructType

BTF_FILES = Path("/sys/kernel/btf")
KPROBE_EVENTS = Path("/sys/bus/event_source/devices/kprobe/type")
VMLINUX = "vmlinux"
FENTRY = "BPF_TRACE_FENTRY"


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

    @cached_property
    def symbols(self) -> SymbolTable:
        return SymbolTable()

    @cached_property
    def traceable(self) -> frozenset[str]:
        """The functions that ftrace can be at; none where tracefs does not say."""
        try:
            text = self.tracefs.read("available_filter_functions") or ""
        except KernelError:
            return frozenset()
        return frozenset(line.partition(" ")[0] for line in text.splitlines())

    def attaches(self, kind: str) -> bool:
        """A kernel without kprobes has no perf events of that type, and no fentry; nor has one before Linux 5.5
        (fec56f5890d9), which does not know the constant.
        """
        if not KPROBE_EVENTS.exists():
            return False
        types = self._enum_if_known("bpf_attach_type") if kind == "fentry" else None
        return kind != "fentry" or (types is not None and any(name == FENTRY for _, name in types.members))

    def function(self, name: str, module: str = "") -> Function | None:
        symbol = self.symbols.symbol(name)
        if symbol is None:
            return None
        found = self.symbols.modules[symbol]
        if module not in ("", found):
            return None
        types = self._btf_of(found)
        prototype = types.function(plain_name(symbol)) if types is not None else None
        if prototype is None:
            return Function(name, symbol, None, module=found)
        return replace(prototype, name=name, symbol=symbol, module=found)

    def functions(self, pattern: str, taking: Sequence[str] = ()) -> Sequence[str]:
        wanted_module, _, wanted = pattern.rpartition(":")
        found: set[str] = set()
        if not taking:
            # those without a prototype, too
            for symbol, module in self.symbols.modules.items():
                name = plain_name(symbol)
                if fnmatchcase(name, wanted) and fnmatchcase(module, wanted_module or "*"):
                    found.add(f"{module}:{name}" if module else name)
            return sorted(found)
        for module in self._modules_with(wanted_module):
            types = self._btf_of(module)
            for name in types.prototypes.functions(taking) if types is not None else ():
                if fnmatchcase(name, wanted) and self.symbols.symbol(name) is not None:
                    found.add(f"{module}:{name}" if module else name)
        return sorted(found)

    def why_not(self, name: str) -> str | None:
        plain = name.rpartition(":")[2]
        symbol = self.symbols.symbol(plain)
        if symbol is None:
            if variants := self.symbols.variants.get(plain):
                return f"the compiler made several of it: {' '.join(sorted(variants)[:4])}"
            return "it was inlined, so that it is called nowhere" if self.btf.function(plain) is not None else None
        if symbol in self._blacklisted:
            return "the kernel forbids kprobes at it (NOKPROBE_SYMBOL)"
        if self.traceable and symbol not in self.traceable:
            return "it is marked notrace"
        return None

    def _modules_with(self, wanted: str) -> Iterator[str]:
        """The modules that a pattern matches, of those with BTF; an empty one means all, and the kernel itself: ''."""
        if not wanted:
            yield ""
        for path in sorted(BTF_FILES.iterdir()) if BTF_FILES.is_dir() else ():
            if path.name != VMLINUX and fnmatchcase(path.name, wanted or "*"):
                yield path.name

    def _btf_of(self, module: str) -> Btf | None:
        if not module:
            return self.btf
        if module not in self._modules:
            path = BTF_FILES / module
            self._modules[module] = Btf(path, self.btf) if path.exists() else None
        return self._modules[module]

    @cached_property
    def _blacklisted(self) -> Collection[str]:
        return blacklisted()

    @cached_property
    def _modules(self) -> dict[str, Btf | None]:
        return {}

    def tracepoint(self, category: str, name: str) -> Tracepoint | None:
        return self.tracefs.tracepoint(category, name, self._enum_if_known)

    def tracepoints(self) -> Sequence[str]:
        return self.tracefs.names

    def interfaces(self, namespace: str) -> Sequence[str]:
        path = places.namespace_path(namespace) if namespace else None
        try:
            return sorted(interfaces_in(path))
        except OSError as error:
            advice = "to enter it takes CAP_SYS_ADMIN: see setns(2)" if isinstance(error, PermissionError) else None
            message = f"cannot look into network namespace '{namespace}': {error.strerror}"
            raise KernelError(message, advice=advice) from None

    def xdp_program(self, interface: str) -> str | None:
        try:
            found = xdp_program(if_nametoindex(interface))
        except OSError:
            return None  # the interface went away
        return None if found is None else str(found)

    def namespaces_with(self, interface: str) -> Sequence[str]:
        return sorted(name for name, names in named_interfaces() if interface in names)

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
        # A tracepoint can be used without the names of its enums' members, and kprobes on a kernel without BTF.
        try:
            return self.btf.enum(name)
        except KernelError:
            return None
