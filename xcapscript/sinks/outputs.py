"""Which record goes where: to a file of packets, or to what shows events and maps."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TextIO

from xcapscript.diagnostics import escape
from xcapscript.event import Event
from xcapscript.layout import PACKET, Value
from xcapscript.native import library
from xcapscript.native.writer import Writer, Writers
from xcapscript.sinks.base import EventSink, HookCounts, PacketSink, SinkError
from xcapscript.sinks.flame import FlameGraph
from xcapscript.sinks.flood import Flood
from xcapscript.sinks.jsonl import JsonSink
from xcapscript.sinks.lines import FileLines, Lines, lines_to
from xcapscript.sinks.live import TcpdumpSink
from xcapscript.sinks.output import Output
from xcapscript.sinks.pcap import PcapSink
from xcapscript.sinks.pcapng import PcapngSink
from xcapscript.sinks.printer import Printer, wants_colour
from xcapscript.sinks.recorder import Dump, Recorder
from xcapscript.sinks.rotation import RotatingSink, Rotation
from xcapscript.sinks.values import Resolve, ValueText
from xcapscript.unit import Buffer, EventKind, EventSpec, MapSpec, Unit

DEFAULT_WIDTH = 80
PCAP = ".pcap"
"""What a file's name ends in that is to be pcap, and not pcapng."""

OWN_NAME = "xcap-%Y%m%d-%H%M%S.pcapng"
"""As for strftime(): the file of a dump for which there is no other name."""

PacketFile = PcapSink | PcapngSink | RotatingSink
PACKET_EVENTS = frozenset({EventKind.LINE, EventKind.STACK, EventKind.HEX})


