"""Text cases, a folder a stage: a program, then what the stage makes of it, or its mistakes as `code line:column`.

    === the case's name
    drop /icmp/ { dump; }
    ---
    what comes out

Run with UPDATE_CASES=1 to write what comes out now; then read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from xcapscript.cli.stages import stage_text
from xcapscript.codegen.generate import Options, generate
from xcapscript.compiler import Compiled
from xcapscript.diagnostics import ScriptError
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.sema.analyse import Settings, analyse
from xcapscript.sema.filter import Parameters
from xcapscript.source import Source
from xcapscript.syntax.parse import parse
from xcapscript.unit import Unit

HERE = Path(__file__).parent
KERNEL = FrozenKernel(HERE.parent / "data" / "kernel" / "linux-6.18.json")
ARGUMENTS = ("10.0.0.1", "80", "two words")


def cases() -> Iterator[object]:
    for path in sorted(HERE.glob("*/*.case")):
        for piece in path.read_text().split("=== ")[1:]:
            name, _, rest = piece.partition("\n")
            program, _, expected = rest.partition("---\n")
            yield pytest.param(path, name, program, expected.rstrip("\n"), id=f"{path.parent.name}-{path.stem}-{name}")


@pytest.mark.parametrize(("path", "name", "program", "expected"), list(cases()))
def test_case(path: Path, name: str, program: str, expected: str) -> None:
    found = outcome(path.parent.name, Source("case", program.rstrip("\n")))
    if os.environ.get("UPDATE_CASES") and found != expected:
        head = f"=== {name}\n{program}---\n"
        text = path.read_text()
        path.write_text(text.replace(f"{head}{expected}", f"{head}{found}", 1))
    assert found == expected


def outcome(stage: str, source: Source) -> str:
    try:
        script = parse(source)
        if stage == "parse":
            return stage_text(Compiled(script, None, None), "ast")  # type: ignore[arg-type]
        program = analyse(script, default_library(), KERNEL, Settings(Parameters(ARGUMENTS)))
        unit = generate(program, Options(snaplen=512, limit=3 if "limit" in source.text else None))
    except ScriptError as error:
        return "\n".join(f"{d.code} {d.span.line}:{d.span.column} {d.message}" for d in error.diagnostics)
    if stage == "sema":
        return stage_text(Compiled(script, program, unit), "ir")
    return functions(unit)


def functions(unit: Unit) -> str:
    """The programs' functions: what stands before them is the same for all."""
    text = stage_text(Compiled(None, None, unit), "c")  # type: ignore[arg-type]
    return text[text.index("/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */") :]
