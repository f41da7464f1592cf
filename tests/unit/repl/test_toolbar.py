from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from xcapscript.capture import Totals
from xcapscript.repl.jobs import Sample, State
from xcapscript.repl.toolbar import Meter, Status, toolbar

BUSY = Status(
    running=2, paused=1, starting=0, rate=123_456, lost=7, unseen=5_000_000, missed=3, size=1_234_567, held=True
)
HELD = "output held: Enter shows it"
QUIET = Status(running=0, paused=0, starting=0, rate=0, lost=0, unseen=0, missed=0, size=None, held=False)


@dataclass
class FakeJob:
    number: int
    matched: int = 0
    state: State = State.RUNNING

    @property
    def alive(self) -> bool:
        return self.state is not State.STOPPED

    def sample(self) -> Sample:
        return Sample(Totals(self.matched, self.matched, 1, 0, 0), 2, 3, 100)


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (
            200,
            f"2 running, 1 paused | 123k/s | 7 lost | 3 missed | 5.00M not shown | 1.23 MB written | {HELD}",
        ),
        (80, "2 running, 1 paused | 123k/s | 7 lost | 3 missed | 1.23 MB written | held"),
        (60, "2 running, 1 paused | 123k/s | 7 lost | held"),
        (40, "2 running, 1 paused 123k/s 7 lost"),
        (20, "123k/s 7 lost"),
        (5, ""),
    ],
)
def test_the_longest_wording_that_has_room_is_shown(width: int, text: str) -> None:
    assert toolbar(BUSY, width) == (text, True)


def test_when_nothing_runs_it_says_what_to_do() -> None:
    assert toolbar(QUIET, 80) == ("nothing runs: type a clause, or .help", False)
    assert toolbar(QUIET, 22) == ("nothing runs: .help", False)


def test_rates_are_taken_over_the_last_seconds() -> None:
    now = 0.0
    meter = Meter(lambda: now)
    jobs: Any = [FakeJob(1), FakeJob(2)]
    assert meter.look(jobs, held=False).rate == 0
    for _ in range(100):
        now += 0.1
        jobs[0].matched += 10
        jobs[1].matched += 1
        meter.look(jobs, held=False)
    assert (meter.rate(1), meter.rate(2)) == (100, 10)
    found = meter.look(jobs, held=False)
    assert (found.rate, found.running, found.lost, found.unseen, found.missed, found.size) == (110, 2, 2, 4, 6, 200)
    now += 10
    meter.look(jobs, held=False)
    now += 1
    meter.look(jobs, held=False)
    assert meter.rate(1) == 0


def test_what_has_ended_counts_no_more() -> None:
    meter = Meter(lambda: 0.0)
    jobs: Any = [FakeJob(1, state=State.STOPPED), FakeJob(2, state=State.PAUSED)]
    found = meter.look(jobs, held=True)
    assert (found.running, found.paused, found.lost, found.held) == (0, 1, 1, True)
    assert meter.rate(7) == 0


def test_looks_of_an_hour_are_not_kept() -> None:
    now = [0.0]
    meter = Meter(lambda: now[0])
    job: Any = FakeJob(1)
    for _ in range(7200):
        now[0] += 0.5
        job.matched += 25_000
        meter.look([job], held=False)
    assert len(meter._looks[1]) < 10
    assert meter.rate(1) == 50_000
