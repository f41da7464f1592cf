"""The perf buffers' reader, on files laid out as the kernel's are mapped (kernel/events/ring_buffer.c)."""

from __future__ import annotations

import mmap
import os
import random
import struct
from collections.abc import Iterator

import pytest

from xcapscript.errors import KernelError
from xcapscript.runtime import perf as module
from xcapscript.runtime.perf import LOOK, SAMPLE, PerfBuffers
from xcapscript.runtime.ring import WINDOW

SIZE = mmap.PAGESIZE
NOW = 10**12
LONG_AGO = 1000
LOST = 2
HEAD, TAIL = 1024, 1032
EVENT_SIZE = 16


class Cpu:
    """The writing side of one CPU's buffer."""

    def __init__(self, start: int = 0) -> None:
        self.descriptor = os.memfd_create("perf")
        os.ftruncate(self.descriptor, mmap.PAGESIZE + SIZE)
        self._file = mmap.mmap(self.descriptor, 0)
        self.head = start
        self.lost = 0
        struct.pack_into("=QQ", self._file, HEAD, start, start)

    @property
    def tail(self) -> int:
        """What the reader has given back."""
        return int(struct.unpack_from("=Q", self._file, TAIL)[0])

    @property
    def free(self) -> int:
        return SIZE - (self.head - self.tail)

    def _write(self, kind: int, content: bytes) -> None:
        record = struct.pack("=IHH", kind, 0, 8 + len(content)) + content
        assert len(record) % 8 == 0
        for index, byte in enumerate(record):
            self._file[mmap.PAGESIZE + (self.head + index) % SIZE] = byte
        self.head += len(record)

    def put(self, time: int, body: bytes = b"", *, event: int = 0) -> bool:
        """A sample of `struct xcap_event` and more, padded as the kernel does; whether there was room."""
        raw = struct.pack("=IIQ", event, 0, time) + body
        padded = -(-(len(raw) + 4) // 8) * 8 - 4
        notice = 24 if self.lost else 0
        if 12 + padded + notice > self.free:
            self.lost += 1
            return False
        if self.lost:
            self._write(LOST, struct.pack("=QQ", 0, self.lost))
            self.lost = 0
        self._write(SAMPLE, struct.pack("=I", padded) + raw.ljust(padded, b"\0"))
        struct.pack_into("=Q", self._file, HEAD, self.head)
        return True

    def close(self) -> None:
        self._file.close()
        os.close(self.descriptor)


class Machine:
    """CPUs, what the reader has put into its map, and a clock."""

    def __init__(self, *starts: int) -> None:
        self.cpus = {number: Cpu(start) for number, start in enumerate(starts)}
        self.online = set(self.cpus)
        self.map: list[int] = []
        self.now = NOW

    def open_output(self, cpu: int) -> int:
        return os.dup(self.cpus[cpu].descriptor)

    def update(self, _map: int, key: bytes, _value: bytes) -> None:
        self.map += struct.unpack("=I", key)

    def reader(self, pages: int | None = None) -> PerfBuffers:
        return PerfBuffers(-1, pages or 1, lambda: frozenset(self.online))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine(0, 0)
    for name in ("open_output", "update"):
        monkeypatch.setattr(module, name, getattr(made, name))
    monkeypatch.setattr(module, "monotonic_ns", lambda: made.now)
    yield made
    for cpu in made.cpus.values():
        cpu.close()


@pytest.fixture
def reader(machine: Machine) -> Iterator[PerfBuffers]:
    made = machine.reader()
    yield made
    made.close()


def taken(reader: PerfBuffers, *, final: bool = False) -> list[tuple[int, int, bytes]]:
    """Take a batch, copy it, and give it back."""
    records = [(time, event, bytes(record)) for time, event, record in reader.take(final=final)]
    reader.release()
    return records


def times(reader: PerfBuffers, *, final: bool = False) -> list[int]:
    return [time for time, _, _ in taken(reader, final=final)]


def test_each_cpu_has_a_buffer_in_the_map(machine: Machine, reader: PerfBuffers) -> None:
    assert machine.map == [0, 1]
    assert taken(reader) == []
    assert not reader.waiting
    assert not reader.full


@pytest.mark.parametrize("size", range(17))
def test_a_record_has_its_time_its_event_and_its_bytes(machine: Machine, reader: PerfBuffers, size: int) -> None:
    bodies = [bytes([number]) * size for number in (1, 2)]
    for number, body in enumerate(bodies):
        machine.cpus[0].put(LONG_AGO + number, body, event=7)
    found = taken(reader)
    assert [(time, event) for time, event, _ in found] == [(LONG_AGO, 7), (LONG_AGO + 1, 7)]
    assert [record[:EVENT_SIZE] for _, _, record in found] == [
        struct.pack("=IIQ", 7, 0, LONG_AGO + number) for number in (0, 1)
    ]
    assert [record[EVENT_SIZE : EVENT_SIZE + size] for _, _, record in found] == bodies


def test_the_place_of_a_batch_is_given_back_when_it_is_released(machine: Machine, reader: PerfBuffers) -> None:
    cpu = machine.cpus[1]
    cpu.put(LONG_AGO)
    assert len(reader.take()) == 1
    assert cpu.tail == 0
    reader.release()
    assert cpu.tail == cpu.head
    assert taken(reader) == []


@pytest.mark.parametrize("before", range(8, 73, 8))
def test_a_record_may_go_over_the_end(machine: Machine, monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    """Between its bytes, and between its header and all else."""
    wrapping = Machine(5 * SIZE - before, 2**40 + SIZE)
    monkeypatch.setattr(module, "open_output", wrapping.open_output)
    reader = wrapping.reader()
    body = bytes(range(40))
    wrapping.cpus[0].put(LONG_AGO, body)
    wrapping.cpus[0].put(LONG_AGO + 1, body[::-1])
    assert [record[EVENT_SIZE:][:40] for _, _, record in taken(reader)] == [body, body[::-1]]
    assert wrapping.cpus[0].tail == wrapping.cpus[0].head
    assert machine.map[2:] == []
    reader.close()


def test_what_says_that_records_were_lost_is_none(machine: Machine, reader: PerfBuffers) -> None:
    cpu = machine.cpus[0]
    body = bytes(1000)
    sent = [number for number in range(10) if cpu.put(number, body)]
    assert sent == [0, 1, 2]
    assert times(reader) == sent
    assert cpu.put(20)
    assert times(reader) == [20]
    assert cpu.tail == cpu.head


def test_the_cpus_records_come_in_the_order_of_time(machine: Machine, reader: PerfBuffers) -> None:
    for number, time in enumerate((30, 10, 20, 40, 5)):
        machine.cpus[number % 2].put(time)
    assert times(reader) == [5, 10, 20, 30, 40]


def test_records_of_one_cpu_and_time_stay_in_their_order(machine: Machine, reader: PerfBuffers) -> None:
    for event, time in enumerate((20, 10, 20, 10)):
        machine.cpus[0].put(time, event=event)
    assert [(time, event) for time, event, _ in taken(reader)] == [(10, 1), (10, 3), (20, 0), (20, 2)]


def test_what_is_younger_than_the_window_waits_in_its_place(machine: Machine, reader: PerfBuffers) -> None:
    machine.cpus[0].put(NOW - WINDOW)
    machine.cpus[1].put(NOW - WINDOW + 1, b"young")
    assert times(reader) == [NOW - WINDOW]
    assert reader.waiting
    assert machine.cpus[1].tail == 0
    machine.now += 1
    machine.cpus[0].put(NOW - WINDOW)
    assert times(reader) == [NOW - WINDOW, NOW - WINDOW + 1]
    assert not reader.waiting


def test_at_the_end_nothing_waits(machine: Machine, reader: PerfBuffers) -> None:
    machine.cpus[0].put(NOW + 5)
    machine.cpus[1].put(NOW + 3)
    assert times(reader, final=True) == [NOW + 3, NOW + 5]


def test_a_batch_has_a_limit(machine: Machine, reader: PerfBuffers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 10)
    for number in range(25):
        machine.cpus[0].put(number * WINDOW)
    batches = []
    while not batches or reader.full:
        batches.append(times(reader))
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 4, 5]
    assert [time for batch in batches for time in batch] == [number * WINDOW for number in range(25)]


def test_a_cpu_that_has_much_to_give_waits_for_none_that_has_older(
    machine: Machine, reader: PerfBuffers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 8)
    for number in range(20):
        machine.cpus[0].put(10 * WINDOW + number)
        machine.cpus[1].put(number * WINDOW)
    found = times(reader, final=True)
    while reader.full:
        found += times(reader, final=True)
    assert found == sorted([10 * WINDOW + number for number in range(20)] + [number * WINDOW for number in range(20)])


def test_a_full_batch_of_one_moment_is_given_out(
    machine: Machine, reader: PerfBuffers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    for _ in range(9):
        machine.cpus[0].put(LONG_AGO)
    found = times(reader)
    assert found
    while reader.full:
        found += times(reader)
    assert found + times(reader, final=True) == [LONG_AGO] * 9


def test_nothing_is_lost_or_seen_twice_and_all_is_in_order(
    machine: Machine, reader: PerfBuffers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records take their places up to half a window after their time."""
    monkeypatch.setattr(module, "BATCH", 60)
    rng = random.Random(1)
    sent: list[tuple[int, bytes]] = []
    found: list[tuple[int, bytes]] = []
    refused = 0
    all_times = sorted(rng.sample(range(NOW, NOW + 900 * WINDOW), 4000))
    for arrival, time in sorted((time + rng.randrange(WINDOW // 2), time) for time in all_times):
        machine.now = arrival
        body = struct.pack("=I", len(sent)) + rng.randbytes(rng.choice([0, 1, 7, 60, 300, 1000]))
        if machine.cpus[rng.randrange(2)].put(time, body):
            sent.append((time, body))
        else:
            refused += 1
        if rng.random() < 0.15:
            found += [(time, record[EVENT_SIZE:]) for time, _, record in taken(reader)]
    while (batch := taken(reader, final=True)) or reader.full:
        found += [(time, record[EVENT_SIZE:]) for time, _, record in batch]
    assert 100 < refused < 3000
    assert [time for time, _ in found] == sorted(time for time, _ in sent)
    bodies = dict(sent)
    assert all(record.startswith(bodies[time]) and len(record) - len(bodies[time]) < 8 for time, record in found)


def test_a_cpu_that_comes_is_taken_over(machine: Machine) -> None:
    machine.online = {0}
    reader = machine.reader()
    assert machine.map == [0]
    machine.online = {0, 1}
    assert taken(reader) == []
    assert machine.map == [0]
    machine.now += LOOK
    assert taken(reader) == []
    assert machine.map == [0, 1]
    machine.cpus[1].put(LONG_AGO)
    assert times(reader) == [LONG_AGO]
    reader.close()


def test_a_cpu_that_is_gone_gives_what_it_has_and_is_asked_anew_when_it_comes_back(
    machine: Machine, reader: PerfBuffers
) -> None:
    machine.cpus[1].put(LONG_AGO)
    machine.online = {0}
    machine.now += LOOK
    assert times(reader) == [LONG_AGO]
    machine.online = {0, 1}
    machine.now += LOOK
    assert taken(reader) == []
    assert machine.map == [0, 1, 1]


def test_a_cpu_that_is_refused_is_asked_for_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.online = {0}
    reader = machine.reader()
    machine.online = {0, 1}

    def refuse(_cpu: int) -> int:
        raise OSError(19, "No such device")

    with monkeypatch.context() as refusing:
        refusing.setattr(module, "open_output", refuse)
        machine.now += LOOK
        assert taken(reader) == []
    assert machine.map == [0]
    machine.now += LOOK
    assert taken(reader) == []
    assert machine.map == [0, 1]
    reader.close()


@pytest.mark.parametrize(("pages", "each"), [(1, 1), (2, 1), (3, 1), (4, 2), (7, 2), (8192, 4096)])
def test_the_buffers_are_no_more_than_was_asked_for_or_a_page_each(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, pages: int, each: int
) -> None:
    for cpu in machine.cpus.values():
        os.ftruncate(cpu.descriptor, (1 + each) * mmap.PAGESIZE)
    sizes: list[int] = []
    original = mmap.mmap

    def note(descriptor: int, size: int, *more: int) -> mmap.mmap:
        sizes.append(size)
        return original(descriptor, size, *more)

    monkeypatch.setattr(module.mmap, "mmap", note)
    machine.reader(pages).close()
    assert sizes == [(1 + each) * mmap.PAGESIZE] * 2


def test_a_refusal_is_the_machines_and_says_what_helps(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_cpu: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(module, "open_output", refuse)
    with pytest.raises(KernelError, match="Operation not permitted") as error:
        machine.reader()
    assert "--buffer-size" in (error.value.advice or "")


def test_more_than_there_is_of_memory_is_not_asked_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_memory", lambda: 2 * SIZE - 1)
    with pytest.raises(KernelError, match="less memory than that"):
        machine.reader()
    assert machine.map == []
