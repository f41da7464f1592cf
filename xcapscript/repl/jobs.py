"""What was typed and runs: each program in a thread of its own, with a number, until it ends or is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from mmap import PAGESIZE
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic

from xcapscript.capture import Totals, compile_program, load, outcome, saved_lines, totals, unread_note, usual_buffer
from xcapscript.cli.gone import Gone
from xcapscript.cli.losses import Losses, Remedies
from xcapscript.cli.options import Options, wishes
from xcapscript.cli.why import why_lines
from xcapscript.diagnostics import escape
from xcapscript.errors import UsageError
from xcapscript.kernel.facts import Kernel
from xcapscript.kernel.rights import require_rights
from xcapscript.layout import Value
from xcapscript.library import Library
from xcapscript.repl.failures import told
from xcapscript.repl.screen import Screen
from xcapscript.repl.shown import VoiceLines, destinations
from xcapscript.repl.spare import Spare
from xcapscript.runtime.maps import Counts
from xcapscript.session import Report, Session
from xcapscript.sinks.outputs import Outputs
from xcapscript.sinks.values import Resolve, ValueText
from xcapscript.source import Source
from xcapscript.unit import MapSpec, Program, Unit


class State(StrEnum):
    """What a job is doing."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    FAILED = "failed"


ALIVE = frozenset({State.STARTING, State.RUNNING, State.PAUSED})
AT_THE_PROMPT = Remedies(".set buffer_size", "a smaller snaplen", ", and start it anew")
"""What helps against losses."""

TYPED = "clause"
"""What diagnostics call a program that was typed."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a job is given: facts, where it shows itself, and how wide that is."""

    library: Library
    kernel: Kernel
    spare: Spare
    screen: Screen
    resolve: Resolve
    columns: Callable[[], int]
    colour: bool
    crowded: Callable[[], bool]
    """Whether more than one job runs, so that lines need their job's number."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How far a job is: its counts, events that were not shown, updates that found a map full, bytes in its files."""

    totals: Totals
    unseen: int
    missed: int
    size: int | None


