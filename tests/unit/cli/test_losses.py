"""When losses are told while they happen, and in which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xcapscript.cli.losses import BETWEEN, Losses
from xcapscript.layout import EVENT
from xcapscript.runtime.maps import Counts
from xcapscript.source import Source
from xcapscript.unit import Attachment, EventKind, EventSpec, HookKind, Program, Unit

SPAN = Source("case", "x").span(0, 1)
MIB = 1 << 20
NOTHING = Counts(0, 0, 0, 0, 0, 0, 0, 0, 0)


def unit(*kinds: EventKind, hooks: tuple[str, ...] = ("drop", "rx")) -> Unit:
    attachment = Attachment(HookKind.RAWTRACEPOINT, "x")
    programs = tuple(Program(f"f{n}", attachment, hook, SPAN) for n, hook in enumerate(hooks))
    events = tuple(EventSpec(n, kind, EVENT, "drop", attachment, SPAN) for n, kind in enumerate(kinds))
    return Unit("", programs, events, (), (), 1)


class Run:
    """Losses that happen as a test says, and what was told of them."""

    def __init__(self, unit: Unit, size: int = 32 * MIB) -> None:
        self.now = 100.0
        self.told: list[str] = []
        self.looks = 0
        self.lost = [0] * len(unit.programs)
        self._losses = Losses(unit, size, self.told.append, lambda: self.now)

    def look(self) -> list[str]:
        def counts() -> list[Counts]:
            self.looks += 1
            return [replace(NOTHING, lost=lost) for lost in self.lost]

        self._losses.look(counts)
        told = list(self.told)
        self.told.clear()
        return told


def test_what_was_lost_is_told_once_with_what_helps() -> None:
    run = Run(unit(EventKind.DUMP, EventKind.LIMIT))
    run.lost = [12345, 0]
    run.now += BETWEEN
    assert run.look() == [
        "lost 12,345 packets so far (drop): try --buffer-size 128M, a shorter -s or a narrower filter"
    ]
    run.now += BETWEEN
    assert run.look() == []
    run.lost = [12345, 1]
    run.now += BETWEEN
    assert run.look()[0].startswith("lost 12,346 packets so far (drop, rx): ")


def test_it_is_told_and_looked_for_at_most_once_a_second() -> None:
    run = Run(unit(EventKind.DUMP))
    told = 0
    for number in range(100):
        run.now += BETWEEN / 10
        run.lost[0] = number
        told += len(run.look())
    assert run.looks <= 10
    assert told <= 10


def test_nothing_lost_is_nothing_told() -> None:
    run = Run(unit(EventKind.DUMP))
    run.now += BETWEEN
    assert run.look() == []


def test_what_is_not_only_packets_is_called_events() -> None:
    run = Run(unit(EventKind.DUMP, EventKind.PRINTF))
    run.lost[0] = 1
    run.now += BETWEEN
    assert run.look()[0].startswith("lost 1 event so far (drop): ")


def test_of_many_hooks_some_are_named_and_each_once() -> None:
    run = Run(unit(EventKind.DUMP, hooks=("a", "a", "b", "c", "d")))
    run.lost = [1, 1, 1, 1, 1]
    run.now += BETWEEN
    assert "(a, b, c, ...)" in run.look()[0]


@pytest.mark.parametrize(
    ("size", "advice"),
    [
        (4096, "--buffer-size 32M, a shorter"),
        (16 * MIB, "--buffer-size 64M, a shorter"),
        (512 * MIB, "--buffer-size 1G, a shorter"),
        (1024 * MIB, "try a shorter -s"),
    ],
)
def test_a_larger_buffer_is_offered_while_there_is_one(size: int, advice: str) -> None:
    run = Run(unit(EventKind.DUMP), size)
    run.lost[0] = 1
    run.now += BETWEEN
    assert advice in run.look()[0]
