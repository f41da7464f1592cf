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
        self._sinks: dict[str, PcapngSink] = {}
        self._paths: dict[int, str] = {}
        for spec in unit.events:
            if spec.kind is EventKind.DUMP:
                self._paths[spec.id] = self._open(spec.path or path or self._own_name(), snaplen)

    def _own_name(self) -> str:
        if not self.named_by_us:
            self.named_by_us.append(time.strftime("xcap-%Y%m%d-%H%M%S.pcapng"))
        return self.named_by_us[0]

    def _open(self, path: str, snaplen: int) -> str:
        # Two names of one file would overwrite each other.
        key = path if path == "-" else os.path.realpath(path)
        if key not in self._sinks:
            self._sinks[key] = PcapngSink(path, snaplen)
        return key

    def handler(self, spec: EventSpec) -> Callable[[int, memoryview], None]:
        """What takes the records of an event: wall time in ns, and the record's bytes, valid until `settle`."""
        if spec.kind is EventKind.DUMP:
            dump = self._sinks[self._paths[spec.id]].dump
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
            self._printer.write(Event(spec, time, number, values, packet))

        return show

    def print_map(self, spec: MapSpec, rows: Mapping[bytes, int], top: int | None) -> None:
        """Print a map, largest first."""
        try:
            for line in self._maps.lines(spec, rows, top):
                print(line, file=self._stream)
        except OSError as error:
            raise SinkError.writing("standard output", error) from error

    def settle(self) -> None:
        """The records of a batch are about to become invalid."""
        for sink in self._sinks.values():
            sink.settle()
        self._printer.flush()

    def flush(self) -> None:
        """Write out what is pending."""
        for sink in self._sinks.values():
            sink.flush()

    def close(self, counts: Mapping[str, HookCounts]) -> None:
        """End every file, also when one fails: then the first SinkError."""
        first: SinkError | None = None
        for sink in self._sinks.values():
            try:
                sink.close(counts)
            except SinkError as error:
                first = first or error
        self._printer.flush()
        if first is not None:
            raise first

    def written(self) -> Iterator[tuple[str, int]]:
        """Each file's name and how many packets are in it."""
        for key, sink in self._sinks.items():
            yield key, sink.packets
