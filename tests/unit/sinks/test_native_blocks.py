"""The blocks that C makes are those that Python makes, byte by byte."""

import ctypes
import itertools
import mmap
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xcapscript.layout import PACKET
from xcapscript.native import SWITCH, library, open_library
from xcapscript.native.ring import NativeRing
from xcapscript.native.writer import CAPACITY, Writers
from xcapscript.sinks import pcapng
from xcapscript.sinks.pcap import PcapSink
from xcapscript.sinks.pcapng import PcapngSink
from xcapscript.sinks.recorder import Recorder
from xcapscript.sinks.rotation import RotatingSink, Rotation
from xcapscript.unit import EventSpec

SpecMaker = Callable[..., EventSpec]
RecordMaker = Callable[..., bytes]

OFFSET = 1_700_000_000_000_000_000
SIZE = 1 << 20
HEADER = 8
FOREIGN = 2
"""An event that is for no file."""


@pytest.fixture
def lib() -> ctypes.CDLL:
    found = library()
    if found is None:
        pytest.skip("the C was not compiled")
    return found


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PcapngSink.__init__, "__kwdefaults__", {"writer": None, "clock": lambda: OFFSET})


@pytest.fixture
def ring_of(lib: ctypes.CDLL) -> Iterator[Callable[[list[bytes]], NativeRing]]:
    """A ring that holds records, as the kernel would have put them there."""
    made: list[tuple[NativeRing, int]] = []

    def make(records: list[bytes]) -> NativeRing:
        descriptor = os.memfd_create("ring")
        os.ftruncate(descriptor, 2 * mmap.PAGESIZE + 2 * SIZE)
        data = b"".join(struct.pack("=II", len(record), 0) + record + bytes(-len(record) % 8) for record in records)
        assert len(data) <= SIZE
        os.pwrite(descriptor, struct.pack("=Q", len(data)), mmap.PAGESIZE)
        os.pwrite(descriptor, data, 2 * mmap.PAGESIZE)
        ring = NativeRing(lib, descriptor, SIZE, 16384)
        made.append((ring, descriptor))
        return ring

    yield make
    for ring, descriptor in made:
        ring.close()
        os.close(descriptor)


def packets(make_record: RecordMaker, rng: random.Random, count: int, kinds: int) -> list[bytes]:
    """Records of many kinds and sizes, in the order of their times."""
    found = []
    for number in range(count):
        kind = rng.randrange(kinds)
        record = make_record(
            rng.randbytes(rng.choice([0, 1, 2, 3, 4, 60, 128])),
            id=rng.choice([0, 0, 0, 1]),
            cpu=rng.randrange(4),
            time=number,
            wire_len=rng.randrange(1 << 17),
            dropped=rng.choice([0, 0, 0, 7]),
            hash=rng.randrange(1 << 32),
            gso_size=rng.choice([0, 1448]),
            gso_segs=rng.choice([0, 12]),
            queue=rng.choice([0, 1, 65535]),
            pid=kind,
            tid=kind + 1,
            flags=rng.choice([0, 1, 2, 8, 4 | 3 << 4, 128]),
            mac=b"\2\0\0\0\0" + bytes([kind % 3]),
            link=rng.choice([1, 101]),
            comm=f"comm{kind % 7}".encode(),
        )
        found.append(record)
    return found


def written_by_python(path: Path, records: list[bytes], specs: dict[int, EventSpec]) -> bytes:
    sink = PcapngSink(str(path), 128)
    for record in records:
        event, _, time = struct.unpack_from("=IIQ", record)
        if event in specs:
            sink.dump(specs[event], time + OFFSET, memoryview(record))
    sink.close({})
    return path.read_bytes()


def hand_out(
    ring: NativeRing, writers: Writers, records: list[bytes], specs: dict[int, EventSpec], dump: object
) -> int:
    """As the session does; how many records Python was asked for."""
    assert callable(dump)
    count, at, asked = ring.take(1 << 62, 0, final=True), 0, 0
    assert count == len(records)
    while True:
        at = writers.write(ring, at, count, OFFSET)
        if at == count:
            return asked
        event, _, time = struct.unpack_from("=IIQ", records[at])
        if event in specs:
            dump(specs[event], time + OFFSET, memoryview(records[at]))
        asked += 1
        at += 1


