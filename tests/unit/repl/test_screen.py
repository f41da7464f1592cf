from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from xcapscript.layout import EVENT
from xcapscript.repl.screen import BUDGET, LARGEST, Screen, Voice
from xcapscript.repl.shown import VoiceLines, wanted_by
from xcapscript.source import Source
from xcapscript.unit import Attachment, EventKind, EventSpec, HookKind


def event(kind: HookKind = HookKind.RAWTRACEPOINT) -> EventSpec:
    return EventSpec(0, EventKind.LINE, EVENT, "drop", Attachment(kind), Source("x", "x").span(0, 1))


@pytest.fixture
def screen() -> Screen:
    return Screen()


def offer(voice: Voice, number: int, spec: EventSpec | None = None) -> int:
    """So many lines; how many were wanted."""
    shown = 0
    for _ in range(number):
        if voice.wanted(spec or event()):
            voice.show("line\n")
            shown += 1
    return shown


def test_of_a_moment_so_many_lines_are_shown_and_the_others_counted(screen: Screen) -> None:
    one, other = screen.voice(), screen.voice()
    assert offer(one, 300) + offer(other, 1000) == BUDGET
    assert screen.take() == "line\n" * BUDGET + "... 1,280 more\n"
    assert (one.unseen, other.unseen) == (280, 1000)
    assert offer(other, 3) == 3
    assert screen.take() == "line\n" * 3


def test_an_event_of_many_lines_takes_their_room(screen: Screen) -> None:
    voice = screen.voice()
    assert voice.wanted(event())
    voice.show("x\n" * (BUDGET + 5))
    assert not voice.wanted(event())


@pytest.mark.parametrize("kind", [HookKind.BEGIN, HookKind.END, HookKind.INTERVAL])
def test_what_has_its_own_time_is_always_shown(screen: Screen, kind: HookKind) -> None:
    voice = screen.voice()
    offer(voice, 100)
    assert offer(voice, 10, event(kind)) == 10


def test_while_it_is_held_nothing_is_shown_and_nothing_said_of_it(screen: Screen) -> None:
    voice = screen.voice()
    screen.held = True
    assert offer(voice, 5) == offer(voice, 5, event(HookKind.INTERVAL)) == 0
    screen.say("a message")
    assert screen.take() == "a message\n"
    screen.held = False
    assert offer(voice, 1) == 1
    assert screen.take() == "line\n"
    assert voice.unseen == 10


def test_who_waits_is_called_once_until_it_has_taken(screen: Screen) -> None:
    called: list[None] = []
    screen.wake = lambda: called.append(None)
    offer(screen.voice(), 100)
    assert len(called) == 1
    screen.take()
    screen.say("more")
    assert len(called) == 2
    assert screen.take() == "more\n"
    assert screen.take() == ""


def test_what_waits_has_a_limit(screen: Screen) -> None:
    for _ in range(100):
        screen.say("x" * (LARGEST // 10))
    assert len(screen.take()) < 2 * LARGEST


@pytest.fixture
def lines(screen: Screen) -> Any:
    def make(mark: Callable[[], str] = lambda: "") -> VoiceLines:
        return VoiceLines(screen.voice(), lambda: 80, mark)

    return make


def test_a_part_of_a_line_waits_for_its_end(screen: Screen, lines: Any) -> None:
    out = lines()
    out.write("one, ")
    assert screen.take() == ""
    out.write("two\nthree")
    assert screen.take() == "one, two\n"
    out.close()
    assert screen.take() == "three\n"
    out.close()
    assert screen.take() == ""


def test_each_line_has_its_mark(screen: Screen, lines: Any) -> None:
    lines(lambda: "[2] ").write("a\nb\n")
    assert screen.take() == "[2] a\n[2] b\n"


def test_a_line_that_was_begun_ends_where_what_follows_is_not_shown(screen: Screen) -> None:
    voice = screen.voice()
    out = VoiceLines(voice, lambda: 80, lambda: "")
    wanted = wanted_by(voice, out)
    assert wanted(event())
    out.write("begun ")
    screen.held = True
    assert not wanted(event())
    assert screen.take() == "begun \n"
