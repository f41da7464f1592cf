"""Sleeping until something comes."""

import mmap
import os
import struct
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from xcapscript.runtime.control import Control
from xcapscript.runtime.doorbell import Doorbell

ASLEEP_OFFSET = 24
LONG = 20_000_000_000
SECOND = 1_000_000_000


@pytest.fixture
def page() -> Iterator[int]:
    descriptor = os.memfd_create("controls")
    os.ftruncate(descriptor, mmap.PAGESIZE)
    yield descriptor
    os.close(descriptor)


def asleep(page: int) -> int:
    return int(struct.unpack("=I", os.pread(page, 4, ASLEEP_OFFSET))[0])


def test_an_empty_buffer_is_slept_on_until_something_comes(page: int) -> None:
    reading, writing = os.pipe()
    seen = []

    def ring() -> None:
        while not asleep(page):
            pass
        seen.append(asleep(page))
        os.write(writing, b"x")

    bell = threading.Thread(target=ring)
    bell.start()
    before = monotonic()
    Doorbell(Control(page), reading).wait(LONG, empty=True)
    bell.join()
    assert monotonic() - before < LONG / SECOND / 2
    assert (seen, asleep(page)) == ([1], 0)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("empty", [True, False])
def test_without_a_ring_the_time_passes(page: int, empty: bool) -> None:  # noqa: FBT001 -- a parameter of the test's
    before = monotonic()
    Doorbell(Control(page), None).wait(30_000_000, empty=empty)
    assert monotonic() - before >= 0.03
    assert asleep(page) == 0


def test_what_lies_in_the_buffer_is_waited_on(page: int) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"x")
    before = monotonic()
    Doorbell(Control(page), reading).wait(30_000_000, empty=False)
    assert monotonic() - before >= 0.03
    os.close(reading)
    os.close(writing)