@pytest.mark.parametrize("kinds", [1, 50, 3000])
def test_c_writes_what_python_writes(
    tmp_path: Path,
    lib: ctypes.CDLL,
    ring_of: Callable[[list[bytes]], NativeRing],
    make_spec: SpecMaker,
    make_record: RecordMaker,
    kinds: int,
) -> None:
    specs = {0: make_spec(id=0), 1: make_spec(id=1, hook="rx", has_reason=False)}
    records = packets(make_record, random.Random(kinds), 3500, kinds)
    writers = Writers(lib, 3)
    writer = writers.make()
    for event in specs:
        writers.assign(event, writer)
    sink = PcapngSink(str(tmp_path / "c"), 128, writer=writer)
    asked = hand_out(ring_of(records), writers, records, specs, sink.dump)
    assert sink.packets == len(records)
    size = sink.size
    sink.close({})
    by_c, by_python = (tmp_path / "c").read_bytes(), written_by_python(tmp_path / "python", records, specs)
    assert by_c == by_python
    assert len(by_c) > CAPACITY
    assert size < len(by_c)  # the statistics come after it
    if kinds == 1:
        # 2 events, 6 flags and 2 link types: each is met once, and now and then there is no room
        assert asked < 60


def test_c_writes_pcap_as_python_does(
    tmp_path: Path,
    lib: ctypes.CDLL,
    ring_of: Callable[[list[bytes]], NativeRing],
    make_spec: SpecMaker,
    make_record: RecordMaker,
) -> None:
    specs = {0: make_spec(id=0), 1: make_spec(id=1)}
    rng = random.Random(1)
    records = packets(make_record, rng, 3000, 5)
    records += [make_record(bytes([first << 4]) + bytes(40), time=9000, link=101) for first in (4, 6, 9)]
    writers = Writers(lib, 2)
    writer = writers.make(pcap=True)
    for event in specs:
        writers.assign(event, writer)
    sink = PcapSink(str(tmp_path / "c.pcap"), 128, writer=writer)
    assert hand_out(ring_of(records), writers, records, specs, sink.dump) < 5
    assert sink.packets == len(records)
    size = sink.size
    sink.close({})
    python = PcapSink(str(tmp_path / "python.pcap"), 128)
    for record in records:
        event, _, time = struct.unpack_from("=IIQ", record)
        python.dump(specs[event], time + OFFSET, memoryview(record))
    python.close({})
    by_c = (tmp_path / "c.pcap").read_bytes()
    assert by_c == (tmp_path / "python.pcap").read_bytes()
    assert size == len(by_c)


