"""uprobe, uretprobe, usdt: functions and static probes of programs and libraries, which their ELF files tell of."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NoReturn

from xcapscript.diagnostics import Code, did_you_mean
from xcapscript.elf.binary import Binary, NotReadable, Symbol
from xcapscript.elf.search import find_file
from xcapscript.ir import REGISTERS, Hook
from xcapscript.nodes.hook import RESULT, HookArgument
from xcapscript.quotes import has_wildcard, partition, pattern, quoted, split, unquoted
from xcapscript.sema.hooks.bindings import Bindings
from xcapscript.sema.hooks.buffers import BUFFER_NAMES, buffer_packet
from xcapscript.sema.hooks.mbufs import MBUF_NAMES, mbuf_packet
from xcapscript.sema.refusal import refuse
from xcapscript.syntax import ast
from xcapscript.types import S64, U64
from xcapscript.unit import Attachment, HookKind, Site

PLACE = re.compile(r"(?P<name>.+?)(?:\+(?P<offset>0x[0-9a-fA-F]+|[0-9]+))?")
ADDRESS = re.compile(r"0x[0-9a-fA-F]{1,16}")
MACHINES = {"x64": 64, "AArch64": 64}
"""The programs whose arguments we know where to find: 64-bit ones of the kernel's own machine."""

MOST_FUNCTIONS = 4096

DPDK, DPDK_LIBRARY = "rte_", "librte_"
INLINED = frozenset({"rte_eth_rx_burst", "rte_eth_tx_burst", "rte_pktmbuf_alloc", "rte_pktmbuf_free"})
"""What DPDK has in its headers alone."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Resolves the attach points of one of these kinds."""

    kind: HookKind

    def resolve(self, attach: ast.Attach, target: str, shown: str, bindings: Bindings) -> list[Hook]:
        """The hook at a function, or at all that a wildcard matches; ScriptError if there is none."""
        bindings.allow((*BUFFER_NAMES, *MBUF_NAMES))
        shown = partition(shown, "(")[0] if shown == attach.text else shown
        path, name = ("", *split(target, ":", 1))[-2:]
        if not path or not name:
            hint = f"write {self.kind}:PATH:FUNCTION, for instance {self.kind}:libc:recv"
            refuse(Code.BAD_HOOK, attach, f"'{attach.text}' names no function of a program", hint)
        binary = open_binary(attach, unquoted(path))
        sites = self._matching(attach, binary, name) if has_wildcard(name) else [self._one(attach, binary, name)]
        return [self._hook(attach, binary, sites, shown, bindings)]

    def _hook(
        self, attach: ast.Attach, binary: Binary, found: list[tuple[str, list[int]]], shown: str, bindings: Bindings
    ) -> Hook:
        sites: list[Site] = []
        for place, (name, addresses) in enumerate(found):
            for address in addresses:
                offset = binary.offset(address)
                if offset is None:
                    refuse(Code.MISSING_HOOK, attach, f"'{name}' is at {address:#x}, where '{binary.name}' has no code")
                sites.append(Site(offset, place))
        names = tuple(name for name, _ in found)
        path = binary.name
        one = f"{typed(binary)}:{quoted(names[0])}"
        target = one if len(names) == 1 else partition(attach.text.partition(":")[2], "(")[0]
        attachment = Attachment(self.kind, target, functions=names, path=path, sites=tuple(sites))
        within = len(names) == 1 and "+" in names[0]
        arguments = () if within else tuple(HookArgument(f"arg{n}", U64, n) for n in range(REGISTERS))
        result = HookArgument("retval", S64, RESULT) if self.kind is HookKind.URETPROBE else None
        known = (*arguments, result) if result else arguments
        packet = mbuf_packet(bindings, known, REGISTERS, binary) or buffer_packet(bindings, known, REGISTERS)
        return Hook(shown, attachment, arguments, packet, result=result)

    def _one(self, attach: ast.Attach, binary: Binary, name: str) -> tuple[str, list[int]]:
        """What is called so, and where it is, which may be several places."""
        if ADDRESS.fullmatch(name):
            return name, [int(name, 0)]
        parts = PLACE.fullmatch(name)
        assert parts is not None
        base = unquoted(parts["name"])
        symbols = binary.functions.get(base)
        if symbols is None:
            self._missing(attach, binary, base)
        offset = int(parts["offset"], 0) if parts["offset"] else 0
        if offset and self.kind is HookKind.URETPROBE:
            refuse(Code.BAD_HOOK, attach, "a uretprobe takes no offset", "only a uprobe can be within a function")
        for symbol in symbols:
            if offset and symbol.size and offset >= symbol.size:
                message = f"'{symbol.name}' has {symbol.size} bytes, and {parts['offset']} is behind it"
                refuse(Code.BAD_HOOK, attach, message)
        return unquoted(name), [symbol.address + offset for symbol in symbols]

    def _missing(self, attach: ast.Attach, binary: Binary, name: str) -> NoReturn:
        if name in binary.chosen:
            message = f"'{name}' of '{binary.name}' is one of several functions, chosen when the program starts"
            hint = f"see xcap -l {shlex.quote(f'{self.kind}:{typed(binary)}:*{name}*')} for those"
            refuse(Code.MISSING_HOOK, attach, message, hint)
        message = f"'{binary.name}' has no function '{name}'"
        if (elsewhere := self._of_library(binary, name)) is not None:
            refuse(Code.MISSING_HOOK, attach, message, elsewhere)
        hints = (*did_you_mean(name, binary.functions), *_of_dpdk(binary, name))
        if binary.is_stripped:
            message += ": it is stripped, and names only what other files may call"
            hints = (*hints, f"say where it is, as a disassembler shows it: {self.kind}:{typed(binary)}:0x1234")
        refuse(Code.MISSING_HOOK, attach, message, *(hints or (see_list(self.kind, binary),)))

    def _of_library(self, binary: Binary, name: str) -> str | None:
        """A hint at a library that the program loads, if that has the function."""
        for library in binary.needed:
            with suppress(NotReadable):
                if name in read_binary(library).functions:
                    return f"{library}, which it loads, has it: write {self.kind}:{library}:{quoted(name)}"
        return None

    def _matching(self, attach: ast.Attach, binary: Binary, wanted: str) -> list[tuple[str, list[int]]]:
        found = list(matching(binary, pattern(wanted)))
        if not found:
            hint = see_list(self.kind, binary)
            refuse(Code.MISSING_HOOK, attach, f"'{binary.name}' has no function that '{wanted}' matches", hint)
        if len(found) > MOST_FUNCTIONS:
            message = f"'{wanted}' matches {len(found)} functions, of at most {MOST_FUNCTIONS}"
            refuse(Code.BAD_HOOK, attach, message)
        return found