class Job:
    """A program that was typed, and what has become of it."""

    def __init__(self, number: int, source: Source, options: Options, around: Surroundings) -> None:
        self.number = number
        self.source = source
        self.state = State.STARTING
        self.started = monotonic()
        self.unit: Unit | None = None
        self.c_text: str | None = None
        self.options = options
        self._around = around
        self._voice = around.screen.voice()
        self._session: Session | None = None
        self._outputs: Outputs | None = None
        self._lock = Lock()
        self._stop = Event()
        self._kept: dict[str, Mapping[bytes, Value]] = {}
        self._last: Sample | None = None
        self._counts: tuple[Counts, ...] = ()
        self._losses: Losses | None = None
        self._deadline: float | None = None
        self._thread = Thread(target=self._run, name=f"clause {number}", daemon=True)

    def start(self) -> None:
        """Begin to compile; what becomes of it is told on the screen."""
        self.say("starting")
        self._thread.start()

    def stop(self) -> None:
        """Have it end."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it has ended."""
        self._thread.join(seconds)

    @property
    def alive(self) -> bool:
        return self.state in ALIVE

    def pause(self) -> None:
        """Let its hooks do nothing. UsageError if it is not running."""
        with self._lock:
            if self._session is None or self.state is not State.RUNNING:
                raise UsageError(f"clause {self.number} is not running: it is {self.state}")
            self._session.pause()
            self.state = State.PAUSED

    def resume(self) -> None:
        """Go on. UsageError if it is not paused."""
        with self._lock:
            if self._session is None or self.state is not State.PAUSED:
                raise UsageError(f"clause {self.number} is not paused: it is {self.state}")
            self._session.resume()
            self.state = State.RUNNING

    def sample(self) -> Sample | None:
        """How far it is, or was at its end; None if it has not begun."""
        with self._lock:
            return self._look() if self._session is not None else self._last

    def _look(self) -> Sample:
        assert self._session is not None
        assert self._outputs is not None
        assert self.unit is not None
        files = self._outputs.so_far()
        counted = totals(self.unit, self._session.counts())
        missed = sum(self._session.full().values())
        return Sample(counted, self._voice.unseen, missed, None if files is None else files[1])

    def counted(self) -> list[tuple[Program, Counts]]:
        """What was counted for each of its programs; nothing if it has not begun."""
        with self._lock:
            if self.unit is None:
                return []
            counts = self._session.counts() if self._session is not None else self._counts
        return list(zip(self.unit.programs, counts, strict=True)) if counts else []

    def maps(self) -> tuple[MapSpec, ...]:
        """The maps that it has."""
        return self.unit.maps if self.unit is not None else ()

    def content(self, spec: MapSpec) -> Mapping[bytes, Value]:
        """What a map has, or had at the end."""
        with self._lock:
            return self._session.content(spec) if self._session is not None else self._kept.get(spec.name, {})

    def clear(self, spec: MapSpec) -> None:
        """Remove every key of a map."""
        with self._lock:
            if self._session is not None:
                self._session.clear(spec)
            self._kept.pop(spec.name, None)

    @property
    def values(self) -> ValueText:
        """How its values are shown."""
        return ValueText(self.unit.strings if self.unit is not None else (), self._around.resolve)

    def say(self, text: str) -> None:
        """Show a message of this job."""
        self._around.screen.say("\n".join(f"[{self.number}] {line}" for line in text.split("\n")))

    def _run(self) -> None:
        """The thread."""
        try:
            self._capture()
            self.state = State.STOPPED
        except Exception as error:  # noqa: BLE001 -- what ends a clause never ends the prompt
            self.state = State.FAILED
            self.say(told(error))

    def _capture(self) -> None:
        around = self._around
        options = replace(self.options, buffer=self.options.buffer or usual_buffer())
        compiled = compile_program(self.source, around.library, around.kernel, wishes(options), self._tell_progress)
        unit = compiled.unit
        self.c_text = unit.text
        require_rights(unit.kinds)
        if self._stop.is_set():
            self.say("stopped before it began")
            return
        loaded = load(unit, around.spare.take())
        around.spare.warm()
        lines = VoiceLines(self._voice, around.columns, lambda: f"[{self.number}] " if around.crowded() else "")
        try:
            to = destinations(options, self._voice, lines, around.screen.say, colour=around.colour)
            outputs = Outputs(unit, to, around.resolve)
            session = Session(unit, loaded, outputs, options.count)
        except BaseException:
            loaded.close()
            raise
        try:
            probes = self._begin(session, outputs)
            with self._lock:
                self.unit, self._outputs, self._session = unit, outputs, session
                self.state = State.RUNNING
            self._tell_beginning(probes, outputs)
            self._losses = Losses(unit, unit.buffer_pages * PAGESIZE, self._tell_of_losses, remedies=AT_THE_PROMPT)
            self._deadline = None if options.time is None else monotonic() + options.time
            gone = Gone(unit, self.say, ends=f".stop {self.number}")
            session.run(lambda: self._keep_on(session, outputs, gone))
            report = session.finish()
            with self._lock:
                self._last = self._look()
                self._counts = report.counts
                self._kept = {spec.name: session.content(spec) for spec in unit.maps}
                self._session = None
        finally:
            with self._lock:
                self._session = self._outputs = None
            session.abandon()
        self._tell(unit, report, outputs)
        if report.failure is not None:
            raise report.failure

    @staticmethod
    def _begin(session: Session, outputs: Outputs) -> int:
        """Attach; if that cannot be, the files are closed again, which another clause may want."""
        try:
            return session.start()
        except BaseException:
            outputs.abandon()
            raise

    def _keep_on(self, session: Session, outputs: Outputs, gone: Gone) -> bool:
        """Whether it goes on; meanwhile, what it loses is told, and what is gone."""
        gone.look(session)
        if self._losses is not None:
            self._losses.look(session.counts)
        in_time = self._deadline is None or monotonic() < self._deadline
        return in_time and not self._stop.is_set() and not outputs.complete

    def _tell_of_losses(self, text: str) -> None:
        """Once: how many there are from then on stands below the prompt."""
        self._losses = None
        self.say(text)

    def _tell_beginning(self, probes: int, outputs: Outputs) -> None:
        """That it runs, and where its packets go."""
        self.say(f"{probes} probe{'s' * (probes != 1)} attached")
        for path in outputs.named_by_us:
            self.say(f"packets go to {escape(path)}")
        for note in outputs.notes():
            self.say(note)

    def _tell(self, unit: Unit, report: Report, outputs: Outputs) -> None:
        """What was counted, and what was written."""
        total = totals(unit, report.counts)
        self.say(f"stopped: {outcome(total)}")
        if note := unread_note(total):
            self.say(note)
        for path, packets in outputs.written():
            self.say(f"{packets} packet{'s' * (packets != 1)} written to {escape(path)}")
        for line in saved_lines(report, outputs):
            self.say(line)
        for name, missed in report.full.items():
            self.say(f"{name} is full: {missed} updates were lost")
        if self.options.why:
            self.say("\n".join(why_lines(list(zip(unit.programs, report.counts, strict=True)))))

    def _tell_progress(self, seconds: float) -> None:
        self.say(f"libpcap is at work on the expression: {seconds:.0f} s")


class Jobs:
    """All jobs of a prompt, by their numbers; they are never forgotten."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._jobs: list[Job] = []
        self._files: set[str] = set()

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def start(self, what: str | Source, options: Options) -> Job:
        """Start a program: a text, or the script of a file."""
        number = len(self._jobs) + 1
        source = what if isinstance(what, Source) else Source(TYPED, what)
        write, output = (self._own_file(name, number) for name in (options.write, options.output))
        job = Job(number, source, replace(options, write=write, output=output), self._around)
        self._jobs.append(job)
        job.start()
        return job

    def _own_file(self, name: str | None, number: int) -> str | None:
        """The name of a job's file: two jobs cannot write one, and the packets of an earlier one are to be kept."""
        if name is None:
            return None
        path = Path(name)
        own = name if name not in self._files else str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
        self._files.add(own)
        return own

    def find(self, word: str) -> Job:
        """The job of that number. UsageError if there is none."""
        number = word.removeprefix("[").removesuffix("]")
        found = next((job for job in self._jobs if str(job.number) == number), None)
        if found is None:
            numbers = ", ".join(str(job.number) for job in self._jobs) or "nothing was started yet"
            raise UsageError(f"there is no clause '{word}': {numbers}")
        return found

    def alive(self) -> list[Job]:
        """Those that have not ended."""
        return [job for job in self._jobs if job.alive]
