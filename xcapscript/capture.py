"""What the command line and the prompt do alike: compile a program as it is wanted, load it, and add up its counts."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from xcapscript.codegen.generate import LARGEST_SNAPLEN, Options
from xcapscript.compiler import Compiled, compile_script
from xcapscript.diagnostics import escape
from xcapscript.kernel.bpf import has_ring_buffers
from xcapscript.kernel.facts import Kernel
from xcapscript.kernel.headers import header_tree
from xcapscript.kernel.rights import capabilities, hidden_names
from xcapscript.kernel.symbols import Symbols, strip_entry
from xcapscript.library import Library
from xcapscript.pcap.libpcap import interface_netmask
from xcapscript.runtime.compiler_process import CompilerProcess, Loaded
from xcapscript.runtime.maps import Counts
from xcapscript.sema.analyse import Settings
from xcapscript.sema.filter import Parameters, Rules
from xcapscript.session import Report
from xcapscript.sinks.outputs import Outputs
from xcapscript.sinks.values import Resolve
from xcapscript.source import Source
from xcapscript.types import StackType, SymbolType
from xcapscript.unit import Buffer, HookKind, Unit

RUN_BY_US = frozenset({HookKind.BEGIN, HookKind.END, HookKind.INTERVAL})
"""Hooks that nothing hits but ourselves."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a program is to be run, beside what it says itself: the options of the command line, by their names.

    `shown` says that what is dumped is shown as well, by tcpdump; `checking` that the program is not to run.
    """

    arguments: tuple[str, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)
    write: str | None = None
    shown: bool = False
    snaplen: int | None = None
    count: int | None = None
    interface: str | None = None
    process: int | None = None
    no_names: bool = False
    buffer: Buffer | None = None
    buffer_size: int | None = None
    checking: bool = False


def compile_program(
    source: Source, library: Library, kernel: Kernel, wishes: Wishes, progress: Callable[[float], None]
) -> Compiled:
    """As compile_script(); `progress` is told now and then how many seconds libpcap has been at work."""
    netmask = interface_netmask(wishes.interface) if wishes.interface is not None else None
    settings = Settings(
        Parameters(wishes.arguments, wishes.named),
        Rules(not wishes.no_names, netmask, progress),
        writes=wishes.write is not None or wishes.shown,
        checking=wishes.checking,
    )
    snaplen = None if wishes.snaplen is None else min(wishes.snaplen or LARGEST_SNAPLEN, LARGEST_SNAPLEN)
    code = Options(
        snaplen,
        wishes.count,
        wishes.interface,
        process=wishes.process,
        buffer=wishes.buffer or Buffer.RING,
        buffer_size=wishes.buffer_size,
    )
    return compile_script(source, library, kernel, settings, code)


def usual_buffer() -> Buffer:
    """What this kernel has."""
    return Buffer.RING if has_ring_buffers() else Buffer.PERF


def load(unit: Unit, process: CompilerProcess) -> Loaded:
    """Load a unit; the process has then done its work. ScriptError, KernelError or CompilerBug says why not."""
    try:
        return process.load(unit, header_tree())
    finally:
        process.close()


def resolver() -> Resolve:
    """Kernel addresses to names, without the frames that are our own."""
    symbols = Symbols()
    return lambda addresses, depth: list(strip_entry([symbols.resolve(a) for a in addresses]))[:depth]


def hidden_names_note(unit: Unit) -> str | None:
    """What is to be said of a unit that shows functions of the kernel, where their names are hidden from us."""
    layouts = [*(spec.layout for spec in unit.events), *(part for spec in unit.maps for part in (spec.key, spec.value))]
    kinds = [field.type for layout in layouts for field in layout.fields]
    shown = any(isinstance(kind, StackType | SymbolType) for kind in kinds)
    return hidden_names(capabilities()) if shown else None


@dataclass(frozen=True, slots=True)
class Totals:
    """The counts of a run, added up: `lost` of all programs, the others of those that the kernel runs."""

    hits: int
    matched: int
    lost: int
    without_packet: int
    unread: int
    missed: int = 0


def totals(unit: Unit, counts: Sequence[Counts]) -> Totals:
    """Add up what was counted for each program of a unit."""
    pairs = zip(unit.programs, counts, strict=True)
    hooked = [count for program, count in pairs if program.attachment.kind not in RUN_BY_US]
    return Totals(
        hits=sum(count.hits for count in hooked),
        matched=sum(count.matched for count in hooked),
        lost=sum(count.lost for count in counts),
        without_packet=sum(count.no_packet for count in hooked),
        unread=sum(count.unread for count in hooked),
        missed=sum(count.missed for count in hooked),
    )


def outcome(total: Totals) -> str:
    """What was counted, in one line."""
    without = f", {total.without_packet} without a packet" if total.without_packet else ""
    missed = f", {total.missed} missed" if total.missed else ""
    return f"{total.hits} hit{'s' * (total.hits != 1)}, {total.matched} matched, {total.lost} lost{missed}{without}"


def unread_note(total: Totals) -> str | None:
    """What is to be said of packets that could not be read, if there were any."""
    if not total.unread:
        return None
    return (
        f"{total.unread} packets were judged by a part of their bytes: this kernel does not let us read the rest here"
    )


def saved_lines(report: Report, outputs: Outputs) -> Iterator[str]:
    """What is in the files that could not be written to their ends."""
    full = report.failure is not None and report.failure.errno in (errno.ENOSPC, errno.EDQUOT)
    for path, packets in outputs.saved():
        are = f"{packets} packets are" if packets != 1 else "1 packet is"
        yield f"{'disk full: ' * full}{are} in {escape(path)}"
    for path, packets in outputs.unread():
        yield f"{packets:,} packets are lost: nobody read {escape(path)}"
