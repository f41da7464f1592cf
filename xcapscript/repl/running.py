"""Commands about clauses: list, stop, pause, and what became of their hits."""

from __future__ import annotations

from xcapscript.cli.why import BESIDE, COLUMNS
from xcapscript.diagnostics import escape
from xcapscript.errors import UsageError
from xcapscript.numbers import scaled, short
from xcapscript.repl.command import Desk
from xcapscript.repl.jobs import Job
from xcapscript.runtime.maps import Counts
from xcapscript.unit import Program


def ls(desk: Desk, _argument: str) -> str:
    """Two lines a clause: its state and counts, and its text."""
    jobs = list(desk.jobs)
    if not jobs:
        return "nothing was started yet: type a clause, such as drop /icmp/"
    return "\n".join(line for job in jobs for line in _lines(desk, job))


def _lines(desk: Desk, job: Job) -> list[str]:
    told = ""
    if (sample := job.sample()) is not None:
        rate = f", {short(desk.meter.rate(job.number))}/s" if job.alive else ""
        size = "" if sample.size is None else f", {scaled(sample.size, ' ')}B"
        unseen = f", {short(sample.unseen)} not shown" if sample.unseen else ""
        total = sample.totals
        told = f": {short(total.matched)} of {short(total.hits)} hits{rate}, {short(total.lost)} lost{unseen}{size}"
    return [f"[{job.number}] {job.state}{told}", f"    {one_line(job.source.text)}"]


def one_line(text: str) -> str:
    """A program in one line, in which nothing can steer a terminal."""
    return escape(" ".join(text.split()))


def stop(desk: Desk, argument: str) -> None:
    """End clauses; each tells itself what it counted."""
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


def pause(desk: Desk, argument: str) -> str:
    """Let a clause do nothing."""
    job = _one(desk, argument, "pause")
    job.pause()
    return f"[{job.number}] {job.state}"


def resume(desk: Desk, argument: str) -> str:
    """Let it go on."""
    job = _one(desk, argument, "resume")
    job.resume()
    return f"[{job.number}] {job.state}"


def _one(desk: Desk, argument: str, command: str) -> Job:
    if not argument:
        raise UsageError(f"write .{command} N, with the number of a clause")
    return desk.jobs.find(argument)


def stats(desk: Desk, argument: str) -> str:
    """The counts of --why, for each clause that has run."""
    jobs = [desk.jobs.find(argument)] if argument else list(desk.jobs)
    lines: list[str] = []
    for job in jobs:
        if counted := job.counted():
            lines += [f"[{job.number}] {one_line(job.source.text)}", *(f"    {_told(*pair)}" for pair in counted)]
    if not lines:
        return "nothing has run yet"
    return "\n".join(lines)


def _told(program: Program, counts: Counts) -> str:
    """What became of the hits of one hook: what did not happen is left out."""
    numbers = [(title, getattr(counts, counter)) for title, counter in (*COLUMNS, *BESIDE)]
    told = ", ".join(f"{number:,} {title}" for title, number in numbers if number or title == COLUMNS[0][0])
    return f"{escape(program.hook)}: {told}"
