"""The pages agree with the code: generated tables are fresh, and every program that is shown compiles."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from xcapscript.cli.explanations import EXPLANATIONS, Explanation
from xcapscript.cli.main import run_command
from xcapscript.codegen.generate import Options
from xcapscript.compiler import compile_script
from xcapscript.diagnostics import Code, ScriptError
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.sema.analyse import Settings
from xcapscript.sema.filter import Parameters
from xcapscript.sema.hooks import programs as user_programs
from xcapscript.source import Source

ROOT = Path(__file__).resolve().parents[2]
KERNEL = FrozenKernel(ROOT / "tests/data/kernel/linux-6.18.json")
OLDER = FrozenKernel(ROOT / "tests/data/kernel/linux-6.1.json")
"""It has kprobes, which the other one was built without."""

AT_FUNCTIONS = re.compile(r"\b(kprobe|kretprobe|fentry|fexit):")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.remove(ROOT / "docs/one-liners.md")  # tests/kernel runs them; some are there to be refused
PROGRAM = re.compile(r"^```xcap\n(.*?)^```|\bxcap -e '([^']*)'", re.MULTILINE | re.DOTALL)


def programs() -> list[object]:
    return [
        pytest.param(match[1] or match[2], id=f"{page.stem}-{number}")
        for page in PAGES
        for number, match in enumerate(PROGRAM.finditer(page.read_text(encoding="utf-8")))
    ]


def test_language_tables_are_fresh() -> None:
    command = [sys.executable, str(ROOT / "docs/make-language-tables"), "--check"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_errors_are_fresh() -> None:
    command = [sys.executable, str(ROOT / "docs/make-errors"), "--check"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_what_contributors_are_told_of_is_there() -> None:
    """The files that are named, and the names in them; those in capitals at the end stand for new ones."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    words = {word for word in re.findall(r"`([\w./]+)`", text) if not re.search(r"KIND|NAME", word)}
    files = {word for word in words if re.search(r"\.(py|h)$", word)}
    assert files
    paths = [
        f"/{path.relative_to(ROOT)}" for room in ("xcapscript", "bpf", "tests") for path in (ROOT / room).rglob("*.*")
    ]
    for file in files:
        assert any(path.endswith(f"/{file}") for path in paths), file
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "xcapscript").rglob("*.py"))
    for name in words - files:
        last = name.rpartition(".")[2]
        assert "/" in name or re.search(rf"\b{last}\b", sources), name


def test_every_kind_of_mistake_is_explained() -> None:
    assert list(EXPLANATIONS) == list(Code)
    assert all(row.code is code for code, row in EXPLANATIONS.items())


@pytest.mark.parametrize(
    "row", [row for row in EXPLANATIONS.values() if row.code is not Code.COMPILE], ids=lambda row: str(row.code)
)
def test_an_example_has_its_mistake_and_no_other(row: Explanation) -> None:
    with pytest.raises(ScriptError) as caught:
        compile_script(Source("page", row.wrong), default_library(), KERNEL, Settings(), Options())
    assert {diagnostic.code for diagnostic in caught.value.diagnostics} == {row.code}


@pytest.mark.parametrize("row", list(EXPLANATIONS.values()), ids=lambda row: str(row.code))
def test_a_cured_example_has_none(row: Explanation) -> None:
    compile_script(Source("page", row.right), default_library(), KERNEL, Settings(), Options())


def test_the_command_explains_a_kind_of_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--explain", "map-clash"], io.StringIO()) == 0
    row = EXPLANATIONS[Code.MAP_CLASH]
    shown = capsys.readouterr().out
    assert " ".join(shown.split()).startswith(f"map-clash: {row.meaning}")
    assert row.cure in " ".join(shown.split())
    assert all(line in shown for line in (*row.wrong.splitlines(), *row.right.splitlines()))


def test_a_kind_of_mistake_that_is_none_is_refused() -> None:
    errors = io.StringIO()
    assert run_command(["--explain", "map-clahs"], errors) == 2
    assert "did you mean 'map-clash'?" in errors.getvalue()


@pytest.mark.parametrize("program", programs())
def test_program_compiles(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # the programs of the pages are on no machine: one with functions of these names stands for each
    monkeypatch.setattr(user_programs, "find_file", lambda _: ROOT / "tests/data/programs/tiny")
    source, settings = Source("page", program), Settings(Parameters(("10.0.0.2", "80")))
    kernel = OLDER if AT_FUNCTIONS.search(program) else KERNEL
    compile_script(source, default_library(), kernel, settings, Options())
