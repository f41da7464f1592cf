"""The line below the prompt: what runs, how fast, what was lost, how large the files are; as much as has room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from xcapscript.numbers import scaled, short
from xcapscript.repl.jobs import Job, State


@dataclass(frozen=True, slots=True)
class Status:
    """What the line tells: jobs by what they do, matches a second, and what all of them have together."""

    running: int
    paused: int
    starting: int
    rate: int
    lost: int
    unseen: int
    missed: int
    size: int | None
    held: bool


SHORTEST, WINDOW = 0.4, 3.0
"""Seconds between two looks that are kept, and that a rate is taken over."""


@dataclass(slots=True)
class Meter:
    """Measures jobs: how much they did in the last seconds."""

    clock: Callable[[], float] = monotonic
    _looks: dict[int, deque[tuple[float, int]]] = field(default_factory=dict)

    def look(self, jobs: Sequence[Job], *, held: bool) -> Status:
        """How all of them are."""
        alive = [job for job in jobs if job.alive]
        samples = {job.number: sample for job in alive if (sample := job.sample()) is not None}
        for number, sample in samples.items():
            self._keep(number, sample.totals.matched)
        sizes = [sample.size for sample in samples.values() if sample.size is not None]
        return Status(
            running=sum(job.state is State.RUNNING for job in alive),
            paused=sum(job.state is State.PAUSED for job in alive),
            starting=sum(job.state is State.STARTING for job in alive),
            rate=sum(map(self.rate, samples)),
            lost=sum(sample.totals.lost for sample in samples.values()),
            unseen=sum(sample.unseen for sample in samples.values()),
            missed=sum(sample.missed for sample in samples.values()),
            size=sum(sizes) if sizes else None,
            held=held,
        )

    def _keep(self, number: int, matched: int) -> None:
        looks = self._looks.setdefault(number, deque())
        now = self.clock()
        if not looks or now - looks[-1][0] >= SHORTEST:
            looks.append((now, matched))
        while len(looks) > 2 and now - looks[0][0] > WINDOW:
            looks.popleft()

    def rate(self, number: int) -> int:
        """Matches a second of one job, as they were last measured."""
        looks = self._looks.get(number)
        if not looks or looks[-1][0] == looks[0][0]:
            return 0
        (start, before), (end, after) = looks[0], looks[-1]
        return round((after - before) / (end - start))


def wordings(status: Status) -> tuple[str, ...]:
    """The same, ever shorter."""
    states = [(status.running, "running"), (status.paused, "paused"), (status.starting, "starting")]
    told = ", ".join(f"{number} {word}" for number, word in states if number) or "nothing runs"
    if not any(number for number, _ in states):
        return ("nothing runs: type a clause, or .help", "nothing runs: .help", ".help")
    size = "" if status.size is None else f" | {scaled(status.size, ' ')}B written"
    unseen = f" | {short(status.unseen)} not shown" if status.unseen else ""
    missed = f" | {short(status.missed)} missed" if status.missed else ""
    held = " | output held: Enter shows it" if status.held else ""
    rate, lost = f"{short(status.rate)}/s", f"{short(status.lost)} lost"
    return (
        f"{told} | {rate} | {lost}{missed}{unseen}{size}{held}",
        f"{told} | {rate} | {lost}{missed}{size}{' | held' if held else ''}",
        f"{told} | {rate} | {lost}{' | held' if held else ''}",
        f"{told} {rate} {lost}",
        f"{rate} {lost}",
        lost,
    )


def toolbar(status: Status, width: int) -> tuple[str, bool]:
    """The longest wording that has room, and whether it tells of a loss."""
    text = next((line for line in wordings(status) if len(line) < width), "")
    return text, bool(status.lost)