def test_c_keeps_what_python_keeps(
    lib: ctypes.CDLL, ring_of: Callable[[list[bytes]], NativeRing], make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    specs = {0: make_spec(id=0), 1: make_spec(id=1)}
    records = packets(make_record, random.Random(1), 400, 5)
    commits = {100: 0, 101: 0, 250: 20}
    found: dict[str, list[tuple[int, int, bytes]]] = {}
    for name in ("c", "python"):
        dumped = found[name] = []
        writers = Writers(lib, 2)
        keeper = writers.make_keeper(70) if name == "c" else None
        recorder = Recorder(lambda spec, time, record, to=dumped: to.append((spec.id, time, bytes(record))), 70, keeper)
        for start, end in itertools.pairwise([0, *commits, len(records)]):
            batch = records[start:end]
            if keeper is None:
                for record in batch:
                    event, _, time = struct.unpack_from("=IIQ", record)
                    recorder.keep(specs[event], time + OFFSET, memoryview(record))
            else:
                recorder.specs.update(specs)
                for event in specs:
                    writers.keep(event, keeper)
                asked = hand_out(ring_of(batch), writers, batch, specs, recorder.keep)
                assert asked == (20 if start == 250 else 0)
            if end in commits:
                recorder.commit(end + OFFSET, commits[end])
    assert len(found["python"]) == 70 + 1 + 70 + 20
    assert found["c"] == found["python"]


def test_records_that_are_for_no_file_are_left_to_python(
    tmp_path: Path,
    lib: ctypes.CDLL,
    ring_of: Callable[[list[bytes]], NativeRing],
    make_spec: SpecMaker,
    make_record: RecordMaker,
) -> None:
    specs = {0: make_spec(id=0)}
    records = [make_record(b"packet", id=FOREIGN if number % 3 == 2 else 0, time=number) for number in range(30)]
    writers = Writers(lib, 3)
    writer = writers.make()
    writers.assign(0, writer)
    sink = PcapngSink(str(tmp_path / "c"), 128, writer=writer)
    assert hand_out(ring_of(records), writers, records, specs, sink.dump) == 10 + 1
    sink.close({})
    assert (tmp_path / "c").read_bytes() == written_by_python(tmp_path / "python", records, specs)


def test_a_packet_larger_than_the_buffer_is_written(
    tmp_path: Path,
    lib: ctypes.CDLL,
    ring_of: Callable[[list[bytes]], NativeRing],
    make_spec: SpecMaker,
    make_record: RecordMaker,
) -> None:
    specs = {0: make_spec(id=0)}
    records = [make_record(bytes([number]) * size, time=number) for number, size in enumerate((9, CAPACITY, 9))]
    writers = Writers(lib, 1)
    writers.assign(0, writer := writers.make())
    sink = PcapngSink(str(tmp_path / "c"), 0, writer=writer)
    hand_out(ring_of(records), writers, records, specs, sink.dump)
    assert sink.size > CAPACITY
    sink.close({})
    python = PcapngSink(str(tmp_path / "python"), 0)
    for number, record in enumerate(records):
        python.dump(specs[0], number + OFFSET, memoryview(record))
    python.close({})
    assert (tmp_path / "c").read_bytes() == (tmp_path / "python").read_bytes()


@pytest.mark.parametrize(
    "rotation", [Rotation(size=5000), Rotation(seconds=1), Rotation(size=3000, seconds=2, files=3)]
)
def test_files_are_cut_at_the_same_packets(
    tmp_path: Path,
    lib: ctypes.CDLL,
    ring_of: Callable[[list[bytes]], NativeRing],
    make_spec: SpecMaker,
    make_record: RecordMaker,
    rotation: Rotation,
) -> None:
    specs = {0: make_spec(id=0)}
    records = [make_record(bytes(60), time=number * 30_000_000, pid=number % 5) for number in range(200)]
    found = {}
    for name in ("c", "python"):
        directory = tmp_path / name
        directory.mkdir()
        writers = Writers(lib, 1)
        writer = writers.make() if name == "c" else None
        sink = RotatingSink(
            str(directory / "%s"),
            rotation,
            lambda path, writer=writer: PcapngSink(path, 128, writer=writer),
            writer=writer,
            clock=lambda: OFFSET,
        )
        if writer is not None:
            writers.assign(0, writer)
            asked = hand_out(ring_of(records), writers, records, specs, sink.dump)
            assert asked < len(records)
        else:
            for record in records:
                sink.dump(specs[0], struct.unpack_from("=8xQ", record)[0] + OFFSET, memoryview(record))
        sink.close({})
        found[name] = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert len(found["python"]) > 2
    assert found["c"] == found["python"]


@pytest.mark.parametrize("rotation", [Rotation(size=1 << 64), Rotation(seconds=10**18)])
def test_a_limit_that_is_never_reached_leaves_the_packets_to_c(
    tmp_path: Path,
    lib: ctypes.CDLL,
    ring_of: Callable[[list[bytes]], NativeRing],
    make_spec: SpecMaker,
    make_record: RecordMaker,
    rotation: Rotation,
) -> None:
    records = [make_record(bytes(60), time=number) for number in range(20)]
    writers = Writers(lib, 1)
    writers.assign(0, writer := writers.make())
    path = str(tmp_path / "f")
    sink = RotatingSink(path, rotation, lambda part: PcapngSink(part, 128, writer=writer), writer=writer)
    assert hand_out(ring_of(records), writers, records, {0: make_spec(id=0)}, sink.dump) == 1
    sink.close({})


def test_the_struct_of_a_packet_is_the_layout(lib: ctypes.CDLL) -> None:
    assert lib.xcap_packet_size() == PACKET.size
    assert pcapng.KIND.stop - pcapng.KIND.start == 64


def test_python_does_it_where_that_is_wanted_or_nothing_was_compiled(tmp_path: Path) -> None:
    assert open_library(Path(pcapng.__file__), {SWITCH: "0"}) is None
    assert open_library(tmp_path / "_drain.so", {}) is None
