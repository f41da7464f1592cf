from __future__ import annotations

import gc
import json
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from xcapscript.cli.options import parse_options
from xcapscript.errors import CompilerBug, KernelError
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.repl import jobs as module
from xcapscript.repl.jobs import Jobs, State, Surroundings
from xcapscript.repl.screen import Screen
from xcapscript.repl.spare import Spare

ROOT = Path(__file__).parents[3]
KERNEL = FrozenKernel(ROOT / "tests" / "data" / "kernel" / "linux-6.18.json")


class Process:
    made = 0

    def __init__(self) -> None:
        Process.made += 1
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def jobs(sessions: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    del sessions
    monkeypatch.chdir(tmp_path)
    around = Surroundings(
        default_library({}),
        KERNEL,
        Spare(Process),  # type: ignore[arg-type]
        Screen(),
        lambda _addresses, _depth: [],
        columns=lambda: 80,
        colour=False,
        crowded=lambda: len(made.alive()) > 1,
    )
    made = Jobs(around)
    made.screen = around.screen  # type: ignore[attr-defined]
    yield made
    for job in made:
        job.stop()
        job.wait()


def settled(jobs: Jobs, text: str, **wishes: Any) -> Any:
    job = jobs.start(text, replace(parse_options([]), **wishes))
    while job.state is State.STARTING:
        job.wait(0.01)
    return job


def test_a_spare_process_is_warm_before_it_is_needed_and_used_once() -> None:
    Process.made = 0
    spare: Any = Spare(Process)  # type: ignore[arg-type]
    spare.warm()
    spare.warm()
    assert Process.made == 1
    first, second = spare.take(), spare.take()
    assert first is not second
    assert Process.made == 2
    spare.warm()
    spare.close()
    spare.warm()
    assert Process.made == 3


def test_a_job_runs_until_it_is_stopped(jobs: Any, sessions: Any) -> None:
    job = settled(jobs, "rx")
    assert job.alive
    assert sessions[0].limit is None
    job.stop()
    job.wait()
    assert (job.state, sessions[0].abandoned) == (State.STOPPED, True)
    assert job.sample().totals.matched == 5


def test_what_only_a_job_that_runs_needs_is_let_go_when_it_has_stopped(jobs: Any, sessions: Any) -> None:
    job = settled(jobs, "rx { dump; }", write="p.pcapng")
    needed = [weakref.ref(job._outputs), weakref.ref(sessions.pop())]
    assert all(one() is not None for one in needed)
    job.stop()
    job.wait()
    gc.collect()
    assert [one() for one in needed] == [None, None]
    assert job.sample().size > 0


def test_a_job_that_ends_by_itself_has_stopped(jobs: Any, sessions: Any) -> None:
    job = settled(jobs, "rx", count=3)
    assert sessions[0].limit == 3
    sessions[0].over.set()
    job.wait()
    assert job.state is State.STOPPED


def test_a_job_that_is_stopped_while_it_is_compiled_never_begins(jobs: Any, sessions: Any, monkeypatch: Any) -> None:
    compiled = module.compile_program

    def slow(*given: Any) -> Any:
        job.stop()
        return compiled(*given)

    monkeypatch.setattr(module, "compile_program", slow)
    job = module.Job(1, module.Source("[1]", "rx"), parse_options([]), jobs._around)
    job.start()
    job.wait()
    assert job.state is State.STOPPED
    assert not sessions
    assert "stopped before it began" in jobs.screen.take()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KernelError("the verifier refused it", advice="try another"), "[1] the verifier refused it\n[1] try another"),
        (CompilerBug("the generated program does not compile"), "[1] this is a bug in xcap"),
        (MemoryError(), "[1] MemoryError"),
    ],
)
def test_what_fails_is_told_and_nothing_is_left(jobs: Any, monkeypatch: Any, error: Exception, told: str) -> None:
    def fail(*_given: Any) -> None:
        raise error

    monkeypatch.setattr(module, "load", fail)
    job = settled(jobs, "rx")
    job.wait()
    assert job.state is State.FAILED
    assert told in jobs.screen.take()
    assert job.maps() == ()
    assert job.sample() is None


