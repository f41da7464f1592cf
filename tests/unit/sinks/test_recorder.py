"""A flight recorder keeps the last packets, each with its own time, and lets go of what was written."""

from __future__ import annotations

from xcapscript.layout import PACKET
from xcapscript.sinks.recorder import Recorder
from xcapscript.source import Source
from xcapscript.unit import Attachment, EventKind, EventSpec, HookKind

SPEC = EventSpec(
    0, EventKind.RING, PACKET, "rx", Attachment(HookKind.RAWTRACEPOINT, "x"), Source("x", "x").span(0, 1), path="f"
)


class Kept:
    def __init__(self) -> None:
        self.packets: list[tuple[int, bytes]] = []

    def dump(self, _spec: EventSpec, time: int, record: memoryview) -> None:
        self.packets.append((time, bytes(record)))


def test_the_last_packets_are_written_once_and_in_order() -> None:
    sink = Kept()
    recorder = Recorder(sink.dump, 3)
    for number in range(5):
        recorder.keep(SPEC, number, memoryview(bytes([number])))
    assert sink.packets == []
    recorder.commit(10, 0)
    recorder.commit(11, 0)
    assert sink.packets == [(2, b"\2"), (3, b"\3"), (4, b"\4")]


def test_what_is_kept_is_a_copy() -> None:
    sink, record = Kept(), bytearray(b"a")
    recorder = Recorder(sink.dump, 3)
    recorder.keep(SPEC, 1, memoryview(record))
    record[:] = b"b"
    recorder.commit(2, 0)
    assert sink.packets == [(1, b"a")]


def test_what_comes_soon_after_is_written_at_once_and_then_kept_again() -> None:
    sink = Kept()
    recorder = Recorder(sink.dump, 3)
    recorder.commit(100, 50)
    for time in (120, 149, 150, 151):
        recorder.keep(SPEC, time, memoryview(b"x"))
    assert [time for time, _ in sink.packets] == [120, 149]
    recorder.commit(200, 0)
    assert [time for time, _ in sink.packets] == [120, 149, 150, 151]
