"""The line below the prompt: what runs, how fast, what was lost, how large the files are; as much as has room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from xcapscript.numbers import scaled, short
from xcapscript.repl.jobs import Job, Sample, State


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


@dataclass(slots=True)
class Meter:
    """Measures jobs: how much they did since they were last looked at."""

    clock: Callable[[], float] = monotonic
    _before: dict[int, tuple[float, int]] | None = None
    _rates: dict[int, int] | None = None

    def look(self, jobs: Sequence[Job], *, held: bool) -> Status:
        """How all of them are."""
        alive = [job for job in jobs if job.alive]
        samples = [(job, sample) for job in alive if (sample := job.sample()) is not None]
        rates = self.rates(samples)
        sizes = [sample.size for _, sample in samples if sample.size is not None]
        return Status(
            running=sum(job.state is State.RUNNING for job in alive),
            paused=sum(job.state is State.PAUSED for job in alive),
            starting=sum(job.state is State.STARTING for job in alive),
            rate=sum(rates.values()),
            lost=sum(sample.totals.lost for _, sample in samples),
            unseen=sum(sample.unseen for _, sample in samples),
            missed=sum(sample.missed for _, sample in samples),
            size=sum(sizes) if sizes else None,
            held=held,
        )

    def rates(self, samples: Sequence[tuple[Job, Sample]]) -> dict[int, int]:
        """Matches a second of each, by its number."""
        now = self.clock()
        before, found = self._before or {}, {}
        rates = dict(self._rates or {})
        for job, sample in samples:
            time, matched = before.get(job.number, (now, sample.totals.matched))
            found[job.number] = (time, matched)
            if now - time >= SHORTEST or job.number not in before:
                rates[job.number] = round((sample.totals.matched - matched) / (now - time)) if now > time else 0
                found[job.number] = (now, sample.totals.matched)
        self._before = found
        self._rates = {number: rate for number, rate in rates.items() if number in found}
        return self._rates

    def rate(self, number: int) -> int:
        """Matches a second of one, as they were last measured."""
        return (self._rates or {}).get(number, 0)


SHORTEST = 0.4
"""Seconds between two looks that say something of a rate."""


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
