"""A running unit: attach, poll, hand out, and an end that loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from time import monotonic_ns, sleep, time_ns

from xcapscript.layout import Value
from xcapscript.runtime.buffers import open_reader
from xcapscript.runtime.clock import Clock
from xcapscript.runtime.compiler_process import Loaded
from xcapscript.runtime.control import Control
from xcapscript.runtime.doorbell import ASLEEP, Doorbell
from xcapscript.runtime.maps import Counts, clear_map, read_counts, read_full, read_map, zero_map
from xcapscript.runtime.probes import Probes
from xcapscript.runtime.ring import Record
from xcapscript.sinks.base import HookCounts, SinkError
from xcapscript.sinks.outputs import Outputs
from xcapscript.unit import Buffer, Device, EventKind, EventSpec, HookKind, MapSpec, Unit

POLL, IDLE_POLL = 10_000_000, 50_000_000
"""ns between two looks at the buffer, while much comes and while little or nothing does: it holds more than the fastest
sender puts in meanwhile."""

FLUSH = 500_000_000
"""ns that files may lag behind."""

SETTLE = 3_000_000
"""ns for programs that passed the gate before it closed to send what they have."""

PATIENCE = 200_000_000
"""ns to wait, at the end, for a record that was begun and not finished."""


class Ending(Enum):
    """What ends a run."""

    SCRIPT = auto()
    LIMIT = auto()
    OUTSIDE = auto()


@dataclass(frozen=True, slots=True)
class Report:
    """What a run leaves.

    Its exit status, the counts of each program, the updates that found a map full, and the first output that failed.
    """

    status: int
    counts: tuple[Counts, ...]
    full: Mapping[str, int]
    failure: SinkError | None


class Session:
    """One run of a loaded unit; `finish` must be called, whatever happened before."""

    def __init__(self, unit: Unit, loaded: Loaded, outputs: Outputs, limit: int | None) -> None:
        self._unit = unit
        self._loaded = loaded
        self._outputs = outputs
        self._probes = Probes(unit, loaded)
        self._control = Control(loaded.maps["xcap_controls"])
        self._ring = open_reader(unit, loaded.maps["xcap_events"])
        self._clock = Clock()
        self._handlers = [self._handler(spec) for spec in unit.events]
        self._maps = {spec.name: spec for spec in unit.maps}
        self._ending: Ending | None = None
        self._failure: SinkError | None = None
        self._status = 0
        self._flush_at = 0
        if limit is not None:
            self._control.limit(limit)

    def start(self) -> int:
        """Attach, run `begin`, open the gate; how many programs there are. KernelError if one cannot be attached."""
        count = self._probes.attach()
        self._probes.run(HookKind.BEGIN)
        self._control.open_gate()
        self._probes.begin_to_count()
        self._probes.start_timers()
        return count

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user may want to know of how programs were attached."""
        return self._probes.notes

    def run(self, keep_on: Callable[[], bool]) -> None:
        """Poll until the script ends the run, `keep_on` says no, or output fails."""
        self._attempt(partial(self._run, keep_on))

    def _run(self, keep_on: Callable[[], bool]) -> None:
        if all(program.attachment.kind in (HookKind.BEGIN, HookKind.END) for program in self._unit.programs):
            self._ending = Ending.OUTSIDE
        wait = POLL
        is_ring = self._unit.buffer is Buffer.RING
        doorbell = Doorbell(self._control, self._loaded.maps["xcap_events"] if is_ring else None)
        while self._ending is None and keep_on():
            until_timer = self._probes.run_due()
            empty = not self._poll() and not self._ring.waiting
            wait = POLL if self._ring.busy else min(wait + POLL, IDLE_POLL)
            # Small batches would cost more than they hold: only a full one means that there is more to do at once.
            if not self._ring.full:
                most = ASLEEP if empty and is_ring else wait
                doorbell.wait(most if until_timer is None else min(most, until_timer), empty=empty)

    def finish(self) -> Report:
        """Detach, drain, run `end`, print the maps, close the files.

        Output that fails, then or before, is in the report: it keeps nothing else from being done.
        """
        self._control.close_gate()
        missed = self._probes.missed()
        self._probes.detach()
        sleep(SETTLE / 1e9)
        self._attempt(self._drain)
        # What the script's exit cut off stays unseen; what `end` sends is to be seen.
        self._ending = None
        self._probes.run(HookKind.END)
        self._attempt(self._drain)
        for spec in self._unit.maps:
            self._attempt(partial(self._end_map, spec))
        counts = tuple(replace(count, missed=number) for count, number in zip(self.counts(), missed, strict=True))
        full = self.full()
        self._attempt(lambda: self._outputs.close(self._by_hook(counts), full))
        return Report(self._status, counts, full, self._failure)

    def counts(self) -> tuple[Counts, ...]:
        """What has been counted for each program."""
        return tuple(read_counts(self._loaded.maps["xcap_counts"], n) for n in range(len(self._unit.programs)))

    def gone(self) -> list[tuple[Device, str]]:
        """The interfaces that were removed since this was asked last, each with a hook that was there."""
        return self._probes.gone()

    @property
    def blind(self) -> bool:
        """Whether nothing is left that the kernel could hit."""
        return self._probes.blind

    def pause(self) -> None:
        """Make every program return at once, until `resume`."""
        self._control.close_gate()

    def resume(self) -> None:
        """Let the programs run again."""
        self._control.open_gate()

    def content(self, spec: MapSpec) -> dict[bytes, Value]:
        """What a map has now."""
        return read_map(self._loaded.maps[spec.symbol], spec)

    def full(self) -> dict[str, int]:
        """The updates that found a map full, by map."""
        found = (read_full(self._loaded.maps["xcap_map_full"], index) for index in range(len(self._maps)))
        return {name: number for name, number in zip(self._maps, found, strict=True) if number}

    def clear(self, spec: MapSpec) -> None:
        """Remove every key of a map."""
        clear_map(self._loaded.maps[spec.symbol], spec)

    def _attempt(self, what: Callable[[], None]) -> None:
        """Do it; output that fails is for the report, and keeps nothing else from being done."""
        try:
            what()
        except SinkError as error:
            self._failure = self._failure or error

    def abandon(self) -> None:
        """Detach, and let go of everything in the kernel; safe after `finish` and after any failure."""
        self._control.close_gate()
        self._probes.detach()
        self._control.close()
        self._ring.close()
        self._loaded.close()

    def _poll(self, *, final: bool = False) -> int:
        """Hand out one batch; how many records it had."""
        records = self._ring.take(final=final)
        offset = self._clock.offset
        try:
            self._hand_out(records, offset)
        finally:
            try:
                self._outputs.settle()
            finally:
                self._ring.release()
        now = monotonic_ns()
        if now >= self._flush_at:
            self._flush_at = now + FLUSH
            self._outputs.flush()
            self._clock.follow()
            if self._control.exited and not records and not self._ring.waiting and self._ending is None:
                # the ring was too full for the record that says so
                self._ending = Ending.OUTSIDE
        return len(records)

    def _hand_out(self, records: Sequence[Record], offset: int) -> None:
        """Each record to what it is for; those of files, as far as that goes, to C."""
        at, count = 0, len(records)
        ring, writers = self._ring.native, self._outputs.writers
        while at < count and self._ending is not Ending.SCRIPT:
            if ring is not None and writers is not None:
                at = writers.write(ring, at, count, offset)
                if at == count:
                    break
            time, event, record = records[at]
            self._handlers[event](time + offset, record)
            at += 1

    def _by_hook(self, counts: tuple[Counts, ...]) -> Mapping[str, HookCounts]:
        """The counts of all programs of each hook."""
        found: dict[str, HookCounts] = {}
        for program, count in zip(self._unit.programs, counts, strict=True):
            before = found.get(program.hook, HookCounts(0, 0))
            found[program.hook] = HookCounts(
                before.received + count.hits, before.dropped + count.lost, before.missed + count.missed
            )
        return found

    def _drain(self) -> None:
        """Hand out all that is left."""
        deadline = monotonic_ns() + PATIENCE
        while self._poll(final=True) or self._ring.full or (self._ring.unfinished and monotonic_ns() < deadline):
            pass

    def _handler(self, spec: EventSpec) -> Callable[[int, memoryview], None]:
        """What is done with one kind of record."""
        match spec.kind:
            case EventKind.PRINT_MAP:
                return lambda time, _record: self._print_map(self._maps[spec.map or ""], spec.top, time)
            case EventKind.CLEAR_MAP:
                return lambda _time, _record: self._change_map(spec, clear_map)
            case EventKind.ZERO_MAP:
                return lambda _time, _record: self._change_map(spec, zero_map)
            case EventKind.EXIT:
                return lambda _time, _record: self._exit(spec)
            case EventKind.LIMIT:
                return lambda _time, _record: self._reach_limit()
            case _:
                return self._outputs.handler(spec)

    def _print_map(self, spec: MapSpec, top: int | None, time: int) -> None:
        rows = self.content(spec)
        if rows:
            self._outputs.print_map(spec, rows, time, top)

    def _end_map(self, spec: MapSpec) -> None:
        if self._outputs.flame is not None:
            self._outputs.flame.add(spec, self.content(spec))
        if self._unit.print_maps:
            self._print_map(spec, None, time_ns())

    def _change_map(self, spec: EventSpec, change: Callable[[int, MapSpec], None]) -> None:
        declared = self._maps[spec.map or ""]
        change(self._loaded.maps[declared.symbol], declared)

    def _exit(self, spec: EventSpec) -> None:
        self._ending = Ending.SCRIPT
        self._status = spec.status

    def _reach_limit(self) -> None:
        self._ending = Ending.LIMIT
