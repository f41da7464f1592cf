"""Settings: what holds for the clauses that are started, by the names, the rules and the checks of the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from xcapscript.cli.options import FORMATS, Options, parse_options
from xcapscript.cli.targets import check_interface, check_process
from xcapscript.cli.together import check_files
from xcapscript.diagnostics import did_you_mean, escape
from xcapscript.errors import UsageError
from xcapscript.repl.command import Desk
from xcapscript.repl.files import check_writable, in_home
from xcapscript.repl.rows import rows
from xcapscript.unit import Buffer

OFF = frozenset({"off", "none", "no", "-"})
MILLION, KIB = 1_000_000, 1 << 10
DEFAULTS = parse_options([])


def _nothing_to_check(_value: Any) -> None:
    """All that the option takes will do."""


def _size(value: int) -> str:
    """As -C takes it."""
    return f"{value // KIB}k" if value % MILLION else str(value // MILLION)


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: the option of the command line that it is, and what that is called when it has been read.

    `check` looks whether the machine has it; it may return a note. A switch is on or off, and may mean the contrary.
    """

    name: str
    flag: str
    option: str
    doc: str
    check: Callable[[Any], str | None] = _nothing_to_check
    text: Callable[[Any], str] = str
    is_switch: bool = False
    is_contrary: bool = False
    words: tuple[str, ...] = ()
    """What it can be, if that is one of a few words."""

    @property
    def choices(self) -> tuple[str, ...]:
        """Words that can be typed behind its name."""
        return ("on", "off") if self.is_switch else self.words


SETTINGS = {
    row.name: row
    for row in (
        Setting("snaplen", "-s", "snaplen", "bytes kept of each packet; 0: as many as can be"),
        Setting("interface", "-i", "interface", "only packets at interfaces of this name", check_interface),
        Setting("process", "-p", "process", "only hits while this process runs", check_process),
        Setting("count", "-c", "count", "a clause stops after so many packets dumped or printed"),
        Setting(
            "time", "--time", "time", "a clause stops after this time, such as 10s", text=lambda value: f"{value:g}s"
        ),
        Setting("last", "--last", "last", "only the last packets, so many, are written, when a clause stops"),
        Setting("file_size", "-C", "file_size", "a file of packets ends after so many million bytes", text=_size),
        Setting("file_seconds", "-G", "file_seconds", "... or after so many seconds"),
        Setting("file_count", "-W", "file_count", "so many files are kept; by seconds, a clause stops after them"),
        Setting("at_once", "-U", "at_once", "on: packets are written as they come", is_switch=True),
        Setting("output", "-o", "output", "what clauses print goes to this file, not above the prompt", check_writable),
        Setting("format", "-f", "format", "text or json: how it is printed", words=FORMATS),
        Setting("why", "--why", "why", "on: a clause that stops tells what became of every hit", is_switch=True),
        Setting("buffer", "--buffer", "buffer", "ring or perf", words=tuple(map(str, Buffer))),
        Setting("buffer_size", "--buffer-size", "buffer_size", "what lies between kernel and xcap, such as 128M"),
        Setting("names", "-n", "no_names", "off: look up no host names", is_switch=True, is_contrary=True),
        Setting("vi", "", "", "on: edit as vi does", is_switch=True),
    )
}

INSTEAD = {
    "-t": "tcpdump would write where the prompt is: print shows packets, and !tcpdump -nr FILE what .write FILE wrote",
    "--cmd": "clauses run while you type: start the command with !COMMAND",
    "--flame": "at the prompt .flame N draws the stacks of a clause, whenever you like",
    "--progress": "the line below the prompt tells how far the clauses are",
    "-q": "the prompt tells of the clauses that you start; .set output FILE keeps what they print away from it",
    "-v": ".stats tells the counts of each hook, and xcap -v of a saved script more",
    "-w": ".write FILE says where packets go",
    "-w -": "standard output is the prompt's: give -w or .write a file",
}
"""Options that mean nothing at the prompt, and what does there."""

_WORDS = {
    "tcpdump": "-t",
    "cmd": "--cmd",
    "command": "--cmd",
    "flame": "--flame",
    "progress": "--progress",
    "quiet": "-q",
    "write": "-w",
}


