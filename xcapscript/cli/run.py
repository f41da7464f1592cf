"""`xcap` as it is used most: compile, attach, capture until something ends it, and tell what was counted."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import TextIO

from xcapscript.cli.options import Options
from xcapscript.cli.why import why_lines
from xcapscript.diagnostics import escape
from xcapscript.errors import KernelError
from xcapscript.kernel.headers import header_tree
from xcapscript.kernel.symbols import Symbols, strip_entry
from xcapscript.runtime.compiler_process import CompilerProcess
from xcapscript.session import Report, Session
from xcapscript.sinks.outputs import Destinations, Form, Outputs
from xcapscript.sinks.values import Resolve
from xcapscript.unit import EventKind, HookKind, Unit

CAPABILITIES = (("CAP_BPF", 39), ("CAP_PERFMON", 38))
CAP_SYS_ADMIN = 21

RUN_BY_US = frozenset({HookKind.BEGIN, HookKind.END, HookKind.INTERVAL})

PATIENCE = 3
"""Seconds that --cmd's command has to end after SIGTERM."""


def require_privilege() -> None:
    """KernelError if this process may not load programs."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    if effective >> CAP_SYS_ADMIN & 1 or all(effective >> number & 1 for _, number in CAPABILITIES):
        return
    raise KernelError("capturing needs root", advice="run it with sudo; --check, --dump and -l work without")


@dataclass(slots=True)
class Stop:
    """Whether the outside wants the run to end: a signal, the time, or the end of the command."""

    deadline: float | None
    child: subprocess.Popen[bytes] | None = None
    signalled: bool = field(default=False)

    def keep_on(self) -> bool:
        """Whether to go on."""
        if self.signalled or (self.deadline is not None and monotonic() >= self.deadline):
            return False
        return self.child is None or self.child.poll() is None

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """The handler of signals: the first ends the run, a second one also the orderly end."""
        if self.signalled:
            raise KeyboardInterrupt
        self.signalled = True


def run(unit: Unit, process: CompilerProcess, options: Options, errors: TextIO) -> int:
    """Run a unit; its exit status. KernelError or SinkError if it cannot be."""
    loaded = process.load(unit, header_tree())
    process.close()
    stop = Stop(None)
    # before our own handlers: a named pipe may have to be waited for, which Ctrl-C ends
    outputs = Outputs(unit, _destinations(unit, options), _resolver())
    with _signals(stop):
        session = Session(unit, loaded, outputs, options.count)
        try:
            probes = session.start()
            _say(errors, options, f"{probes} probe{'s' if probes != 1 else ''} attached")
            for path in outputs.named_by_us:
                _say(errors, options, f"packets go to {escape(path)}")
            if options.write is not None and not any(spec.kind is EventKind.DUMP for spec in unit.events):
                print(f"xcap: {escape(options.write)} is not written: nothing in the program says dump", file=errors)
            if options.interface is not None and not Path("/sys/class/net", options.interface).exists():
                message = f"no interface here is called '{escape(options.interface)}'; other namespaces may have one"
                _say(errors, options, message)
            if options.process is not None and not Path(f"/proc/{options.process}").exists():
                _say(errors, options, f"there is no process {options.process}")
            if options.time is not None:
                stop.deadline = monotonic() + options.time
            with _command(options.command) as stop.child:
                session.run(stop.keep_on)
            report = session.finish()
        finally:
            session.abandon()
    _tell(report, outputs, unit, options, errors)
    if report.failure is not None and report.failure.errno != errno.EPIPE:
        raise report.failure
    return report.status


def _resolver() -> Resolve:
    """Kernel addresses to names, without the frames that are our own."""
    symbols = Symbols()
    return lambda addresses, depth: list(strip_entry([symbols.resolve(a) for a in addresses]))[:depth]


def _destinations(unit: Unit, options: Options) -> Destinations:
    """Where all goes: lines to standard output, unless packets do or they have a file of their own."""
    taken = "-" in (options.write, *(spec.path for spec in unit.events))
    return Destinations(
        stream=sys.stderr if taken else sys.stdout,
        packets=options.write,
        snaplen=options.snaplen or 0,
        lines=None if options.output == "-" else options.output,
        form=Form(options.format),
        last=options.last,
    )


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    before = {
        number: signal.signal(number, stop.on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _command(command: str | None) -> Iterator[subprocess.Popen[bytes] | None]:
    """Run the command of --cmd; it is ended with the run. What it prints goes to standard error."""
    if command is None:
        yield None
        return
    child = subprocess.Popen(command, shell=True, stdout=sys.stderr, start_new_session=True)  # noqa: S602 -- the user's own
    try:
        yield child
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if child.poll() is None:
                os.killpg(child.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(PATIENCE)


def _say(errors: TextIO, options: Options, text: str) -> None:
    if not options.quiet:
        print(text, file=errors, flush=True)


def _tell(report: Report, outputs: Outputs, unit: Unit, options: Options, errors: TextIO) -> None:
    """What was counted: always the losses, the rest unless it is to be quiet."""
    pairs = list(zip(unit.programs, report.counts, strict=True))
    counts = [count for program, count in pairs if program.attachment.kind not in RUN_BY_US]
    lost = sum(count.lost for count in report.counts)
    hits, matched = sum(count.hits for count in counts), sum(count.matched for count in counts)
    without = sum(count.no_packet for count in counts)
    rest = f", {without} without a packet" if without else ""
    _say(errors, options, f"{hits} hits, {matched} matched, {lost} lost{rest}")
    unread = sum(count.unread for count in counts)
    if unread:
        message = (
            f"{unread} packets were judged by a part of their bytes: this kernel does not let us read the rest here"
        )
        _say(errors, options, message)
    for path, packets in outputs.written():
        _say(errors, options, f"{packets} packet{'s' if packets != 1 else ''} written to {escape(path)}")
    if options.why or options.verbose:
        for line in why_lines(pairs):
            print(line, file=errors)
    if lost and options.quiet:
        print(f"xcap: {lost} events were lost: the reader fell behind", file=errors)
    for name, missed in report.full.items():
        print(f"xcap: {name} is full: {missed} updates were lost", file=errors)