def test_a_file_that_cannot_be_written_ends_its_job(jobs: Any, sessions: Any) -> None:
    job = settled(jobs, 'rx { dump("/nowhere/x.pcapng"); }')
    job.wait()
    assert job.state is State.FAILED
    assert not sessions
    assert "[1] cannot write '/nowhere/x.pcapng'" in jobs.screen.take()


def test_the_files_of_a_job_that_cannot_begin_can_be_written_by_another(
    jobs: Any, sessions: Any, monkeypatch: Any
) -> None:
    def refuse(_session: Any) -> int:
        raise KernelError("it cannot be attached")

    with monkeypatch.context() as patched:
        patched.setattr(module.Session, "start", refuse)
        settled(jobs, 'rx { dump("p.pcapng"); }').wait()
    assert not sessions
    # of this one the second file cannot be opened
    settled(jobs, 'rx { dump("p.pcapng"); dump("/nowhere/x.pcapng"); }').wait()
    assert settled(jobs, 'rx { dump("p.pcapng"); }').state is State.RUNNING


def test_no_two_jobs_have_one_file(jobs: Any, tmp_path: Path) -> None:
    for _ in range(3):
        settled(jobs, "rx { dump; }", write="p.pcapng")
    assert {path.name for path in tmp_path.iterdir()} == {"p.pcapng", "p-2.pcapng", "p-3.pcapng"}


def test_maps_of_several_jobs_are_told_apart(jobs: Any) -> None:
    settled(jobs, "rx { @m[pid] = count(); }")
    second = settled(jobs, "rx { @m[pid] = count(); }")
    second.stop()
    second.wait()
    assert "[2]\n@m    count\n" in jobs.screen.take()


def test_a_job_ends_when_its_time_is_over(jobs: Any) -> None:
    job = settled(jobs, "rx", time=0.05)
    job.wait(30)
    assert job.state is State.STOPPED


def test_what_a_job_prints_goes_to_a_file_of_its_own(jobs: Any, tmp_path: Path) -> None:
    for _ in range(2):
        job = settled(jobs, "rx { @m[pid] = count(); }", output="lines.txt")
        job.stop()
        job.wait()
    assert (tmp_path / "lines.txt").read_text() == "@m[42]: 7\n"
    assert (tmp_path / "lines-2.txt").read_text() == "@m[42]: 7\n"
    assert "@m" not in jobs.screen.take()


def test_what_a_job_prints_is_json_if_that_is_wanted(jobs: Any) -> None:
    job = settled(jobs, "rx { @m[pid] = count(); }", format="json")
    job.stop()
    job.wait()
    lines = [json.loads(line) for line in jobs.screen.take().splitlines() if line.startswith("{")]
    assert [line["type"] for line in lines] == ["map", "end"]
    assert lines[0]["rows"] == [{"key": [42], "value": 7}]


def test_a_job_that_stops_tells_what_became_of_every_hit(jobs: Any) -> None:
    job = settled(jobs, "rx", why=True)
    job.stop()
    job.wait()
    screen = jobs.screen.take()
    assert "[1] rx (line 1)     9" in screen
    assert "condition said no" in screen


def test_losses_are_told_once_with_what_helps_at_the_prompt(jobs: Any, sessions: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("xcapscript.cli.losses.BETWEEN", 0)
    job = settled(jobs, "rx", buffer_size=1 << 20)
    while not sessions[0].looks:
        job.wait(0.01)
    sessions[0].lost = 3
    job.stop()
    job.wait()
    told = jobs.screen.take()
    assert "[1] lost 2 packets so far (rx): try .set buffer_size 32M, a smaller snaplen or a narrower filter" in told
    assert told.count(" so far ") == 1
