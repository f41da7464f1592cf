"""Files that are cut by size and time have tcpdump's names, and every packet in exactly one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import dpkt
import pytest

from xcapscript.errors import UsageError
from xcapscript.sinks.base import DeletedError, HookCounts, SinkError
from xcapscript.sinks.pcap import PcapSink
from xcapscript.sinks.rotation import LATE, SECOND, RotatingSink, Rotation
from xcapscript.unit import EventSpec

SpecMaker = Callable[..., EventSpec]
RecordMaker = Callable[..., bytes]

START = 1_700_000_000 * SECOND
NO_COUNTS: Mapping[str, HookCounts] = {}


class Rotating:
    """A rotating sink of pcap files, and a clock that stands still."""

    def __init__(self, path: Path, rotation: Rotation, spec: EventSpec, make_record: RecordMaker) -> None:
        self.now = START
        self._spec, self._make_record = spec, make_record
        self.sink = RotatingSink(str(path), rotation, lambda name: PcapSink(name, 0), clock=lambda: self.now)

    def take(self, *numbers: int, at: int = START, size: int = 100) -> None:
        """Packets whose first byte is their number."""
        records = [memoryview(self._make_record(bytes([number]) + bytes(size - 1))) for number in numbers]
        for record in records:
            self.sink.dump(self._spec, at, record)
        self.sink.settle()

    def tick(self, now: int) -> None:
        self.now = now
        self.sink.flush()
        self.sink.follow_clock()


@pytest.fixture
def rotating(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> Callable[..., Rotating]:
    def make(name: str = "f", **rotation: int) -> Rotating:
        return Rotating(tmp_path / name, Rotation(**rotation), make_spec(), make_record)

    return make


def found(directory: Path) -> dict[str, list[int]]:
    """The packets' numbers in each file, as dpkt reads it."""
    files = {}
    for path in sorted(directory.iterdir()):
        with path.open("rb") as file:
            files[path.name] = [packet[0] for _, packet in dpkt.pcap.Reader(file)]
    return files


@pytest.mark.parametrize(
    ("rotation", "numbers", "names"),
    [
        (Rotation(size=1), (0, 1, 2, 12), ["f", "f1", "f2", "f12"]),
        (Rotation(size=1, files=1), (0,), ["f"]),
        (Rotation(size=1, files=10), (0, 9), ["f0", "f9"]),
        (Rotation(size=1, files=11), (0, 9, 10), ["f00", "f09", "f10"]),
        (Rotation(seconds=1), (0,), ["f"]),
        (Rotation(seconds=1, files=11), (0,), ["f"]),
        (Rotation(size=1, seconds=1, files=11), (0, 10), ["f00", "f10"]),
    ],
)
def test_numbers_stand_where_tcpdump_puts_them(rotation: Rotation, numbers: tuple[int, ...], names: list[str]) -> None:
    assert [rotation.name("f", START, number) for number in numbers] == names


