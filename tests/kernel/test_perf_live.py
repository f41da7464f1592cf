"""The perf buffers' reader on the kernel's own buffers, which a program of a few instructions writes to."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from xcapscript.kernel import bpf
from xcapscript.kernel.libbpf import LoadOptions, check, load
from xcapscript.runtime import perf
from xcapscript.runtime.perf import PerfBuffers

pytestmark = pytest.mark.kernel

PERF_EVENT_ARRAY, RAW_TRACEPOINT = 4, 17
CPUS = sorted(os.sched_getaffinity(0))
EVENT = 7


@pytest.fixture
def buffers() -> Iterator[int]:
    """The map that has a buffer for each CPU."""
    descriptor = check(load().bpf_map_create(PERF_EVENT_ARRAY, b"test", 4, 4, bpf.possible_cpus(), None))
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def program(buffers: int) -> Iterator[int]:
    """Sends EVENT, the CPU and the time, and returns what bpf_perf_event_output() says."""
    instructions = [
        (0xBF, 0x16, 0, 0),  # r6 = r1
        (0x85, 0, 0, 5),  # bpf_ktime_get_ns()
        (0x7B, 0x0A, -8, 0),  # *(u64 *)(r10 - 8) = r0
        (0x85, 0, 0, 8),  # bpf_get_smp_processor_id()
        (0x63, 0x0A, -12, 0),  # *(u32 *)(r10 - 12) = r0
        (0x62, 0x0A, -16, EVENT),  # *(u32 *)(r10 - 16) = EVENT
        (0xBF, 0x61, 0, 0),  # r1 = r6
        (0x18, 0x12, 0, buffers),  # r2 = the map
        (0, 0, 0, 0),
        (0xB4, 0x03, 0, -1),  # w3 = BPF_F_CURRENT_CPU
        (0xBF, 0xA4, 0, 0),  # r4 = r10
        (0x07, 0x04, 0, -16),  # r4 += -16
        (0xB7, 0x05, 0, 16),  # r5 = 16
        (0x85, 0, 0, 25),  # bpf_perf_event_output()
        (0x95, 0, 0, 0),  # exit
    ]
    code = b"".join(struct.pack("=BBhi", *instruction) for instruction in instructions)
    options = LoadOptions(sz=ctypes.sizeof(LoadOptions))
    descriptor = check(
        load().bpf_prog_load(RAW_TRACEPOINT, b"test", b"GPL", code, len(instructions), ctypes.byref(options))
    )
    yield descriptor
    os.close(descriptor)


@contextmanager
def on(cpu: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def send(program: int, cpu: int) -> int:
    """Have a record sent from a CPU; 0, or the errno of the refusal."""
    with on(cpu):
        return -ctypes.c_int32(bpf.test_run(program, b"")).value


def taken(reader: PerfBuffers) -> list[tuple[int, int]]:
    """Event and CPU of each record there is, in the order of their times."""
    records = reader.take(final=True)
    found = [struct.unpack_from("=IIQ", record) for _, _, record in records]
    assert [(time, event) for time, event, _ in records] == [(time, event) for event, _, time in found]
    assert found == sorted(found, key=lambda one: one[2])
    reader.release()
    return [(event, cpu) for event, cpu, _ in found]


def test_what_was_sent_is_read_and_what_was_refused_is_not(buffers: int, program: int) -> None:
    reader = PerfBuffers(buffers, 1)
    for _ in range(5):
        refusals = [send(program, CPUS[0]) for _ in range(300)]
        assert set(refusals) == {0, errno.ENOSPC}
        assert taken(reader) == [(EVENT, CPUS[0])] * refusals.count(0)
    reader.close()


@pytest.mark.skipif(len(CPUS) < 2, reason="this machine has one CPU")
def test_the_cpus_are_merged(buffers: int, program: int) -> None:
    reader = PerfBuffers(buffers, 64)
    order = [*CPUS[:2], *CPUS[:2], *CPUS[1::-1]]
    assert [send(program, cpu) for cpu in order] == [0] * 6
    assert taken(reader) == [(EVENT, cpu) for cpu in order]
    reader.close()


@pytest.mark.skipif(len(CPUS) < 2, reason="this machine has one CPU")
def test_a_cpu_without_a_buffer_is_refused_until_it_is_taken_over(
    buffers: int, program: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perf, "LOOK", 0)
    first, second = CPUS[:2]
    online = {first}
    reader = PerfBuffers(buffers, 64, lambda: frozenset(online))
    assert (send(program, first), send(program, second)) == (0, errno.ENOENT)
    online.add(second)
    assert taken(reader) == [(EVENT, first)]
    assert (send(program, first), send(program, second)) == (0, 0)
    # as if it had gone and come back
    online.remove(second)
    assert taken(reader) == [(EVENT, first), (EVENT, second)]
    online.add(second)
    assert taken(reader) == []
    assert send(program, second) == 0
    assert taken(reader) == [(EVENT, second)]
    reader.close()
