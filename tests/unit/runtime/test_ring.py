"""The ring's reader, on a file laid out as the kernel's ring is mapped (kernel/bpf/ringbuf.c)."""

from __future__ import annotations

import mmap
import os
import random
import struct
from collections.abc import Callable, Iterator

import pytest

from xcapscript.native import library
from xcapscript.runtime import ring as module
from xcapscript.runtime.ring import BUSY, DISCARDED, HEADER, WINDOW, Ring, RingInC

PAGES = 1
SIZE = PAGES * mmap.PAGESIZE
NOW = 10**12
"""What the clock says in these tests, ns."""

LONG_AGO = 1000


class Kernel:
    """The writing side: a consumer page, a producer page, and the data twice, both halves alike."""

    def __init__(self, start: int = 0) -> None:
        self.descriptor = os.memfd_create("ring")
        os.ftruncate(self.descriptor, 2 * mmap.PAGESIZE + 2 * SIZE)
        self._file = mmap.mmap(self.descriptor, 0)
        self._write(0, struct.pack("=Q", start))
        self.producer = start

    def _write(self, at: int, data: bytes) -> None:
        self._file[at : at + len(data)] = data

    def _write_data(self, position: int, data: bytes) -> None:
        for index, byte in enumerate(data):
            at = 2 * mmap.PAGESIZE + (position + index) % SIZE
            self._file[at] = self._file[at + SIZE] = byte

    @property
    def consumer(self) -> int:
        """What the reader has given back."""
        return int(struct.unpack_from("=Q", self._file, 0)[0])

    @property
    def free(self) -> int:
        return SIZE - (self.producer - self.consumer)

    def put(self, time: int, body: bytes = b"", *, event: int = 0, flags: int = 0) -> int:
        """A record in the next place: its header, then `struct xcap_event` and more; where it is."""
        record = struct.pack("=IIQ", event, 0, time) + body
        at = self.producer
        length = (len(record) + HEADER + 7) & ~7
        assert length <= self.free
        self._write_data(at, struct.pack("=II", len(record) | flags, 0) + record)
        self.producer += length
        self._write(mmap.PAGESIZE, struct.pack("=Q", self.producer))
        return at

    def finish(self, at: int, *, discard: bool = False) -> None:
        """Take the busy mark off a record."""
        first = 2 * mmap.PAGESIZE + at % SIZE
        length = struct.unpack_from("=I", self._file, first)[0] & ~BUSY
        self._write_data(at, struct.pack("=I", length | (DISCARDED if discard else 0)))

    def close(self) -> None:
        self._file.close()
        os.close(self.descriptor)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "monotonic_ns", lambda: NOW)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    made = Kernel()
    yield made
    made.close()


def in_c(descriptor: int, pages: int) -> Ring:
    found = library()
    if found is None:
        pytest.skip("the C was not compiled")
    return RingInC(found, descriptor, pages)


READERS = [pytest.param(Ring, id="python"), pytest.param(in_c, id="c")]


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> Callable[[int, int], Ring]:
    made: Callable[[int, int], Ring] = request.param
    return made


@pytest.fixture
def ring(kernel: Kernel, reader: Callable[[int, int], Ring]) -> Iterator[Ring]:
    made = reader(kernel.descriptor, PAGES)
    yield made
    made.close()


