"""Which record goes where: to a file of packets, to the printer, or to a printed map."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO

from xcapscript.event import Event
from xcapscript.layout import PACKET
from xcapscript.sinks.aggregate import MapText
from xcapscript.sinks.base import HookCounts, SinkError
from xcapscript.sinks.pcapng import PcapngSink
from xcapscript.sinks.printer import Printer, wants_colour
from xcapscript.sinks.values import Resolve, ValueText
from xcapscript.unit import EventKind, EventSpec, MapSpec, Unit

DEFAULT_WIDTH = 80
PACKET_EVENTS = frozenset({EventKind.LINE, EventKind.STACK})


class Outputs:
    """Opens what a unit writes to. SinkError if a file cannot be opened.

    `path` is the file of a dump that names none; without it a name is made, and told in `named_by_us`.
    """

    def __init__(self, unit: Unit, path: str | None, snaplen: int, stream: TextIO, resolve: Resolve) -> None:
        self._stream = stream
        self._events = {field.name: index for index, field in enumerate(PACKET.fields)}
        values = ValueText(unit.strings, resolve)
        self._printer = Printer(stream, values, colour=wants_colour(stream, os.environ))
        self._maps = MapText(values, shutil.get_terminal_size((DEFAULT_WIDTH, 0)).columns)
        self.named_by_us: list[str] = []
        self._sinks: dict[str, tuple[str, PcapngSink]] = {}
        self._dumps: dict[int, PcapngSink] = {}
        self._broken = False
        for spec in unit.events:
            if spec.kind is EventKind.DUMP:
                self._dumps[spec.id] = self._open(spec.path or path or self._own_name(), snaplen)

    def _own_name(self) -> str:
        if not self.named_by_us:
            self.named_by_us.append(time.strftime("xcap-%Y%m%d-%H%M%S.pcapng"))
        return self.named_by_us[0]

    def _open(self, path: str, snaplen: int) -> PcapngSink:
        # Two names of one file would overwrite each other.
        key = path if path == "-" else os.path.realpath(path)
        if key not in self._sinks:
            self._sinks[key] = path, PcapngSink(path, snaplen)
        return self._sinks[key][1]

    def handler(self, spec: EventSpec) -> Callable[[int, memoryview], None]:
        """What takes the records of an event: wall time in ns, and the record's bytes, valid until `settle`."""
        if spec.kind is EventKind.DUMP:
            dump = self._dumps[spec.id].dump
            return lambda time, record: dump(spec, time, record)
        cpu, captured = self._events["cpu"], self._events["cap_len"]
        size, is_packet = spec.layout.size, spec.kind in PACKET_EVENTS

        def show(time: int, record: memoryview) -> None:
            values = spec.layout.decode(record)
            length = values[captured] if is_packet else 0
            assert isinstance(length, int)
            number = values[cpu]
            assert isinstance(number, int)
            packet = bytes(record[size : size + length]) if is_packet else None
            self._print(lambda: self._printer.write(Event(spec, time, number, values, packet)))

        return show

    def _print(self, what: Callable[[], None]) -> None:
        """A stream that failed says so once; the other outputs go on to their end."""
        if self._broken:
            return
        try:
            what()
        except SinkError:
            self._broken = True
            raise

    def print_map(self, spec: MapSpec, rows: Mapping[bytes, int], top: int | None) -> None:
        """Print a map, largest first."""
        text = "".join(f"{line}\n" for line in self._maps.lines(spec, rows, top))
        self._print(lambda: self._printer.write_text(text))

    def settle(self) -> None:
        """The records of a batch are about to become invalid. Raises SinkError, after all have been settled."""
        self._each(lambda sink: sink.settle())
        self._print(self._printer.flush)

    def flush(self) -> None:
        """Write out what is pending. Raises SinkError, after all have been flushed."""
        self._each(lambda sink: sink.flush())

    def close(self, counts: Mapping[str, HookCounts]) -> None:
        """End every file. Raises SinkError, after all have been closed."""
        self._each(lambda sink: sink.close(counts))
        self._print(self._printer.flush)

    def _each(self, what: Callable[[PcapngSink], None]) -> None:
        """Do it to every file, also when one fails: then the first failure is raised."""
        first: SinkError | None = None
        for _, sink in self._sinks.values():
            try:
                what(sink)
            except SinkError as error:
                first = first or error
        if first is not None:
            raise first

    def written(self) -> Iterator[tuple[str, int]]:
        """Each file that did not fail: its name, as it was given, and how many packets went to it."""
        for name, sink in self._sinks.values():
            if sink.packets is not None:
                yield "standard output" if name == "-" else name, sink.packets
