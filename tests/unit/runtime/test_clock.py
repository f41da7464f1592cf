"""The kernel's clock against the wall's, with clocks of our own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from time import CLOCK_MONOTONIC, CLOCK_REALTIME, monotonic_ns, time_ns

import pytest

from xcapscript.runtime import clock as module
from xcapscript.runtime.clock import SAMPLES, STEP, Clock

OFFSET = 1_700_000_000_000_000_000


class Clocks:
    """Two clocks that go on by `step` at each look; every so often the process is interrupted for long."""

    def __init__(self) -> None:
        self.now = 10**12
        self.offset = OFFSET
        self.steps: Iterator[int] = cycle([50])

    def gettime_ns(self, which: int) -> int:
        self.now += next(self.steps)
        assert which in {CLOCK_MONOTONIC, CLOCK_REALTIME}
        return self.now if which == CLOCK_MONOTONIC else self.now + self.offset


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(module, "clock_gettime_ns", made.gettime_ns)
    return made


def test_the_offset_is_that_of_the_wall_clock(clocks: Clocks) -> None:
    assert Clock().offset == clocks.offset


def test_the_reading_that_was_interrupted_least_counts(clocks: Clocks) -> None:
    # a long pause between the first two looks makes the wall clock seem ahead, one after them behind
    looks = [[90_000, 50, 50], [50, 90_000, 50], [50, 50, 90_000]]
    clocks.steps = (step for number in range(SAMPLES) for step in (looks[number % 3] if number != 5 else [7, 9, 9]))
    assert Clock().offset == clocks.offset


def test_the_noise_of_reading_does_not_move_the_offset(clocks: Clocks) -> None:
    clock = Clock()
    for noise in (1, -1, STEP, -STEP):
        clocks.offset = OFFSET + noise
        clock.follow()
        assert clock.offset == OFFSET


@pytest.mark.parametrize("step", [STEP + 1, -STEP - 1, 3600 * 10**9, -3600 * 10**9])
def test_a_wall_clock_that_was_set_is_followed(clocks: Clocks, step: int) -> None:
    clock = Clock()
    clocks.offset = OFFSET + step
    clock.follow()
    assert clock.offset == OFFSET + step


def test_a_wall_clock_that_drifts_is_followed_step_by_step(clocks: Clocks) -> None:
    clock = Clock()
    for _ in range(100):
        clocks.offset += STEP // 10
        clock.follow()
        assert abs(clock.offset - clocks.offset) <= STEP


def test_the_machines_own_clocks_give_its_time() -> None:
    """Within a minute: nobody sets the clock meanwhile."""
    assert abs(monotonic_ns() + Clock().offset - time_ns()) < 60 * 10**9