def unfit(options: Options) -> Iterator[str]:
    """Of the options that were given, those that are for one program alone, and what does at the prompt."""
    given = {
        "-t": options.tcpdump is not None,
        "--cmd": options.command is not None,
        "--flame": options.flame is not None,
        "--progress": options.progress,
        "-q": options.quiet,
        "-v": options.verbose,
        "-w -": options.write == "-",
    }
    return (f"{flag} is for a program that is given: {INSTEAD[flag]}" for flag, is_given in given.items() if is_given)


def check_options(options: Options) -> list[str]:
    """What is to be told of options that a prompt begins with; UsageError or KernelError if one cannot be."""
    if wrong := next(unfit(options), None):
        raise UsageError(wrong)
    if options.write is not None:
        check_packet_file(options.write, options)
    notes = (row.check(getattr(options, row.option)) for row in SETTINGS.values() if _is_set(options, row))
    return [note for note in notes if note is not None]


def check_packet_file(name: str, options: Options) -> None:
    """UsageError, with the reason, if packets cannot be written there: what is cut by time has a time in its name."""
    check_writable(time.strftime(name) if options.file_seconds else name)


def set_(desk: Desk, argument: str) -> str:
    """Show all settings, or set one."""
    name, _, value = argument.partition(" ")
    value = value.strip().removeprefix("=").strip()
    if not argument:
        return rows(map(partial(_row, desk), SETTINGS.values()), desk.around.columns())
    row = SETTINGS.get(name) or next((row for row in SETTINGS.values() if row.flag == name), None)
    if row is None:
        flag = _WORDS.get(name, name)
        hint = INSTEAD.get(flag) or " ".join(did_you_mean(name, SETTINGS)) or f"there are {' '.join(SETTINGS)}"
        raise UsageError(f"there is no setting '{name}': {hint}")
    note = _change(desk, row, value) if value else None
    return "\n".join([f"{row.name} {value_of(desk, row)}", *([escape(note)] if note else [])])


def _row(desk: Desk, row: Setting) -> tuple[str, str]:
    """A setting as it is, and what it is for, with its option, by which messages may call it."""
    return f"{row.name} {value_of(desk, row)}", f"{row.doc} ({row.flag})" if row.flag else row.doc


def _change(desk: Desk, row: Setting, value: str) -> str | None:
    """Set it; what is to be told of it."""
    if row.is_switch:
        if value not in ("on", "off"):
            raise UsageError(f"{row.name} is on or off")
        if not row.option:
            desk.vi = value == "on"
        else:
            desk.options = _with(desk.options, row, (value == "on") != row.is_contrary)
        return None
    if value in OFF:
        desk.options = _with(desk.options, row, getattr(DEFAULTS, row.option))
        return None
    value = in_home(value) if row.option == "output" else value
    found = getattr(parse_options([row.flag, value, *_needed(desk, row), "-e", ""]), row.option)
    options = _with(desk.options, row, found)
    note = row.check(found)
    desk.options = options
    return note


def _needed(desk: Desk, row: Setting) -> list[str]:
    """-W is read only beside what cuts files."""
    cut = desk.options.file_size or desk.options.file_seconds
    return ["-C", "1"] if row.option == "file_count" and cut else []


def _with(options: Options, row: Setting, value: Any) -> Options:
    """With one changed; UsageError if they do not go together then."""
    changes = {row.option: value}
    changed = replace(options, **changes)
    check_files(changed)
    return changed


def _is_set(options: Options, row: Setting) -> bool:
    return bool(row.option) and getattr(options, row.option) != getattr(DEFAULTS, row.option)


def value_of(desk: Desk, row: Setting) -> str:
    """As it is shown, and can be typed."""
    if row.is_switch:
        on = (getattr(desk.options, row.option) != row.is_contrary) if row.option else desk.vi
        return "on" if on else "off"
    found, usual = (getattr(options, row.option) for options in (desk.options, DEFAULTS))
    return "-" if found == usual and not found else row.text(found)


def as_options(options: Options) -> Iterator[str]:
    """The words of the options with which a script runs as clauses do here, but for what it says itself."""
    if options.write is not None:
        yield from ("-w", options.write)
    for row in SETTINGS.values():
        if _is_set(options, row) and row.option != "snaplen":
            yield row.flag
            if not row.is_switch:
                yield row.text(getattr(options, row.option))
