"""A prompt that a test types into, on a frozen kernel. What a clause would do in the kernel is made up here."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from typing import Any

import pytest
from prompt_toolkit.application import get_app_or_none
from prompt_toolkit.data_structures import Size
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from xcapscript.cli.options import parse_options
from xcapscript.errors import KernelError
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.repl import jobs, start
from xcapscript.repl.spare import Spare
from xcapscript.runtime.maps import Counts
from xcapscript.session import Report

ROOT = Path(__file__).parents[3]
KERNEL = FrozenKernel(ROOT / "tests" / "data" / "kernel" / "linux-6.18.json")
LIBRARY = default_library({})
PATIENCE = 30


class Paper(DummyOutput):
    """A terminal of which what was written above the prompt is kept."""

    def __init__(self, columns: int = 80, rows: int = 100) -> None:
        self.text = ""
        self.size = Size(rows=rows, columns=columns)

    def write_raw(self, data: str) -> None:
        self.text += data

    def get_size(self) -> Size:
        return self.size


@dataclass
class Typist:
    """Types, and waits for what is to be seen."""

    source: PipeInput
    paper: Paper
    _seen: int = 0

    async def type(self, keys: str, *expected: str) -> str:
        """Type keys, and wait until all that is expected has been written since; what was written."""
        before = len(self.paper.text)
        self.source.send_text(keys)
        await self.until(lambda: all(text in self.paper.text[before:] for text in expected))
        return self.paper.text[before:]

    @staticmethod
    def line() -> str:
        """What stands in the line."""
        app = get_app_or_none()
        return app.current_buffer.text if app is not None else ""

    async def until(self, holds: Callable[[], bool]) -> None:
        deadline = monotonic() + PATIENCE
        while not holds():
            assert monotonic() < deadline, self.paper.text
            await asyncio.sleep(0.01)


@dataclass
class FakeSession:
    """What a session does, without a kernel. Maps have one key, 42, with 7 at it."""

    unit: Any
    loaded: Any
    outputs: Any
    limit: int | None
    paused: bool = False
    abandoned: bool = False
    over: Event = field(default_factory=Event)
    matched: int = 5
    lost: int = 2
    looks: int = 0
    rows: int = 1

    def start(self) -> int:
        FakeSession.made.append(self)
        return len(self.unit.programs)

    def run(self, keep_on: Callable[[], bool]) -> None:
        while keep_on() and not self.over.is_set():
            sleep(0.005)

    def finish(self) -> Report:
        for spec in self.unit.maps:
            self.outputs.print_map(spec, self.content(spec), 0, None)
        self.outputs.close({}, {})
        return Report(0, self.counts(), {}, None)

    def counts(self) -> tuple[Counts, ...]:
        self.looks += 1
        return tuple(Counts(9, 1, 0, 3, 0, 0, 0, self.matched, self.lost) for _ in self.unit.programs)

    def full(self) -> dict[str, int]:
        return {}

    def content(self, spec: Any) -> dict[bytes, Any]:
        return {(42 + n).to_bytes(spec.key.size, sys.byteorder): 7 + n for n in range(self.rows)}

    def clear(self, _spec: Any) -> None:
        self.rows = 0

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def abandon(self) -> None:
        self.abandoned = True

    made: Any = None


FakeSession.made = []


class Nothing:
    """A process, or what it loaded: neither is there."""

    def close(self) -> None:
        pass


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[FakeSession]:
    """The sessions that were begun."""
    FakeSession.made = []
    monkeypatch.setattr(jobs, "Session", FakeSession)
    monkeypatch.setattr(jobs, "load", lambda _unit, _process: Nothing())
    for module in (jobs, start):
        monkeypatch.setattr(module, "require_rights", lambda _: None)
    return FakeSession.made


@pytest.fixture
def unprivileged(sessions: list[FakeSession], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise KernelError("capturing needs root", advice="run it with sudo")

    for module in (jobs, start):
        monkeypatch.setattr(module, "require_rights", refuse)
    assert not sessions


Play = Callable[[Typist], Awaitable[None]]
Run = Callable[..., Paper]


@pytest.fixture
def run(sessions: list[FakeSession], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Opens a prompt, has it played with, and waits until it is left; gives what was written."""
    del sessions
    monkeypatch.chdir(tmp_path)

    def run_one(play: Play, *, columns: int = 80, rows: int = 100, history: History | None = None) -> Paper:
        paper = Paper(columns, rows)

        async def both(source: PipeInput) -> None:
            given = KERNEL, LIBRARY, parse_options([]), Spare(Nothing), history or InMemoryHistory()  # type: ignore[arg-type]
            opened = asyncio.create_task(start.run_prompt(*given, source=source, output=paper))
            played = asyncio.create_task(play(Typist(source, paper)))  # type: ignore[arg-type]
            await asyncio.wait({opened, played}, return_when=asyncio.FIRST_EXCEPTION, timeout=PATIENCE)
            if played.done():
                played.result()
            assert opened.done(), paper.text
            opened.result()
            await played

        with create_pipe_input() as source:
            asyncio.run(both(source))
        return paper

    return run_one
