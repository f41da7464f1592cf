"""The pages agree with the code: generated tables are fresh, and every program that is shown compiles."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from xcapscript.codegen.generate import Options
from xcapscript.compiler import compile_script
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.sema.analyse import Settings
from xcapscript.sema.filter import Parameters
from xcapscript.source import Source

ROOT = Path(__file__).resolve().parents[2]
KERNEL = FrozenKernel(ROOT / "tests/data/kernel/linux-6.18.json")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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


@pytest.mark.parametrize("program", programs())
def test_program_compiles(program: str) -> None:
    source, settings = Source("page", program), Settings(Parameters(("10.0.0.2", "80")))
    compile_script(source, default_library(), KERNEL, settings, Options())