def limit_batches(ring: Ring, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(module, "BATCH", count)
    if ring.native is not None:
        ring.native.state.capacity = count


def taken(ring: Ring, *, final: bool = False) -> list[tuple[int, int, bytes]]:
    """Take a batch, copy it, and give it back."""
    records = [(time, event, bytes(record)) for time, event, record in ring.take(final=final)]
    ring.release()
    return records


def times(ring: Ring, *, final: bool = False) -> list[int]:
    return [time for time, _, _ in taken(ring, final=final)]


def test_an_empty_ring_has_nothing(ring: Ring, kernel: Kernel) -> None:
    assert taken(ring) == []
    assert not ring.unfinished
    assert kernel.consumer == 0


def test_a_record_has_its_time_its_event_and_its_bytes(ring: Ring, kernel: Kernel) -> None:
    kernel.put(LONG_AGO, b"payload", event=7)
    assert taken(ring) == [(LONG_AGO, 7, struct.pack("=IIQ", 7, 0, LONG_AGO) + b"payload")]


@pytest.mark.parametrize("size", range(9))
def test_a_record_is_not_longer_than_it_was_sent(ring: Ring, kernel: Kernel, size: int) -> None:
    bodies = [bytes([number]) * size for number in (1, 2)]
    for body in bodies:
        kernel.put(LONG_AGO, body)
    assert [record[16:] for _, _, record in taken(ring)] == bodies


def test_the_place_of_a_batch_is_given_back_when_it_is_released(ring: Ring, kernel: Kernel) -> None:
    kernel.put(LONG_AGO, b"12345")
    first = ring.take()
    assert kernel.consumer == 0
    assert [bytes(record[16:]) for _, _, record in first] == [b"12345"]
    ring.release()
    assert kernel.consumer == kernel.producer == 32
    assert taken(ring) == []


def test_a_discarded_record_is_left_out(ring: Ring, kernel: Kernel) -> None:
    kernel.put(LONG_AGO, flags=DISCARDED)
    kernel.put(LONG_AGO + 1)
    kernel.put(LONG_AGO + 2, flags=DISCARDED)
    assert times(ring) == [LONG_AGO + 1]
    assert kernel.consumer == kernel.producer


def test_a_busy_record_is_waited_for(ring: Ring, kernel: Kernel) -> None:
    kernel.put(LONG_AGO)
    busy = kernel.put(LONG_AGO + 1, b"later", flags=BUSY)
    kernel.put(LONG_AGO + 2)
    assert times(ring) == [LONG_AGO]
    assert ring.unfinished
    assert kernel.consumer == busy
    assert times(ring, final=True) == []
    assert ring.unfinished
    kernel.finish(busy)
    assert times(ring) == [LONG_AGO + 1, LONG_AGO + 2]
    assert not ring.unfinished


def test_a_busy_record_may_end_as_a_discarded_one(ring: Ring, kernel: Kernel) -> None:
    busy = kernel.put(LONG_AGO, flags=BUSY)
    kernel.put(LONG_AGO + 1)
    assert times(ring) == []
    kernel.finish(busy, discard=True)
    assert times(ring) == [LONG_AGO + 1]


def test_records_of_a_batch_are_in_the_order_of_time(ring: Ring, kernel: Kernel) -> None:
    for time in (30, 10, 20, 40, 5):
        kernel.put(time)
    assert times(ring) == [5, 10, 20, 30, 40]


def test_records_of_one_time_stay_in_the_order_of_the_ring(ring: Ring, kernel: Kernel) -> None:
    for event, time in enumerate((20, 10, 20, 10)):
        kernel.put(time, event=event)
    assert [(time, event) for time, event, _ in taken(ring)] == [(10, 1), (10, 3), (20, 0), (20, 2)]


def test_what_is_younger_than_the_window_waits(ring: Ring, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.put(NOW - WINDOW)
    kernel.put(NOW - WINDOW + 1)
    assert times(ring) == [NOW - WINDOW]
    assert not ring.unfinished
    monkeypatch.setattr(module, "monotonic_ns", lambda: NOW + 1)
    assert times(ring) == [NOW - WINDOW + 1]


def test_a_late_record_comes_before_the_young_one_that_overtook_it(
    ring: Ring, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two CPUs took the time in one order and their places in the other."""
    kernel.put(NOW - 10)
    assert times(ring) == []
    kernel.put(NOW - 20)
    monkeypatch.setattr(module, "monotonic_ns", lambda: NOW + WINDOW)
    assert times(ring) == [NOW - 20, NOW - 10]


def test_at_the_end_nothing_waits(ring: Ring, kernel: Kernel) -> None:
    kernel.put(NOW + 5)
    kernel.put(NOW + 3)
    assert times(ring, final=True) == [NOW + 3, NOW + 5]
    assert not ring.unfinished


def test_a_record_may_go_over_the_end_of_the_ring(reader: Callable[[int, int], Ring]) -> None:
    kernel = Kernel(start=SIZE - 32)
    ring = reader(kernel.descriptor, PAGES)
    body = bytes(range(200))
    kernel.put(LONG_AGO, body)
    kernel.put(LONG_AGO + 1, body[::-1])
    assert [record[16:] for _, _, record in taken(ring)] == [body, body[::-1]]
    ring.close()
    kernel.close()


@pytest.mark.parametrize("start", [SIZE - 8, SIZE, 5 * SIZE + 16, 2**40 + SIZE - 16, 2**63 + 8])
def test_a_reader_goes_on_from_where_the_last_one_stopped(reader: Callable[[int, int], Ring], start: int) -> None:
    kernel = Kernel(start)
    ring = reader(kernel.descriptor, PAGES)
    assert taken(ring) == []
    kernel.put(LONG_AGO, b"after many rounds")
    assert [record[16:] for _, _, record in taken(ring)] == [b"after many rounds"]
    assert kernel.consumer == kernel.producer
    ring.close()
    kernel.close()


def test_a_full_ring_is_read_whole(ring: Ring, kernel: Kernel) -> None:
    count = SIZE // 64
    for number in range(count):
        kernel.put(number, bytes(64 - HEADER - 16))
    assert kernel.free == 0
    assert times(ring) == list(range(count))
    assert kernel.free == SIZE


def test_a_batch_has_a_limit(ring: Ring, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_batches(ring, monkeypatch, 10)
    for number in range(25):
        kernel.put(number * WINDOW)
    batches = [times(ring) for _ in range(4)]
    assert all(len(batch) <= 10 for batch in batches)
    assert batches[2]
    assert not batches[3]
    assert [time for batch in batches for time in batch] == [number * WINDOW for number in range(25)]
    assert not ring.unfinished


def test_records_are_in_the_order_of_time_where_batches_meet(
    ring: Ring, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_batches(ring, monkeypatch, 2)
    for time in (10, 30, 20, 40):
        kernel.put(time)
    assert [time for _ in range(4) for time in times(ring)] == [10, 20, 30, 40]


def test_discarded_records_do_not_fill_a_batch(ring: Ring, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_batches(ring, monkeypatch, 3)
    for number in range(8):
        kernel.put(number, flags=DISCARDED if number < 6 else 0)
    assert times(ring) == [6, 7]


def test_nothing_is_lost_and_nothing_is_seen_twice_over_many_rounds(ring: Ring, kernel: Kernel) -> None:
    rng = random.Random(1)
    sent: list[bytes] = []
    found: list[bytes] = []
    busy: list[tuple[int, bytes]] = []
    while kernel.producer < 20 * SIZE:
        body = rng.randbytes(rng.choice([0, 1, 7, 8, 9, 60, 300, 1000]))
        if kernel.free < len(body) + 64:
            for at, later in busy:
                kernel.finish(at)
                sent.append(later)
            busy.clear()
            found += [record[16:] for _, _, record in taken(ring)]
        fate = rng.random()
        flags = BUSY if fate < 0.1 else DISCARDED if fate < 0.2 else 0
        at = kernel.put(LONG_AGO, body, flags=flags)
        if flags == BUSY:
            busy.append((at, body))
        elif not flags:
            sent.append(body)
        if rng.random() < 0.1:
            found += [record[16:] for _, _, record in taken(ring)]
    for at, later in busy:
        kernel.finish(at)
        sent.append(later)
    found += [record[16:] for _, _, record in taken(ring, final=True)]
    assert sorted(found) == sorted(sent)
    assert kernel.consumer == kernel.producer


def test_the_order_is_that_of_time_while_records_come_late(
    ring: Ring, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records take their places, and are finished, up to half a window after their time."""
    limit_batches(ring, monkeypatch, 7)
    rng = random.Random(1)
    now, found, busy = NOW, [], []
    monkeypatch.setattr(module, "monotonic_ns", lambda: now)
    sent = [NOW + rng.randrange(200 * WINDOW) for _ in range(3000)]
    coming = sorted((time + rng.randrange(WINDOW // 2), time) for time in sent)
    for arrival, time in coming:
        now = arrival
        for end, at in [(end, at) for end, at in busy if end <= now]:
            busy.remove((end, at))
            kernel.finish(at)
        late = rng.random() < 0.1
        at = kernel.put(time, flags=BUSY if late else 0)
        if late:
            busy.append((time + WINDOW // 2, at))
        if rng.random() < 0.3 or kernel.free < 200:
            found += times(ring)
    for _, at in busy:
        kernel.finish(at)
    while (batch := times(ring, final=True)) or ring.full:
        found += batch
    assert found == sorted(sent)


def test_a_closed_ring_can_be_closed_before_its_descriptor(kernel: Kernel) -> None:
    ring = Ring(kernel.descriptor, PAGES)
    kernel.put(LONG_AGO)
    assert len(taken(ring)) == 1
    ring.close()
    with pytest.raises(ValueError, match="released"):
        ring.take()
