"""Commands about what is kept: settings, files of packets, scripts, and what was typed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xcapscript.capture import Wishes, compile_program
from xcapscript.cli.options import parse_options, wishes
from xcapscript.cli.targets import check_interface, check_process
from xcapscript.diagnostics import ScriptError, did_you_mean, escape, render
from xcapscript.errors import UsageError
from xcapscript.repl.command import Desk, Edit
from xcapscript.repl.jobs import Job, State
from xcapscript.repl.rows import rows
from xcapscript.repl.running import one_line
from xcapscript.source import Source, read_script
from xcapscript.syntax.format import format_text

OFF = frozenset({"off", "none", "no", "-"})
SHOWN = 20
"""Texts of the history."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: the option of the command line that it is, and where it is kept."""

    name: str
    flag: str
    wish: str
    doc: str
    check: Callable[[Any], str | None] = lambda _value: None


SETTINGS = {
    row.name: row
    for row in (
        Setting("snaplen", "-s", "snaplen", "bytes kept of each packet; 0: as many as can be"),
        Setting("interface", "-i", "interface", "only packets at interfaces of this name", check_interface),
        Setting("process", "-p", "process", "only hits while this process runs", check_process),
        Setting("count", "-c", "count", "a clause stops after so many packets dumped or printed"),
        Setting("buffer", "--buffer", "buffer", "ring or perf"),
        Setting("buffer_size", "--buffer-size", "buffer_size", "what lies between kernel and xcap, such as 128M"),
        Setting("names", "-n", "no_names", "off: look up no host names in expressions"),
        Setting("vi", "", "", "on: edit as vi does"),
    )
}


def set_(desk: Desk, argument: str) -> str:
    """Show all settings, or set one."""
    name, _, value = argument.partition(" ")
    value = value.strip().removeprefix("=").strip()
    if not argument:
        shown = [(f"{row.name} {_value(desk, row)}", row.doc) for row in SETTINGS.values()]
        return rows(shown, desk.around.columns())
    row = SETTINGS.get(name)
    if row is None:
        hint = " ".join(did_you_mean(name, SETTINGS)) or f"there are {' '.join(SETTINGS)}"
        raise UsageError(f"there is no setting '{name}': {hint}")
    note = _change(desk, row, value) if value else None
    return "\n".join([f"{row.name} {_value(desk, row)}", *([escape(note)] if note else [])])


def _change(desk: Desk, row: Setting, value: str) -> str | None:
    if row.name in ("vi", "names"):
        if value not in ("on", "off"):
            raise UsageError(f"{row.name} is on or off")
        if row.name == "vi":
            desk.vi = value == "on"
        else:
            desk.wishes = replace(desk.wishes, no_names=value == "off")
        return None
    if value in OFF:
        _keep(desk, row, None)
        return None
    found = getattr(wishes(parse_options([row.flag, value, "-e", ""])), row.wish)
    note = row.check(found)
    _keep(desk, row, found)
    return note


def _keep(desk: Desk, row: Setting, value: Any) -> None:
    changes = {row.wish: value}
    desk.wishes = replace(desk.wishes, **changes)


def _value(desk: Desk, row: Setting) -> str:
    if row.name == "vi":
        return "on" if desk.vi else "off"
    if row.name == "names":
        return "off" if desk.wishes.no_names else "on"
    found = getattr(desk.wishes, row.wish)
    return "-" if found is None else str(found)


def write(desk: Desk, argument: str) -> str:
    """Set the file of packets."""
    if argument:
        desk.wishes = replace(desk.wishes, write=None if argument in OFF else argument)
    if desk.wishes.write is None:
        return "dump makes a file of its own: xcap-TIME.pcapng"
    return f"clauses that are started write packets to {escape(desk.wishes.write)}, the second one to a file beside it"


def load(desk: Desk, argument: str) -> None:
    """Start a script."""
    if not argument:
        raise UsageError("write .load FILE.xcap")
    try:
        text = read_script(Path(argument).expanduser(), "utf-8-sig")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise UsageError(f"cannot read '{argument}': {why}") from None
    desk.jobs.start(Source(argument, text), desk.wishes)


def edit(desk: Desk, argument: str) -> Edit:
    """A clause, or what was typed last."""
    if argument:
        return Edit(desk.jobs.find(argument).source.text)
    return Edit(desk.typed[-1] if desk.typed else "")


def save(desk: Desk, argument: str) -> str:
    """Write a script of the clauses that run, or if none does, of those that ran."""
    path, *numbers = argument.split() or [""]
    if not path:
        raise UsageError("write .save FILE.xcap, or .save FILE.xcap 1 3 for some clauses")
    ran = [job for job in desk.jobs if job.state is State.STOPPED]
    jobs = [desk.jobs.find(number) for number in numbers] or desk.jobs.alive() or ran
    if not jobs:
        raise UsageError("nothing that could be saved has run yet")
    text = script_of(jobs, desk.wishes)
    source = Source(path, text)
    try:
        compile_program(source, desk.around.library, desk.around.kernel, desk.wishes, lambda _seconds: None)
    except ScriptError as error:
        why = render(error.diagnostics[0])
        raise UsageError(
            f"these clauses do not go together in one script: save some of them by number\n{why}"
        ) from None
    target = Path(path).expanduser()
    try:
        target.write_text(text, encoding="utf-8")
        target.chmod(target.stat().st_mode | 0o111)
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror}") from None
    number = len(jobs)
    return f"{number} clause{'s' * (number != 1)} saved: run {'it' if number == 1 else 'them'} with xcap {escape(path)}"


def script_of(jobs: list[Job], held: Wishes) -> str:
    """Clauses as one script that runs as it stands; settings that a script cannot have are told in a comment."""
    options = [f"-w {held.write}" if held.write else "", f"-i {held.interface}" if held.interface else ""]
    options += [f"-p {held.process}" if held.process else "", f"-c {held.count}" if held.count else ""]
    told = " ".join(filter(None, options))
    head = "#!/usr/bin/env xcap\n"
    head += f"// run with: xcap {one_line(told)}\n" if told else ""
    head += f"option snaplen = {held.snaplen};\n" if held.snaplen is not None else ""
    parts = []
    for job in jobs:
        text = job.source.text.strip()
        text = text.partition("\n")[2] if text.startswith("#!") else text
        parts.append(text if text.endswith(("}", ";")) else f"{text};")
    return format_text(Source("saved", "\n\n".join([head, *parts]) + "\n"))


def history(desk: Desk, argument: str) -> str:
    """The last texts that have `argument` in them."""
    found = [text for text in desk.typed if argument in text][-SHOWN:]
    return "\n".join(map(one_line, found)) or "nothing that was typed has that in it"
