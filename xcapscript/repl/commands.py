"""What is typed with a '.' before it: commands to the prompt itself, each a row of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from xcapscript.capture import Wishes
from xcapscript.diagnostics import did_you_mean
from xcapscript.errors import UsageError
from xcapscript.numbers import scaled, short
from xcapscript.repl.jobs import Job, Jobs, Surroundings
from xcapscript.repl.maptable import map_lines
from xcapscript.repl.toolbar import Meter
from xcapscript.unit import MapSpec


class Takes(Enum):
    """What stands behind a command."""

    NOTHING = auto()
    JOB = auto()
    JOBS = auto()
    MAP = auto()
    TOPIC = auto()


class Leave(Exception):
    """The prompt is to end."""


@dataclass(slots=True)
class Desk:
    """What commands work with."""

    jobs: Jobs
    around: Surroundings
    wishes: Wishes
    meter: Meter


Does = Callable[[Desk, str], str | None]
"""Does it, and gives what is to be shown. UsageError if what stands behind the command is wrong."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command: how it is written, what it takes, what it is good for."""

    name: str
    usage: str
    takes: Takes
    doc: str
    does: Does


def run_command(desk: Desk, line: str) -> str | None:
    """Do what a line says. UsageError if there is no such command, or it cannot be done so."""
    word, _, argument = line.strip().partition(" ")
    command = COMMANDS.get(word.removeprefix("."))
    if command is None:
        hint = " ".join(did_you_mean(word, [f".{name}" for name in COMMANDS])) or "see .help"
        raise UsageError(f"there is no command '{word}': {hint}")
    argument = argument.strip()
    if argument and command.takes is Takes.NOTHING:
        raise UsageError(f"{word} takes nothing behind it")
    return command.does(desk, argument)


def _ls(desk: Desk, _argument: str) -> str:
    jobs = list(desk.jobs)
    if not jobs:
        return "nothing was started yet: type a clause, such as drop /icmp/"
    return "\n".join(line for job in jobs for line in _job_lines(desk, job))


def _job_lines(desk: Desk, job: Job) -> list[str]:
    sample = job.sample()
    told = ""
    if sample is not None:
        rate = f", {short(desk.meter.rate(job.number))}/s" if job.alive else ""
        size = "" if sample.size is None else f", {scaled(sample.size, ' ')}B"
        unseen = f", {short(sample.unseen)} not shown" if sample.unseen else ""
        total = sample.totals
        told = f": {short(total.matched)} of {short(total.hits)}{rate}, {short(total.lost)} lost{unseen}{size}"
    text = " ".join(job.source.text.split())
    return [f"[{job.number}] {job.state}{told}", f"    {text}"]


def _stop(desk: Desk, argument: str) -> None:
    if not argument:
        raise UsageError("write .stop N, or .stop all")
    jobs = desk.jobs.alive() if argument == "all" else [desk.jobs.find(word) for word in argument.split()]
    for job in jobs:
        if not job.alive:
            raise UsageError(f"clause {job.number} is {job.state}")
    for job in jobs:
        job.stop()
    for job in jobs:
        job.wait()


def _maps(desk: Desk, _argument: str) -> str:
    found = [(job, spec) for job in desk.jobs for spec in job.maps()]
    if not found:
        return "no clause has a map"
    lines = []
    for job, spec in found:
        number = len(job.content(spec))
        lines.append(f"[{job.number}] {spec.name}: {spec.aggregation}, {number} key{'s' * (number != 1)}")
    return "\n".join(lines)


def _print(desk: Desk, argument: str) -> str:
    name, _, rest = argument.partition(" ")
    if not name or (rest and not rest.strip().isdecimal()):
        raise UsageError("write .print @map, or .print @map N for its N first keys")
    top = int(rest) if rest else None
    found = maps_called(desk, name)
    width = desk.around.columns()
    several = len(found) > 1
    lines = []
    for job, spec in found:
        lines += [f"[{job.number}]"] if several else []
        lines += map_lines(spec, job.content(spec), job.values, width, top)
    return "\n".join(lines)


def maps_called(desk: Desk, name: str) -> list[tuple[Job, MapSpec]]:
    """The maps of that name: of what runs, or if nothing that has one does, of what was stopped last."""
    every = [(job, spec) for job in desk.jobs for spec in job.maps()]
    found = [(job, spec) for job, spec in every if spec.name in (name, f"@{name}")]
    if not found:
        hint = " ".join(did_you_mean(name, [spec.name for _, spec in every])) or "see .maps"
        raise UsageError(f"no clause has a map '{name}': {hint}")
    return [(job, spec) for job, spec in found if job.alive] or found[-1:]


def _help(_desk: Desk, _argument: str) -> str:
    width = max(len(command.usage) for command in COMMANDS.values())
    return "\n".join(f".{command.usage:<{width}}  {command.doc}" for command in COMMANDS.values())


def _quit(_desk: Desk, _argument: str) -> None:
    raise Leave


COMMANDS = {
    command.name: command
    for command in (
        Command("ls", "ls", Takes.NOTHING, "what runs and ran, with rates and losses", _ls),
        Command("stop", "stop N|all", Takes.JOBS, "end a clause: its maps are shown, its files closed", _stop),
        Command("maps", "maps", Takes.NOTHING, "the maps of all clauses", _maps),
        Command("print", "print @map [n]", Takes.MAP, "a map, largest first", _print),
        Command("help", "help [topic]", Takes.TOPIC, "this, or more about something", _help),
        Command("quit", "quit", Takes.NOTHING, "stop all, and leave; as Ctrl-D", _quit),
    )
}
