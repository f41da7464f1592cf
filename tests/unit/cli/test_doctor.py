"""The page of --doctor: what it looks like, and what it is worth."""

from __future__ import annotations

import pytest

from xcapscript.cli import doctor
from xcapscript.cli.doctor import Row, examine
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.runtime.trial import Outcome, Verdict

LONG = "a text that is longer than one line of the page can be, so that it goes on below the one before it"


class NoCompiler:
    """Nothing is compiled."""

    def close(self) -> None:
        """Nothing is to be ended."""


def page(
    monkeypatch: pytest.MonkeyPatch, outcome: Outcome, *rows: Row, coloured: bool = False
) -> tuple[bool, list[str]]:
    """Whether capturing works, and the lines, of a machine that has only these rows."""
    for section in ("_software", "_rights", "_settings", "_features"):
        monkeypatch.setattr(doctor, section, list)
    monkeypatch.setattr(doctor, "_hooks", lambda: rows)
    monkeypatch.setattr(doctor, "CompilerProcess", NoCompiler)
    monkeypatch.setattr(doctor, "_outcome_of_capture", lambda *_: outcome)
    lines: list[str] = []
    works = examine(FrozenKernel(None), default_library(), lines.append, coloured=coloured)  # type: ignore[arg-type]
    return works, lines


WORKS = Outcome(Verdict.WORKS, "attached")


def test_a_finding_is_a_line_and_goes_on_below(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        Row("ok", "tc", "tcx"),
        Row("no", "kprobe", LONG, LONG),
        Row("?", "xdp"),
        Row("", "a-name-of-25-characters..", "3"),
    ]
    works, lines = page(monkeypatch, WORKS, *rows)
    assert works
    at = lines.index("hooks, each tried") + 1
    assert lines[at : at + 10] == [
        "  ok  tc                  tcx",
        "  no  kprobe              a text that is longer than one line of the page can",
        "                          be, so that it goes on below the one before it",
        "                          -> a text that is longer than one line of the page can",
        "                             be, so that it goes on below the one before it",
        "  ?   xdp",
        "      a-name-of-25-characters..",
        "                          3",
        "",
        "the kernel also has",
    ]
    assert lines[-1] == "xcap can capture on this machine."


def test_colours_are_around_the_mark_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _, lines = page(monkeypatch, WORKS, Row("no", "kprobe", "not there"), coloured=True)
    assert "  \x1b[31mno \x1b[0m kprobe              not there" in lines
    assert "\x1b" not in "".join(page(monkeypatch, WORKS, Row("no", "kprobe"))[1])


def test_what_the_machine_says_cannot_steer_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    _, lines = page(monkeypatch, WORKS, Row("no", "a\x1b[2J", "b\x1b[2J", "c\x1b[2J"))
    assert "\x1b" not in "".join(lines)
    assert sum("\\x1b[2J" in line for line in lines) == 2


@pytest.mark.parametrize("verdict", [Verdict.FAILS, Verdict.NOT_TRIED])
def test_a_machine_that_cannot_capture_is_told(verdict: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    works, lines = page(monkeypatch, Outcome(verdict, "no", "do this"))
    assert not works
    assert lines[-1] == "xcap cannot capture on this machine: see above."