def _of_dpdk(binary: Binary, name: str) -> tuple[str, ...]:
    """A hint at why a function of DPDK is not there."""
    if not name.startswith(DPDK):
        return ()
    if name in INLINED:
        return (f"'{name}' is inlined into programs: attach to a function that calls it, or see the library dpdk",)
    loads = [library for library in binary.needed if library.startswith(DPDK_LIBRARY)]
    known = [function for function in binary.functions if function.startswith(DPDK)]
    if loads or known:
        return ()
    return (f"it has nothing of DPDK: no function {DPDK}*, and it loads no library {DPDK_LIBRARY}*",)


def matching(binary: Binary, pattern: str) -> Iterator[tuple[str, list[int]]]:
    """The functions that a pattern matches, sorted by name, and where they are."""
    taken: set[int] = set()
    for name in sorted(binary.functions):
        if not fnmatchcase(name, pattern):
            continue
        # a function may have several names: it is hit once
        places = [one.address for one in binary.functions[name] if _is_code(binary, one) and one.address not in taken]
        taken.update(places)
        if places:
            yield name, places


def _is_code(binary: Binary, symbol: Symbol) -> bool:
    return binary.offset(symbol.address) is not None


def names_in(target: str) -> Iterator[tuple[str, str]]:
    """What `PATH:PATTERN` names: each function, and a word on it. Raises NotReadable."""
    path, wanted = (*split(target, ":", 1), "*")[:2]
    binary = read_binary(unquoted(path))
    for name, places in matching(binary, pattern(wanted if has_wildcard(wanted) else f"*{wanted}*")):
        sizes = {one.size for one in binary.functions[name]}
        found = f"{quoted(unquoted(path), path=True)}:{quoted(name)}"
        yield found, f"{max(sizes)} bytes at {' '.join(f'{place:#x}' for place in places)}"


def typed(binary: Binary) -> str:
    """The path of a program as it stands in a hook."""
    return quoted(binary.name, path=True)


def see_list(kind: HookKind, binary: Binary) -> str:
    """A hint at what lists the hooks of a program."""
    return f"see xcap -l {shlex.quote(f'{kind}:{typed(binary)}:*')}"


def open_binary(attach: ast.Attach, text: str) -> Binary:
    """The program or library of that path or name; ScriptError if it cannot be read."""
    try:
        return read_binary(text)
    except NotReadable as error:
        refuse(Code.MISSING_HOOK, attach, str(error))


def read_binary(text: str) -> Binary:
    """The program or library of that path or name. Raises NotReadable, also if it is none whose arguments we know."""
    path = find_file(text)
    if path is None:
        what = f"there is no file '{text}'" if "/" in text else f"there is no program or library '{text}'"
        raise NotReadable(what)
    binary = Binary(path, text if "/" in text else str(path))
    if MACHINES.get(binary.machine) != binary.bits:
        raise NotReadable(
            f"'{binary.name}' is a program of {binary.bits} bits for {binary.machine}, which is not supported"
        )
    return binary
