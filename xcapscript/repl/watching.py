"""Commands about maps: show, clear, watch and draw them."""

from __future__ import annotations

from collections.abc import Iterator

from xcapscript.diagnostics import did_you_mean, escape
from xcapscript.errors import UsageError
from xcapscript.repl.command import Desk
from xcapscript.repl.jobs import Job
from xcapscript.repl.maptable import map_lines
from xcapscript.sinks.aggregate import map_name
from xcapscript.sinks.flame import FlameGraph, is_drawn
from xcapscript.unit import MapSpec


def maps(desk: Desk, _argument: str) -> str:
    """A line a map."""
    found = [(job, spec) for job in desk.jobs for spec in job.maps()]
    if not found:
        return "no clause has a map"
    return "\n".join(f"[{job.number}] {map_name(spec.name)}: {_size(job, spec)}" for job, spec in found)


def _size(job: Job, spec: MapSpec) -> str:
    number = len(job.content(spec))
    return f"{spec.aggregation}, {number:,} key{'s' * (number != 1)}"


def print_map(desk: Desk, argument: str) -> str:
    """The map of that name, of each clause that has one."""
    name, _, rest = argument.partition(" ")
    if not name or (rest and not rest.strip().isdecimal()):
        raise UsageError("write .print @map, or .print @map N for its N first keys")
    return "\n".join(_tables(desk, name, int(rest) if rest else None, desk.around.columns()))


def _tables(desk: Desk, name: str, top: int | None, width: int) -> Iterator[str]:
    found = _called(desk, name)
    for job, spec in found:
        if len(found) > 1:
            yield f"[{job.number}]"
        yield from map_lines(spec, job.content(spec), job.values, width, top)


def _called(desk: Desk, name: str) -> list[tuple[Job, MapSpec]]:
    """The maps of that name: of what runs, or if nothing that has one does, of what was stopped last."""
    every = [(job, spec) for job in desk.jobs for spec in job.maps()]
    found = [(job, spec) for job, spec in every if map_name(spec.name) == map_name(name)]
    if not found:
        hint = " ".join(did_you_mean(map_name(name), [map_name(spec.name) for _, spec in every])) or "see .maps"
        raise UsageError(f"no clause has a map '{name}': {hint}")
    return [(job, spec) for job, spec in found if job.alive] or found[-1:]


def clear(desk: Desk, argument: str) -> str:
    """Remove every key."""
    if not argument:
        raise UsageError("write .clear @map")
    for job, spec in _called(desk, argument):
        job.clear(spec)
    return f"{map_name(argument)} is empty"


def watch(desk: Desk, argument: str) -> str | None:
    """Show maps below the prompt from now on, or none."""
    names = argument.split()
    for name in names:
        _called(desk, name)
    desk.watched = tuple(map(map_name, names))
    return None if names else "no map is watched"


def watched(desk: Desk, width: int, height: int) -> list[str]:
    """The lines of the maps that are watched: as many as there is room for, each cut to the width."""
    lines: list[str] = []
    for name in desk.watched:
        lines += _tables(desk, name, height, width - 1)
    if len(lines) > height:
        lines = [*lines[: max(0, height - 1)], f"... {len(lines) - height + 1} more lines: .print shows all"]
    return [line[: width - 1] for line in lines[:height]]


def flame(desk: Desk, argument: str) -> str:
    """Draw the stacks of a clause."""
    number, _, path = argument.partition(" ")
    if not number:
        raise UsageError("write .flame N, with the number of a clause that counts stacks, as count(kstack) does")
    job = desk.jobs.find(number)
    drawn = [spec for spec in job.maps() if is_drawn(spec)]
    if not drawn:
        raise UsageError(f"nothing in clause {job.number} counts by stack, as count(kstack) does")
    path = path.strip() or f"flame-{job.number}.svg"
    graph = FlameGraph(path, job.values)
    for spec in drawn:
        graph.add(spec, job.content(spec))
    graph.close()
    return f"{graph.stacks} stack{'s' * (graph.stacks != 1)} drawn in {escape(path)}"