class Form(StrEnum):
    """How events and maps are shown."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Destinations:
    """Where a run's output is to go.

    `packets` is the file of a dump that names none; of each packet at most `snaplen` bytes are kept (0: all). What is
    shown goes to the file `lines`, or without one to `stream`. With `last`, so many packets of each file are written,
    at the end. Files are cut as `rotation` says, and with `at_once` written after each batch. With the options of
    `tcpdump`, it shows what is dumped, and a dump that names no file needs none. What maps count by stack is drawn in
    the file `flame`. `before` is told what is about to be written to `stream`. What `show` makes takes the place of all
    this text, and `wanted` is asked before an event is read for it. `ending` says that the run is to end.
    """

    stream: TextIO
    packets: str | None = None
    snaplen: int = 0
    lines: str | None = None
    form: Form = Form.TEXT
    last: int | None = None
    rotation: Rotation | None = None
    at_once: bool = False
    tcpdump: tuple[str, ...] | None = None
    flame: str | None = None
    before: Callable[[str], None] | None = None
    show: Callable[[ValueText], EventSink] | None = None
    wanted: Callable[[EventSpec], bool] | None = None
    ending: Callable[[], bool] = lambda: False


class Outputs:
    """Opens what a unit writes to. SinkError if a file cannot be opened, UsageError if one cannot be cut.

    A dump without a file gets one whose name is made here, and told in `named_by_us`.
    """

    def __init__(self, unit: Unit, to: Destinations, resolve: Resolve) -> None:
        self._events = {field.name: index for index, field in enumerate(PACKET.fields)}
        self.named_by_us: list[str] = []
        self._to = to
        self._sinks: dict[str, tuple[str, PacketFile]] = {}
        self._writers: dict[str, str] = {}
        self._live = TcpdumpSink(to.tcpdump, to.snaplen, to.ending) if to.tcpdump is not None else None
        self._last: dict[str, Recorder] = {}
        self._broken = False
        self._untold: SinkError | None = None
        found = library()
        # of perf buffers C knows nothing
        in_c = found is not None and unit.buffer is Buffer.RING
        self.writers = Writers(found, len(unit.events)) if found is not None and in_c else None
        self._in_c: dict[str, Writer] = {}
        try:
            self._dumps = {spec.id: self._dump(spec) for spec in unit.events if spec.kind is EventKind.DUMP}
            self._recorders = self._make_recorders(unit.events)
            values = ValueText(unit.strings, resolve)
            self._shown = self._open_shown(to, values)
            self.flame = FlameGraph(self._not_a_packet_file(to.flame), values) if to.flame is not None else None
        except SinkError:
            self.abandon()
            raise

    def _dump(self, spec: EventSpec) -> Dump:
        """What takes the packets of a dump to its file, if there is one."""
        name = spec.path or self._to.packets or (self._own_name() if self._live is None else None)
        dump = self._into(name)
        key = _key(name or "")
        if self._to.last is not None:
            if key not in self._last:
                self._last[key] = self._recorder(dump, self._to.last)
            return self._keeping(spec, self._last[key])
        if self.writers is not None and key in self._in_c:
            self.writers.assign(spec.id, self._in_c[key])
        return dump

    def _into(self, name: str | None) -> Dump:
        """What writes packets to a file, if there is one, and shows them, if they are to be shown."""
        sinks = [sink for sink in (None if name is None else self._open(name), self._live) if sink is not None]
        if len(sinks) == 1:
            return sinks[0].dump

        def both(spec: EventSpec, time: int, record: memoryview) -> None:
            for sink in sinks:
                sink.dump(spec, time, record)

        return both

    def _own_name(self) -> str:
        if not self.named_by_us:
            by_time = self._to.rotation is not None and self._to.rotation.seconds
            self.named_by_us.append(OWN_NAME if by_time else time.strftime(OWN_NAME))
        return self.named_by_us[0]

    def _open(self, name: str) -> PacketFile:
        if _key(name) not in self._sinks:
            self._sinks[_key(name)] = name, self._open_new(name)
        return self._sinks[_key(name)][1]

    def _open_new(self, name: str) -> PacketFile:
        snaplen, rotation = self._to.snaplen, self._to.rotation
        writer = None
        is_pcap = name.endswith(PCAP)
        # Where packets are kept, or shown as well, all that are written come by here.
        if self.writers is not None and self._to.last is None and self._live is None:
            writer = self._in_c[_key(name)] = self.writers.make(pcap=is_pcap)

        def open_file(path: str) -> PcapSink | PcapngSink:
            return (PcapSink if is_pcap else PcapngSink)(Output(path, ending=self._to.ending), snaplen, writer=writer)

        if rotation is None:
            return open_file(name)

        def open_part(part: str) -> PcapSink | PcapngSink:
            owner = self._writers.setdefault(_key(part), name)
            if owner != name:
                raise SinkError(f"cannot write '{escape(part)}': it belongs to '{escape(owner)}'")
            return open_file(part)

        return RotatingSink(name, rotation, open_part, writer=writer)

    def _make_recorders(self, events: tuple[EventSpec, ...]) -> dict[str, Recorder]:
        """A recorder for each path, as long as its longest ring."""
        sizes: dict[str, int] = {}
        for spec in events:
            if spec.kind is EventKind.RING:
                sizes[spec.path or ""] = max(sizes.get(spec.path or "", 0), spec.top or 0)
        recorders = {path: self._recorder(self._into(path), size) for path, size in sizes.items()}
        for spec in events:
            if spec.kind is EventKind.RING:
                self._keeping(spec, recorders[spec.path or ""])
        return recorders

    def _recorder(self, dump: Dump, size: int) -> Recorder:
        try:
            return Recorder(dump, size, None if self.writers is None else self.writers.make_keeper(size))
        except (MemoryError, OverflowError):
            raise SinkError(f"there is no memory for {size:,} packets: keep fewer of them") from None

    def _keeping(self, spec: EventSpec, recorder: Recorder) -> Dump:
        """What keeps the packets of an event; with a keeper that is C, and this for what C leaves to us."""
        if self.writers is not None and recorder.keeper is not None:
            recorder.specs[spec.id] = spec
            self.writers.keep(spec.id, recorder.keeper)
        return recorder.keep

    def _open_shown(self, to: Destinations, values: ValueText) -> EventSink:
        if to.show is not None:
            return to.show(values)
        lines: Lines
        if to.lines is None:
            # where it is a file or a pipe of packets under another name, such as /dev/stdout, lines would be among them
            stream = sys.stderr if any(_is_behind(to.stream, name) for name, _ in self._sinks.values()) else to.stream
            name = "standard error" if stream is sys.stderr else "standard output"
            lines = lines_to(stream, name, to.before, to.ending)
        else:
            lines = FileLines(self._not_a_packet_file(to.lines), to.ending)
        if to.form is Form.JSON:
            return JsonSink(lines, values)
        if to.lines is not None:
            return Printer(lines, values, width=DEFAULT_WIDTH)
        width = shutil.get_terminal_size((DEFAULT_WIDTH, 0)).columns
        flood = Flood() if to.stream.isatty() else None
        return Printer(lines, values, width=width, colour=wants_colour(to.stream, os.environ), flood=flood)

    def _not_a_packet_file(self, name: str) -> str:
        if _key(name) in self._sinks and os.path.isfile(name):  # noqa: PTH113 -- as a name, like the others
            raise SinkError(f"cannot write '{escape(name)}': packets are written to it")
        return name

    def handler(self, spec: EventSpec) -> Callable[[int, memoryview], None]:
        """What takes the records of an event: wall time in ns, and the record's bytes, valid until `settle`.

        What fails is told by `settle`, as the rest of the batch may be for other outputs.
        """
        take = self._taker(spec)

        def attempt(time: int, record: memoryview) -> None:
            try:
                take(time, record)
            except SinkError as error:
                self._untold = self._untold or error

        return attempt

    def _taker(self, spec: EventSpec) -> Callable[[int, memoryview], None]:
        """As `handler`, but raises SinkError."""
        if spec.kind is EventKind.DUMP:
            dump = self._dumps[spec.id]
            return lambda time, record: dump(spec, time, record)
        if spec.kind is EventKind.RING:
            keep = self._recorders[spec.path or ""].keep
            return lambda time, record: keep(spec, time, record)
        if spec.kind is EventKind.COMMIT:
            commit = self._recorders[spec.path or ""].commit
            return lambda time, _record: commit(time, spec.after)
        cpu, captured = self._events["cpu"], self._events["cap_len"]
        size, is_packet = spec.layout.size, spec.kind in PACKET_EVENTS
        wanted = self._to.wanted

        def show(time: int, record: memoryview) -> None:
            if wanted is not None and not wanted(spec):
                return
            values = spec.layout.decode(record)
            length = values[captured] if is_packet else 0
            assert isinstance(length, int)
            number = values[cpu]
            assert isinstance(number, int)
            packet = bytes(record[size : size + length]) if is_packet else None
            self._show(lambda: self._shown.write(Event(spec, time, number, values, packet)))

        return show

    def _show(self, what: Callable[[], None]) -> None:
        """A stream that failed says so once; the other outputs go on to their end."""
        if self._broken:
            return
        try:
            what()
        except SinkError:
            self._broken = True
            raise

    def print_map(self, spec: MapSpec, content: Mapping[bytes, Value], when: int, top: int | None) -> None:
        """Show a map as it was at `when` ns since 1970, or its `top` first keys. What fails is told by `settle`."""
        try:
            self._show(lambda: self._shown.print_map(spec, content, when, top))
        except SinkError as error:
            self._untold = self._untold or error

    def _tell(self) -> None:
        if self._untold is not None:
            error, self._untold = self._untold, None
            raise error

    def settle(self) -> None:
        """The records of a batch are about to become invalid. Raises SinkError, after all have been settled."""
        sinks = self._packet_sinks()
        _all(
            self._tell,
            *(sink.settle for sink in sinks),
            *(sink.flush for sink in sinks if self._to.at_once),
            lambda: self._show(self._shown.flush),
        )

    def flush(self) -> None:
        """Write out what is pending. Raises SinkError, after all have been flushed."""
        _all(*(sink.flush for sink in self._packet_sinks()), *(sink.follow_clock for sink in self._rotating()))

    def close(self, counts: Mapping[str, HookCounts], missed: Mapping[str, int]) -> None:
        """End every file, with the counts by hook and the updates that found a map full.

        Raises SinkError, after all have been closed.
        """
        _all(
            self._tell,
            *(partial(recorder.commit, 0, 0) for recorder in self._last.values()),
            *(partial(sink.close, counts) for sink in self._packet_sinks()),
            lambda: self._show(lambda: self._shown.close(time.time_ns(), counts, missed)),
            *(() if self.flame is None else (self.flame.close,)),
        )

    def abandon(self) -> None:
        """Let go of the files of packets, when there is no run that they are for."""
        for sink in self._packet_sinks():
            with suppress(SinkError):
                sink.close({})

    def _packet_sinks(self) -> list[PacketSink]:
        shown = () if self._live is None else (self._live,)
        return [*(sink for _, sink in self._sinks.values()), *shown]

    def so_far(self) -> tuple[int, int] | None:
        """The packets in the files, and the bytes of those that are not cut; None if no packets go to files."""
        if not self._sinks:
            return None
        sinks = [sink for _, sink in self._sinks.values()]
        whole = [sink.size for sink in sinks if not isinstance(sink, RotatingSink)]
        return sum(sink.packets or 0 for sink in sinks), sum(whole)

    @property
    def complete(self) -> bool:
        """Whether as many files as were asked for have been written."""
        cut = self._rotating()
        return bool(cut) and all(sink.complete for sink in cut)

    def _rotating(self) -> list[RotatingSink]:
        return [sink for _, sink in self._sinks.values() if isinstance(sink, RotatingSink)]

    def notes(self) -> Iterator[str]:
        """What is to be known of the files before they are written."""
        for name, _ in self._sinks.values():
            if name.endswith(PCAP):
                yield f"{escape(name)} is pcap, which has no place for hook, reason, process and namespace: pcapng has"
            if self._to.rotation is not None and self._to.rotation.overwrites(name):
                yield f"each file replaces the one before: a time such as %H%M%S in '{escape(name)}' would keep them"

    def written(self) -> Iterator[tuple[str, int]]:
        """What did not fail: its name, as it was given where it stands for many, and how many packets went to it."""
        for name, sink in self._sinks.values():
            if sink.packets is not None:
                yield _told(name, sink), sink.packets

    def saved(self) -> Iterator[tuple[str, int]]:
        """The same of what did fail, as far as it has packets."""
        for name, sink in self._sinks.values():
            if sink.saved:
                yield _told(name, sink), sink.saved

    def unread(self) -> Iterator[tuple[str, int]]:
        """The same of pipes that nobody read to the end: how many packets are lost."""
        for name, sink in self._sinks.values():
            if not isinstance(sink, RotatingSink) and sink.unread:
                yield _told(name, sink), sink.unread


def _key(name: str) -> str:
    """Two names of one file would overwrite each other."""
    return name if name == "-" else os.path.realpath(name)


def _is_behind(stream: TextIO, name: str) -> bool:
    """Whether a stream goes to the file or pipe of that name."""
    try:
        there, here = os.stat(name), os.fstat(stream.fileno())  # noqa: PTH116 -- as a name, like the others
    except OSError:  # it has no descriptor, or its first file has not begun
        return False
    return os.path.samestat(there, here) and (stat.S_ISREG(here.st_mode) or stat.S_ISFIFO(here.st_mode))


def _told(name: str, sink: PacketFile) -> str:
    """What a file, or files, are called before the user."""
    if not isinstance(sink, RotatingSink):
        moved = f", which was moved to {sink.moved_to}" if sink.moved_to else ""
        return "standard output" if name == "-" else f"{name}{moved}"
    return sink.files[0] if len(sink.files) == 1 else f"{name} ({len(sink.files)} files)"


def _all(*actions: Callable[[], None]) -> None:
    """Do them all, also when one fails: then the first failure is raised."""
    first: SinkError | None = None
    for action in actions:
        try:
            action()
        except SinkError as error:
            first = first or error
    if first is not None:
        raise first
