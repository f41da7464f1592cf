"""Every script that comes with the project is right, for anybody who checks it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.stdlib import OF_PROGRAMS
from xcapscript.cli import main as command
from xcapscript.elf.search import find_file
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.source import Source
from xcapscript.syntax import ast
from xcapscript.syntax.parse import parse

ROOT = Path(__file__).parents[2]
KERNEL = FrozenKernel(ROOT / "tests" / "data" / "kernel" / "linux-6.18.json")
EXAMPLES = sorted((ROOT / "examples").glob("**/*.xcap"))
STDLIB = sorted((ROOT / "stdlib").glob("**/*.xcap"))
TOLD = [path for path in EXAMPLES if path.stem in OF_PROGRAMS]
"""They must be told a program and its function."""

ABSENT = [path for path in STDLIB if path.stem in OF_PROGRAMS and find_file("librte_ethdev") is None]
"""Their hooks are in libraries that are not here."""

TINY = ROOT / "tests" / "data" / "programs" / "tiny"
NOBODY = 65534


def named(paths: list[Path]) -> list[Any]:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


def test_there_are_scripts() -> None:
    assert EXAMPLES
    assert STDLIB


@pytest.mark.parametrize("path", named([*EXAMPLES, *STDLIB]))
def test_a_script_is_right(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path in ABSENT:
        pytest.skip("needs DPDK")
    monkeypatch.setattr(command, "LiveKernel", lambda: KERNEL)
    errors = io.StringIO()
    where = [f"--program={TINY}", f"--function={OF_PROGRAMS[path.stem]}"] if path in TOLD else []
    assert command.run_command(["--check", str(path), *where], errors) == command.OK, errors.getvalue()


@pytest.mark.parametrize("path", named(STDLIB))
def test_a_library_defines_the_hook_of_its_name(path: Path) -> None:
    script = parse(Source(str(path), path.read_text()))
    assert path.stem in [item.name.name for item in script.items if isinstance(item, ast.HookAlias)]


@pytest.mark.parametrize("path", named(STDLIB))
def test_a_library_begins_by_saying_what_it_is(path: Path) -> None:
    assert path.read_text().startswith(f"// {path.stem}: ")


@pytest.mark.parametrize("path", named(EXAMPLES))
def test_an_example_can_be_run_by_its_name(path: Path) -> None:
    assert path.read_text().startswith("#!/usr/bin/env xcap\n")
    assert path.stat().st_mode & 0o111 == 0o111


def as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this Python without privilege: as nobody if we are root, else as who we are."""
    user: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"}
    line = [sys.executable, "-B", *arguments]
    return subprocess.run(line, check=False, capture_output=True, text=True, cwd="/", env=environment, **user)


@pytest.fixture(scope="module")
def nobody() -> None:
    """Skips where nobody may read the checkout, or run the Python that the tests run with."""
    try:
        done = as_nobody("-c", "import sys; [open(path) for path in sys.argv[1:]]", *map(str, [*EXAMPLES, *STDLIB]))
    except PermissionError:
        pytest.skip(f"an unprivileged user may not run {sys.executable}")
    if "PermissionError" in done.stderr:
        pytest.skip(f"an unprivileged user may not read {ROOT}")


@pytest.mark.usefixtures("nobody")
@pytest.mark.skipif(not Path("/sys/kernel/btf/vmlinux").exists(), reason="the running kernel has no BTF")
def test_all_scripts_are_right_for_an_unprivileged_user() -> None:
    code = "from xcapscript.cli.start import main; main()"
    done = as_nobody("-c", code, "--check", *(str(path) for path in [*EXAMPLES, *STDLIB] if path not in TOLD + ABSENT))
    assert (done.returncode, done.stdout, done.stderr) == (command.OK, "", "")


@pytest.mark.usefixtures("nobody")
def test_an_unprivileged_user_who_wants_to_capture_is_told_what_it_takes() -> None:
    code = "from xcapscript.cli.start import main; main()"
    done = as_nobody("-c", code, "-e", "begin { exit; }")
    assert (done.returncode, done.stdout) == (command.WRONG_MACHINE, "")
    assert done.stderr.startswith("xcap: capturing needs root\n")
