"""Commands about what is kept: files of packets, scripts, and what was typed."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from xcapscript.capture import compile_program
from xcapscript.cli.options import Options
from xcapscript.diagnostics import ScriptError, escape, render
from xcapscript.errors import UsageError
from xcapscript.repl.command import Desk, Edit
from xcapscript.repl.files import in_home
from xcapscript.repl.jobs import Job, State
from xcapscript.repl.running import one_line
from xcapscript.repl.settings import OFF, as_options, check_packet_file
from xcapscript.source import Source, read_script
from xcapscript.syntax.format import format_text

SHOWN = 20
"""Texts of the history."""


def write(desk: Desk, argument: str) -> str:
    """Set the file of packets. UsageError if it cannot be written."""
    if argument in OFF:
        desk.options = replace(desk.options, write=None)
    elif argument:
        name = in_home(argument)
        check_packet_file(name, desk.options)
        desk.options = replace(desk.options, write=name)
    if desk.options.write is None:
        return "dump makes a file of its own: xcap-TIME.pcapng"
    return f"clauses that are started write packets to {escape(desk.options.write)}, the second one to a file beside it"


def load(desk: Desk, argument: str) -> None:
    """Start a script."""
    if not argument:
        raise UsageError("write .load FILE.xcap")
    try:
        text = read_script(Path(argument).expanduser(), "utf-8-sig")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise UsageError(f"cannot read '{argument}': {why}") from None
    desk.jobs.start(Source(argument, text), desk.options)


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
    text = script_of(jobs, desk.options)
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


def script_of(jobs: list[Job], held: Options) -> str:
    """Clauses as one script that runs as it stands; settings that a script cannot have are told in a comment."""
    told = shlex.join(as_options(held))
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
