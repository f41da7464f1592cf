"""What holds for clauses that are started: set at the prompt, or by the options that it is opened with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xcapscript.cli.options import Options, parse_options
from xcapscript.errors import KernelError, UsageError
from xcapscript.repl.command import Desk
from xcapscript.repl.commands import run_command
from xcapscript.repl.settings import SETTINGS, as_options, check_options
from xcapscript.repl.toolbar import Meter
from xcapscript.unit import Buffer


class Around:
    def columns(self) -> int:
        return 80


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    nothing: Any = ()
    around: Any = Around()
    return Desk(nothing, around, parse_options([]), Meter())


def ask(desk: Desk, line: str) -> str:
    found = run_command(desk, line)
    assert isinstance(found, str)
    return found


def refused(desk: Desk, line: str) -> str:
    with pytest.raises(UsageError) as error:
        run_command(desk, line)
    return str(error.value)


# One after the other.
SET = {
    ".set snaplen 96": ("snaplen 96", "snaplen", 96),
    ".set count = 10": ("count 10", "count", 10),
    ".set buffer_size 1M": ("buffer_size 1048576", "buffer_size", 1 << 20),
    ".set buffer perf": ("buffer perf", "buffer", Buffer.PERF),
    ".set names off": ("names off", "no_names", True),
    ".set time 1m": ("time 60s", "time", 60.0),
    ".set file_size 10": ("file_size 10", "file_size", 10_000_000),
    ".set file_size 3m": ("file_size 3072k", "file_size", 3 << 20),
    ".set file_count 5": ("file_count 5", "file_count", 5),
    ".set -G 60": ("file_seconds 60", "file_seconds", 60),
    ".set at_once on": ("at_once on", "at_once", True),
    ".set output lines.txt": ("output lines.txt", "output", "lines.txt"),
    ".set format json": ("format json", "format", "json"),
    ".set --why on": ("why on", "why", True),
    ".set snaplen 0": ("snaplen 0", "snaplen", 0),
}


def test_settings_are_options_of_the_command_line(desk: Desk) -> None:
    for line, (told, name, value) in SET.items():
        assert ask(desk, line) == told
        assert getattr(desk.options, name) == value
    assert ask(desk, ".set vi on") == "vi on"
    assert desk.vi
    every = ask(desk, ".set")
    assert all(row in every for row in ("count 10 ", "time 60s ", "file_size 3072k ", "format json "))


def test_a_setting_that_is_off_is_as_if_it_had_never_been_set(desk: Desk) -> None:
    every = ask(desk, ".set")
    for line in SET:
        ask(desk, line)
    for name in reversed(SETTINGS):
        usual = {"names": "on", "format": "text"}.get(name, "off")
        ask(desk, f".set {name} {usual}")
    assert ask(desk, ".set") == every
    assert desk.options == parse_options([])


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([".set file_count 5"], "-W belongs to -C or -G"),
        ([".set file_size 1", ".set file_count 5", ".set file_size off"], "-W belongs to -C or -G"),
        ([".set last 10", ".set file_seconds 3"], "--last and -G do not go together"),
        ([".set output /nowhere/x"], "cannot write '/nowhere/x': No such file or directory"),
        ([".set format xml"], "argument -f: invalid choice: 'xml'"),
        ([".set -t -nn"], "there is no setting '-t': tcpdump would write where the prompt is"),
        ([".set cmd ping"], "there is no setting 'cmd': clauses run while you type"),
        ([".set write x"], "there is no setting 'write': .write FILE says where packets go"),
        ([".set progress on"], "there is no setting 'progress': the line below the prompt"),
        ([".set why maybe"], "why is on or off"),
    ],
)
def test_what_does_not_go_together_is_refused_and_changes_nothing(desk: Desk, lines: list[str], why: str) -> None:
    for line in lines[:-1]:
        ask(desk, line)
    before = desk.options
    assert refused(desk, lines[-1]).startswith(why)
    assert desk.options == before


@pytest.mark.parametrize(
    ("arguments", "instead"),
    [
        (["-t", "-nn"], "print shows packets"),
        (["--cmd", "ping"], "!COMMAND"),
        (["--flame", "x.svg"], ".flame N"),
        (["--progress"], "below the prompt"),
        (["-q"], ".set output"),
        (["-v"], ".stats"),
        (["-w", "-"], ".write"),
    ],
)
def test_an_option_that_is_for_one_program_is_refused_with_what_does_at_the_prompt(
    arguments: list[str], instead: str
) -> None:
    with pytest.raises(UsageError, match=" is for a program that is given: ") as error:
        check_options(parse_options(arguments))
    assert instead in str(error.value)


def test_options_are_looked_at_before_the_prompt_opens(tmp_path: Path) -> None:
    assert check_options(parse_options(["-i", "lo", "-G", "60", "-w", f"{tmp_path}/%H.pcapng"])) == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="cannot write '/nowhere/x': No such file"):
        check_options(parse_options(["-w", "/nowhere/x"]))
    with pytest.raises(KernelError, match="no interface is called 'nosuch0'"):
        check_options(parse_options(["-i", "nosuch0"]))


def test_what_holds_is_told_as_options_that_mean_the_same() -> None:
    given = [
        "-w",
        "p.pcapng",
        "-i",
        "lo",
        "-p",
        "1",
        "-c",
        "3",
        "--time",
        "90s",
        "-C",
        "10",
        "-W",
        "2",
        "-U",
        "-o",
        "l.txt",
        "-f",
        "json",
        "--why",
        "-n",
    ]
    words = list(as_options(parse_options(given)))
    assert sorted(words) == sorted(given)
    assert parse_options(words) == parse_options(given)
    assert list(as_options(parse_options(["-s", "96"]))) == []
    assert isinstance(parse_options(words), Options)
