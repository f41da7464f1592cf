"""Which record goes where: to a file of packets, or to what shows events and maps."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TextIO

from xcapscript.diagnostics import escape
from xcapscript.event import Event
from xcapscript.layout import PACKET, Value
from xcapscript.sinks.base import EventSink, HookCounts, SinkError
from xcapscript.sinks.jsonl import JsonSink
from xcapscript.sinks.lines import FileLines, Lines, StreamLines
from xcapscript.sinks.pcap import PcapSink
from xcapscript.sinks.pcapng import PcapngSink
from xcapscript.sinks.printer import Printer, wants_colour
from xcapscript.sinks.recorder import Recorder
from xcapscript.sinks.values import Resolve, ValueText
from xcapscript.unit import EventKind, EventSpec, MapSpec, Unit

DEFAULT_WIDTH = 80
PCAP = ".pcap"
"""What a file's name ends in that is to be pcap, and not pcapng."""

PacketFile = PcapSink | PcapngSink
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
    at the end.
    """

    stream: TextIO
    packets: str | None = None
    snaplen: int = 0
    lines: str | None = None
    form: Form = Form.TEXT
    last: int | None = None


class Outputs:
    """Opens what a unit writes to. SinkError if a file cannot be opened.

    A dump without a file gets one whose name is made here, and told in `named_by_us`.
    """

    def __init__(self, unit: Unit, to: Destinations, resolve: Resolve) -> None:
        self._events = {field.name: index for index, field in enumerate(PACKET.fields)}
        self.named_by_us: list[str] = []
        self._sinks: dict[str, tuple[str, PacketFile]] = {}
        self._dumps: dict[int, PacketFile] = {}
        self._broken = False
        for spec in unit.events:
            if spec.kind is EventKind.DUMP:
                self._dumps[spec.id] = self._open(spec.path or to.packets or self._own_name(), to.snaplen)
        self._recorders = self._open_recorders(unit.events, to.snaplen)
        self._last = {id(sink): Recorder(sink, to.last) for _, sink in self._sinks.values()} if to.last else {}
        self._shown = self._open_shown(to, ValueText(unit.strings, resolve))

    def _own_name(self) -> str:
        if not self.named_by_us:
            self.named_by_us.append(time.strftime("xcap-%Y%m%d-%H%M%S.pcapng"))
        return self.named_by_us[0]

    def _open(self, path: str, snaplen: int) -> PacketFile:
        # Two names of one file would overwrite each other.
        key = path if path == "-" else os.path.realpath(path)
        if key not in self._sinks:
            self._sinks[key] = path, (PcapSink if path.endswith(PCAP) else PcapngSink)(path, snaplen)
        return self._sinks[key][1]

    def _open_recorders(self, events: tuple[EventSpec, ...], snaplen: int) -> dict[str, Recorder]:
        """A recorder for each path, as long as its longest ring."""
        sizes: dict[str, int] = {}
        for spec in events:
            if spec.kind is EventKind.RING:
                sizes[spec.path or ""] = max(sizes.get(spec.path or "", 0), spec.top or 0)
        return {path: Recorder(self._open(path, snaplen), size) for path, size in sizes.items()}

    def _open_shown(self, to: Destinations, values: ValueText) -> EventSink:
        lines: Lines
        if to.lines is None:
            lines = StreamLines(to.stream, "standard error" if to.stream is sys.stderr else "standard output")
        elif os.path.realpath(to.lines) in self._sinks and os.path.isfile(to.lines):  # noqa: PTH113 -- as a name, like the others
            raise SinkError(f"cannot write '{escape(to.lines)}': packets are written to it")
        else:
            lines = FileLines(to.lines)
        if to.form is Form.JSON:
            return JsonSink(lines, values)
        if to.lines is not None:
            return Printer(lines, values, width=DEFAULT_WIDTH)
        width = shutil.get_terminal_size((DEFAULT_WIDTH, 0)).columns
        return Printer(lines, values, width=width, colour=wants_colour(to.stream, os.environ))

    def handler(self, spec: EventSpec) -> Callable[[int, memoryview], None]:
        """What takes the records of an event: wall time in ns, and the record's bytes, valid until `settle`."""
        if spec.kind is EventKind.DUMP:
            sink = self._dumps[spec.id]
            dump = self._last[id(sink)].keep if self._last else sink.dump
            return lambda time, record: dump(spec, time, record)
        if spec.kind is EventKind.RING:
            keep = self._recorders[spec.path or ""].keep
            return lambda time, record: keep(spec, time, record)
        if spec.kind is EventKind.COMMIT:
            commit = self._recorders[spec.path or ""].commit
            return lambda time, _record: commit(time, spec.after)
        cpu, captured = self._events["cpu"], self._events["cap_len"]
        size, is_packet = spec.layout.size, spec.kind in PACKET_EVENTS

        def show(time: int, record: memoryview) -> None:
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
        """Show a map as it was at `when` ns since 1970, or its `top` first keys."""
        self._show(lambda: self._shown.print_map(spec, content, when, top))

    def settle(self) -> None:
        """The records of a batch are about to become invalid. Raises SinkError, after all have been settled."""
        _all(*(sink.settle for _, sink in self._sinks.values()), lambda: self._show(self._shown.flush))

    def flush(self) -> None:
        """Write out what is pending. Raises SinkError, after all have been flushed."""
        _all(*(sink.flush for _, sink in self._sinks.values()))

    def close(self, counts: Mapping[str, HookCounts], missed: Mapping[str, int]) -> None:
        """End every file, with the counts by hook and the updates that found a map full.

        Raises SinkError, after all have been closed.
        """
        for recorder in self._last.values():
            recorder.commit(0, 0)
        _all(
            *(partial(sink.close, counts) for _, sink in self._sinks.values()),
            lambda: self._show(lambda: self._shown.close(time.time_ns(), counts, missed)),
        )

    def written(self) -> Iterator[tuple[str, int]]:
        """Each file that did not fail: its name, as it was given, and how many packets went to it."""
        for name, sink in self._sinks.values():
            if sink.packets is not None:
                yield "standard output" if name == "-" else name, sink.packets


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
