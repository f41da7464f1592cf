"""Commands about what is kept: files of packets, scripts, and what was typed."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from xcapscript.capture import compile_program
from xcapscript.cli.options import Options, parse_options, wishes
from xcapscript.cli.together import check_words
from xcapscript.diagnostics import ScriptError, escape, render
from xcapscript.errors import UsageError
from xcapscript.repl.command import Desk, Edit
from xcapscript.repl.files import in_home
from xcapscript.repl.jobs import Job, State
from xcapscript.repl.running import one_line
from xcapscript.repl.settings import DEFAULTS, OFF, as_options, check_packet_file
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
    """Start a script, with the words behind it as its parameters."""
    name, words = _script_and_words(argument)
    try:
        text = read_script(in_home(name), "utf-8-sig")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise UsageError(f"cannot read '{name}': {why}") from None
    given = parse_options([name, *words])
    if replace(given, files=(), arguments=(), named={}, prompts=True) != DEFAULTS:
        raise UsageError("behind a script stand its parameters, as in .load f.xcap 80 --name=VALUE: .set sets options")
    check_words(text, given.arguments)
    desk.jobs.start(Source(name, text), replace(desk.options, arguments=given.arguments, named=given.named))


def _script_and_words(argument: str) -> tuple[str, list[str]]:
    """The file's name, which may have blanks if it stands alone or in quotes, and what stands behind it."""
    if Path(in_home(argument)).is_file():
        return argument, []
    try:
        words = shlex.split(argument)
    except ValueError as error:
        raise UsageError(f"{error}: {argument}") from None
    if not words:
        raise UsageError("write .load FILE.xcap, and its parameters behind it")
    return words[0], words[1:]


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
    held = replace(desk.options, **_parameters(jobs))
    text = script_of(jobs, held, path)
    source = Source(path, text)
    try:
        compile_program(source, desk.around.library, desk.around.kernel, wishes(held), lambda _seconds: None)
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


def _parameters(jobs: list[Job]) -> dict[str, Any]:
    """What the scripts were loaded with. UsageError if $1 would have to be two things."""
    every = {job.options.arguments for job in jobs} - {()}
    if len(every) > 1:
        raise UsageError("these clauses have other values in $1: save each by its number")
    named = {name: value for job in jobs for name, value in job.options.named.items()}
    return {"arguments": next(iter(every), ()), "named": named}


def script_of(jobs: list[Job], held: Options, path: str) -> str:
    """Clauses as one script; settings that a script cannot have, and its parameters, are told in a comment."""
    words = [*held.arguments, *(f"--{name}={value}" for name, value in held.named.items())]
    told = shlex.join([*as_options(held), *([path, *words] if words else [])])
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
