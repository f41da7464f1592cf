from __future__ import annotations

import asyncio
import gc
import sys

import pytest
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from xcapscript.diagnostics import Code, Diagnostic
from xcapscript.repl.prompt import Footer, Prompt, _indent, _lines, _told
from xcapscript.repl.reading import WHOLE
from xcapscript.source import Source


class _Sheet(DummyOutput):
    """A terminal of which nothing is kept."""

    def __init__(self, columns: int) -> None:
        self._columns = columns

    def get_size(self) -> Size:
        return Size(rows=40, columns=self._columns)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", 1),
        ("x" * 39, 1),
        ("x" * 41, 2),
        ("x" * 81, 3),
        ("\x1b[31m" + "x" * 39 + "\x1b[0m", 1),
        ("\u6f22" * 20, 2),
        ("\t" * 5, 2),
    ],
)
def test_a_line_takes_so_many_of_the_terminal_or_one_less(text: str, lines: int) -> None:
    assert _lines(text, 40) == lines


def test_a_new_line_is_indented_as_the_one_before_and_deeper_in_a_block() -> None:
    assert _indent("rx {") == "    "
    assert _indent("rx {\n    if pid == 1 {") == "        "
    assert _indent("rx {\n    dump;") == "    "
    assert _indent("") == ""


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_mistake_is_told_with_its_hints_within_the_width(width: int) -> None:
    span = Source("prompt", "rx { dupm; }").span(5, 9)
    trouble = Diagnostic(Code.UNKNOWN_NAME, "unknown action 'dupm'", span, ("did you mean 'dump'?", "see the list"))
    lines = _told(trouble, width)
    assert " ".join(lines) == "unknown action 'dupm' (did you mean 'dump'?) (see the list)"
    assert max(map(len, lines)) < width


def test_what_a_mistake_quotes_cannot_steer_the_terminal() -> None:
    span = Source("prompt", "\x1b[2J").span(0, 4)
    assert "\x1b" not in "".join(_told(Diagnostic(Code.SYNTAX, "'\x1b[2J' was not expected", span), 80))


@pytest.mark.parametrize("columns", [40, 120])
def test_what_is_drawn_again_and_again_is_not_kept(columns: int) -> None:
    draws, drawn = 0, asyncio.Event()

    def footer(width: int, _height: int) -> Footer:
        nonlocal draws
        draws += 1
        drawn.set()
        return Footer((f"@count {draws}", f"漢字 {draws}"), f"{draws} lost"[: width - 1], warns=False)

    def draw(prompt: Prompt, times: int) -> int:
        for _ in range(times):
            prompt.write(f"[1] {draws} packets\n")
            prompt._session.app._redraw()
        gc.collect()
        return sys.getallocatedblocks()

    async def play(source: PipeInput) -> int:
        prompt = Prompt(lambda _: WHOLE, footer, pytest.fail, source=source, output=_Sheet(columns))
        asked = asyncio.create_task(prompt.ask())
        await drawn.wait()
        before, after = draw(prompt, 200), draw(prompt, 500)
        source.send_text("\n")
        await asked
        return after - before

    with create_pipe_input() as source:
        assert asyncio.run(play(source)) < 100
    assert draws >= 700
