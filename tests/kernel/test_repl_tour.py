"""docs/repl.md, typed line by line at a terminal: all that the page shows has to be seen."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminal import Shell

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux: a terminal to type at"),
]

PAGE = Path(__file__).parents[2] / "docs" / "repl.md"
TYPED = re.compile(r"(?:#|xcap>|\.\.\.\.>) ?(.*)")
KEY = re.compile(r"<(Tab|Enter|Ctrl-C)>")
TMUX_KEYS = {"Tab": "Tab", "Enter": "Enter", "Ctrl-C": "C-c"}


def steps() -> Iterator[tuple[str, list[str]]]:
    """What is typed, and what the page shows of what comes then."""
    step: tuple[str, list[str]] | None = None
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("    "):
            continue
        text = line[4:]
        if TYPED.match(text) or KEY.fullmatch(text):
            if step is not None:
                yield step
            step = text, []
        else:
            assert step is not None, text
            step[1].append(text)
    assert step is not None
    yield step


def pattern(line: str) -> re.Pattern[str]:
    """A line of the page as what is to be seen: numbers and blanks may be others."""
    parts = (re.escape(part) for part in re.split(r"(?:0x[0-9a-f]+|\d+|\s+)", line.strip()))
    joints = re.findall(r"(?:0x[0-9a-f]+|\d+|\s+)", line.strip())
    found = next(parts)
    for joint, part in zip(joints, parts, strict=True):
        found += (r"\s+" if joint.isspace() else r"(?:0x[0-9a-f]+|[\d,.]+k?)") + part
    return re.compile(found)


def test_the_tour(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    try:
        for typed, expected in steps():
            shell.clear()
            do(shell, typed)
            for line in expected:
                shell.until(lambda line=line: pattern(line).search(shell.screen()) is not None)  # type: ignore[misc]
            if typed.startswith("xcap> drop /udp port 9/ { dump; }"):
                shell.until(lambda: (tmp_path / "drops.pcapng").stat().st_size > 500)
    finally:
        shell.close()
    assert (tmp_path / "stacks.svg").exists()


def do(shell: Shell, typed: str) -> None:
    """Type a line with its keys, and Enter behind it."""
    if match := KEY.fullmatch(typed):
        shell.keys(TMUX_KEYS[match[1]])
        return
    match = TYPED.fullmatch(typed)
    assert match is not None
    # the prompt has indented what goes on by itself
    text = match[1].strip() if typed.startswith("....>") else match[1]
    parts = KEY.split(text)
    for index, part in enumerate(parts):
        if index % 2:
            shell.complete(parts[index - 1])
        else:
            shell.type(part)
            shell.settle(part)
    shell.keys("Enter")
