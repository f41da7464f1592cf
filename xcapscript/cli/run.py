"""`xcap` as it is used most: compile, attach, capture until something ends it, and tell what was counted."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from mmap import PAGESIZE
from time import monotonic
from types import FrameType
from typing import TextIO

from xcapscript.capture import hidden_names_note, load, outcome, resolver, saved_lines, totals, unread_note
from xcapscript.cli.gone import Gone
from xcapscript.cli.losses import Losses
from xcapscript.cli.options import Options
from xcapscript.cli.progress import Progress, SoFar
from xcapscript.cli.targets import check_interface, check_process
from xcapscript.cli.why import why_lines
from xcapscript.diagnostics import escape
from xcapscript.errors import UsageError
from xcapscript.runtime.compiler_process import CompilerProcess
from xcapscript.session import Report, Session
from xcapscript.sinks.flame import is_drawn
from xcapscript.sinks.live import refusal
from xcapscript.sinks.output import file_type
from xcapscript.sinks.outputs import Destinations, Form, Outputs
from xcapscript.sinks.rotation import Rotation
from xcapscript.unit import EventKind, Unit

MANY = 100
"""Functions: attaching to more may take longer than one waits without a word."""

PATIENCE = 3
"""Seconds that --cmd's command has to end after SIGTERM."""


@dataclass(slots=True)
class Stop:
    """Whether the outside wants the run to end: a signal, the time, or the end of the command."""

    deadline: float | None
    child: subprocess.Popen[bytes] | None = None
    signalled: bool = field(default=False)
    interrupted: bool = field(default=False)
    """By Ctrl-C, which a terminal shows as `^C` where the cursor is."""

    def keep_on(self) -> bool:
        """Whether to go on."""
        if self.signalled or (self.deadline is not None and monotonic() >= self.deadline):
            return False
        return self.child is None or self.child.poll() is None

    def ending(self) -> bool:
        """Whether to wait for nobody any more."""
        return not self.keep_on()

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """The handler of signals: the first ends the run, a second one also the orderly end."""
        if self.signalled:
            raise KeyboardInterrupt
        self.signalled, self.interrupted = True, number == signal.SIGINT


def run(unit: Unit, process: CompilerProcess, options: Options, errors: TextIO) -> int:
    """Run a unit; its exit status. KernelError or SinkError if it cannot be, UsageError if it is not to be."""
    if options.tcpdump is not None and (message := refusal(options.tcpdump)):
        raise UsageError(f"-t: {message}")
    if options.flame is not None and not any(map(is_drawn, unit.maps)):
        raise UsageError("--flame: nothing in the program counts by stack, as count(kstack) does")
    for note in [*_notes_on_targets(options), *filter(None, [hidden_names_note(unit)])]:
        _say(errors, options, escape(note))
    loaded = load(unit, process)
    stop = Stop(None)
    # before our own handlers: a named pipe may have to be waited for, which Ctrl-C ends
    progress = _progress(options, errors)
    _tell_of_pipes(unit, options, errors)
    outputs = Outputs(unit, _destinations(unit, options, progress, stop), resolver())
    with _signals(stop):
        session = Session(unit, loaded, outputs, options.count)
        try:
            functions = sum(len(program.attachment.functions) for program in unit.programs)
            if functions > MANY:
                _say(errors, options, f"attaching to {functions:,} functions")
            probes = session.start()
            if options.verbose:
                for note in session.notes:
                    print(escape(note), file=errors)
            _say(errors, options, f"{probes} probe{'s' if probes != 1 else ''} attached")
            for path in outputs.named_by_us:
                _say(errors, options, f"packets go to {escape(path)}")
            for note in outputs.notes():
                _say(errors, options, note)
            if not any(spec.kind is EventKind.DUMP for spec in unit.events):
                for unused in _unused(options):
                    print(f"xcap: {unused}: nothing in the program says dump", file=errors)
            if options.time is not None:
                stop.deadline = monotonic() + options.time
            with _command(options.command) as stop.child:
                watchers = _watchers(unit, options, progress, errors)
                session.run(partial(_keep_on, stop, session, unit, outputs, progress, watchers))
                if stop.interrupted and progress is None and errors.isatty():
                    print(file=errors)
            report = session.finish()
        finally:
            if progress is not None:
                progress.clear()
            session.abandon()
    _tell(report, outputs, unit, options, errors)
    if report.failure is not None and report.failure.errno != errno.EPIPE:
        raise report.failure
    return report.status


def _notes_on_targets(options: Options) -> list[str]:
    """On what -i and -p name; KernelError if it is not there."""
    interface = check_interface(options.interface) if options.interface is not None else None
    process = check_process(options.process) if options.process is not None else None
    return [note for note in (interface, process) if note is not None]