def test_a_time_is_put_into_the_name_only_if_it_cuts() -> None:
    local = time.strftime("%H%M%S", time.localtime(START // SECOND))
    assert Rotation(seconds=1).name("f-%H%M%S.pcap", START + 999, 0) == f"f-{local}.pcap"
    assert Rotation(size=1).name("f-%H%M%S.pcap", START, 0) == "f-%H%M%S.pcap"


def test_a_file_that_is_larger_than_the_size_takes_no_more(rotating: Callable[..., Rotating], tmp_path: Path) -> None:
    # 24 bytes, and 116 for each packet: three exceed 300 bytes, two don't
    run = rotating(size=300)
    run.take(1, 2, 3, 4)
    run.take(5, 6, 7)
    run.sink.close(NO_COUNTS)
    assert found(tmp_path) == {"f": [1, 2, 3], "f1": [4, 5, 6], "f2": [7]}
    assert run.sink.packets == 7
    assert [Path(name).name for name in run.sink.files] == ["f", "f1", "f2"]


def test_with_a_count_the_oldest_file_is_overwritten(rotating: Callable[..., Rotating], tmp_path: Path) -> None:
    run = rotating(size=100, files=3)
    run.take(*range(1, 9))
    run.sink.close(NO_COUNTS)
    assert found(tmp_path) == {"f0": [7], "f1": [8], "f2": [6]}
    assert run.sink.packets == 3
    assert [Path(name).name for name in run.sink.files] == ["f0", "f1", "f2"]


def test_a_packet_is_in_the_slice_of_its_own_time(rotating: Callable[..., Rotating], tmp_path: Path) -> None:
    run = rotating("f%S", seconds=2)
    run.take(1, at=START + 2 * SECOND - 1)
    run.take(2, at=START + 2 * SECOND)
    run.take(3, at=START + 9 * SECOND)  # 4 to 8 had none
    run.take(4, at=START + 8 * SECOND - 1)  # late: what was closed stays closed
    run.sink.close(NO_COUNTS)
    seconds = [time.strftime("%S", time.localtime(START // SECOND + offset)) for offset in (0, 2, 8)]
    assert found(tmp_path) == {f"f{seconds[0]}": [1], f"f{seconds[1]}": [2], f"f{seconds[2]}": [3, 4]}


def test_a_slice_without_packets_ends_by_the_clock(rotating: Callable[..., Rotating], tmp_path: Path) -> None:
    run = rotating("f%S", seconds=2)
    run.tick(START + 2 * SECOND)  # a packet of the first slice may be on its way
    assert len(found(tmp_path)) == 1
    run.tick(START + 2 * SECOND + LATE)
    run.tick(START + 4 * SECOND + LATE)
    assert list(found(tmp_path).values()) == [[], [], []]
    run.take(1, at=START + 5 * SECOND)
    run.sink.close(NO_COUNTS)
    assert list(found(tmp_path).values()) == [[], [], [1]]


def test_while_packets_come_the_clock_does_not_matter(rotating: Callable[..., Rotating], tmp_path: Path) -> None:
    """The reader may be seconds behind, with packets of this slice still to come."""
    run = rotating("f%S", seconds=2)
    for number in range(3):
        run.take(number, at=START + number)
        run.tick(START + (10 + number) * SECOND)
    assert list(found(tmp_path).values()) == [[0, 1, 2]]


@pytest.mark.parametrize("by", ["packets", "clock"])
def test_with_a_count_of_slices_it_is_complete(rotating: Callable[..., Rotating], tmp_path: Path, by: str) -> None:
    run = rotating("f%S", seconds=2, files=2)
    run.take(1)
    run.take(2, at=START + 3 * SECOND)
    assert not run.sink.complete
    if by == "clock":
        run.tick(START + 4 * SECOND)
        run.tick(START + 4 * SECOND + LATE)
    run.take(3, at=START + 4 * SECOND)
    assert run.sink.complete
    run.take(4, at=START + 100 * SECOND)
    run.tick(START + 200 * SECOND)
    run.sink.close(NO_COUNTS)
    assert list(found(tmp_path).values()) == [[1], [2]]
    assert run.sink.packets == 2


def test_size_and_time_together_never_end_and_each_slice_counts_anew(
    rotating: Callable[..., Rotating], tmp_path: Path
) -> None:
    run = rotating("f%S-", size=100, seconds=2, files=2)
    for slice_number in range(3):
        first = 10 * slice_number
        run.take(first, first + 1, first + 2, at=START + slice_number * 2 * SECOND)
    run.sink.close(NO_COUNTS)
    assert not run.sink.complete
    assert list(found(tmp_path).values()) == [[2], [1], [12], [11], [22], [21]]


def test_without_a_time_in_its_name_a_slice_replaces_the_one_before(
    rotating: Callable[..., Rotating], tmp_path: Path
) -> None:
    run = rotating(seconds=2)
    run.take(1)
    run.take(2, at=START + 2 * SECOND)
    run.sink.close(NO_COUNTS)
    assert found(tmp_path) == {"f": [2]}
    assert Rotation(seconds=2).overwrites("f")
    assert not any(rotation.overwrites("f%S") for rotation in (Rotation(seconds=2), Rotation(size=2)))
    assert not Rotation(seconds=2, files=1).overwrites("f")


@pytest.mark.parametrize("name", ["/dev/null", "-"])
def test_what_is_no_regular_file_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be cut into files by -C or -G: it is no regular file"):
        RotatingSink(name, Rotation(size=1), lambda name: PcapSink(name, 0))


def test_a_name_that_no_file_can_have_is_told() -> None:
    with pytest.raises(SinkError, match="File name too long"):
        RotatingSink("x" * 300, Rotation(size=1), lambda name: PcapSink(name, 0))


def test_a_next_file_that_cannot_be_opened_is_told_once(rotating: Callable[..., Rotating], tmp_path: Path) -> None:
    run = rotating(size=100)
    (tmp_path / "f1").mkdir()
    with pytest.raises(SinkError, match="f1': it is no regular file"):
        run.take(1, 2)
    run.take(3)
    run.tick(START + SECOND)
    run.sink.close(NO_COUNTS)
    assert run.sink.packets is None
    (tmp_path / "f1").rmdir()
    assert found(tmp_path) == {"f": [1]}


def test_a_file_that_is_deleted_is_told_at_the_end_and_the_next_ones_are_written(
    rotating: Callable[..., Rotating], tmp_path: Path
) -> None:
    run = rotating(size=100)
    run.take(1)
    (tmp_path / "f").unlink()
    run.take(2, 3)
    with pytest.raises(DeletedError, match="f' was deleted while it was written: its one packet is lost"):
        run.sink.close(NO_COUNTS)
    assert run.sink.packets == 2
    assert found(tmp_path) == {"f1": [2], "f2": [3]}


def test_what_fails_when_the_last_packets_are_written_is_told_at_the_end(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    sink = RotatingSink(str(tmp_path / "f"), Rotation(size=30), lambda name: PcapSink(name, 0))
    (tmp_path / "f1").mkdir()
    for _ in range(2):
        sink.dump(make_spec(), START, memoryview(make_record(b"x")))
    with pytest.raises(SinkError, match="f1': it is no regular file"):
        sink.close(NO_COUNTS)