def _tell_of_pipes(unit: Unit, options: Options, errors: TextIO) -> None:
    """A named pipe is opened when somebody reads it, which may be never. UsageError if that would be in vain."""
    kinds = (EventKind.DUMP, EventKind.RING)
    written = {spec.path or options.write or "" for spec in unit.events if spec.kind in kinds}
    if options.write not in (None, *written) and file_type(options.write or "") == stat.S_IFIFO:
        raise UsageError(f"nothing in the program dumps to '{options.write}', for which its reader would wait")
    for name in sorted({*written, *(name for name in (options.output, options.flame) if name is not None)}):
        if file_type(name) == stat.S_IFIFO:
            _say(errors, options, f"{escape(name)} is a named pipe: the capture begins when somebody reads it")


def _progress(options: Options, errors: TextIO) -> Progress | None:
    """A status line, if one is wanted and there is a terminal that is free for it."""
    taken = options.quiet or (options.tcpdump is not None and sys.stdout.isatty())
    return Progress(errors) if options.progress and not taken and errors.isatty() else None


_Watchers = tuple[Losses | None, Gone]


def _watchers(unit: Unit, options: Options, progress: Progress | None, errors: TextIO) -> _Watchers:
    """The warnings of losses, if they are wanted, and of interfaces that are gone."""

    def tell(text: str) -> None:
        if progress is not None:
            progress.clear()
        print(text, file=errors, flush=True)

    losses = None if options.quiet else Losses(unit, unit.buffer_pages * PAGESIZE, tell)
    return losses, Gone(unit, lambda text: tell(f"xcap: {text}"))


def _keep_on(
    stop: Stop, session: Session, unit: Unit, outputs: Outputs, progress: Progress | None, watchers: _Watchers
) -> bool:
    """Whether the run goes on; and how far it is, and what was lost, if it is time to tell."""
    losses, gone = watchers
    gone.look(session)
    if losses is not None:
        losses.look(session.counts)
    if progress is not None:
        progress.tick(partial(_so_far, session, unit, outputs))
    return stop.keep_on() and not outputs.complete


def _so_far(session: Session, unit: Unit, outputs: Outputs) -> SoFar:
    counts, files = session.counts(), outputs.so_far()
    total = totals(unit, counts)
    if files is None:
        return SoFar(total.matched, "matched", total.lost, None)
    packets, size = files
    return SoFar(packets, "packets", total.lost, size or None)


def _unused(options: Options) -> Iterator[str]:
    """What there is for packets that are dumped."""
    if options.write is not None:
        yield f"{escape(options.write)} is not written"
    if options.tcpdump is not None:
        yield "tcpdump shows nothing"


def _destinations(unit: Unit, options: Options, progress: Progress | None, stop: Stop) -> Destinations:
    """Where all goes: lines to standard output, unless packets do or they have a file of their own."""
    dumped = "-" in (options.write, *(spec.path for spec in unit.events))
    if dumped and options.tcpdump is not None:
        raise UsageError("the program dumps packets to standard output, where -t shows them")
    stream = sys.stderr if dumped or options.tcpdump is not None else sys.stdout
    return Destinations(
        stream=stream,
        packets=options.write,
        snaplen=options.snaplen or 0,
        lines=None if options.output == "-" else options.output,
        form=Form(options.format),
        last=options.last,
        rotation=Rotation.of(options.file_size, options.file_seconds, options.file_count),
        at_once=options.at_once,
        tcpdump=options.tcpdump,
        flame=options.flame,
        ending=stop.ending,
        before=progress.make_way if progress is not None and stream.isatty() else None,
    )


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop.on_signal) for number in numbers}
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
    total = totals(unit, report.counts)
    _say(errors, options, outcome(total))
    if note := unread_note(total):
        _say(errors, options, note)
    for path, packets in outputs.written():
        _say(errors, options, f"{packets} packet{'s' if packets != 1 else ''} written to {escape(path)}")
    for line in saved_lines(report, outputs):
        print(f"{'xcap: ' * options.quiet}{line}", file=errors)
    stacks = outputs.flame.stacks if outputs.flame is not None else None
    if stacks is not None and options.flame is not None:
        _say(errors, options, f"{stacks} stack{'s' if stacks != 1 else ''} drawn in {escape(options.flame)}")
    if options.why or options.verbose:
        for line in why_lines(list(zip(unit.programs, report.counts, strict=True))):
            print(line, file=errors)
    if total.lost and options.quiet:
        print(f"xcap: {total.lost} events were lost: the reader fell behind", file=errors)
    for name, missed in report.full.items():
        print(f"xcap: {name} is full: {missed} updates were lost", file=errors)
