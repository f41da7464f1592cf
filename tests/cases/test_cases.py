"""Text cases, a folder a stage: a program, then what the stage makes of it, or its mistakes as `code line:column`, each
with its hints and its further places.

    === the case's name
    import "other";
    drop /icmp/ { dump; }
    +++ other.xcap
    a file that can be imported
    ---
    what comes out

Of what the language's features become (language.case), what is the same for all is left out.

Run with UPDATE_CASES=1 to write what comes out now; then read the difference.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from xcapscript.cli.stages import stage_text
from xcapscript.codegen.generate import Options, generate
from xcapscript.compiler import Compiled
from xcapscript.diagnostics import Diagnostic, ScriptError
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import Library, default_library
from xcapscript.sema.analyse import Settings, analyse
from xcapscript.sema.filter import Parameters
from xcapscript.source import Source, Span
from xcapscript.syntax.parse import parse
from xcapscript.unit import Unit

HERE = Path(__file__).parent
KERNEL = FrozenKernel(HERE.parent / "data" / "kernel" / "linux-6.18.json")
PROGRAMS = HERE.parent / "data" / "programs"
ARGUMENTS = ("10.0.0.1", "80", "two words")


def cases() -> Iterator[object]:
    for path in sorted(HERE.glob("*/*.case")):
        for piece in path.read_text().split("=== ")[1:]:
            name, _, rest = piece.partition("\n")
            program, _, expected = rest.partition("---\n")
            yield pytest.param(path, name, program, expected.rstrip("\n"), id=f"{path.parent.name}-{path.stem}-{name}")


@pytest.mark.parametrize(("path", "name", "program", "expected"), list(cases()))
def test_case(
    path: Path, name: str, program: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROGRAMS)
    text, *files = re.split(r"^\+\+\+ ", program, flags=re.MULTILINE)
    for file in files:
        title, _, content = file.partition("\n")
        (tmp_path / title).write_text(content)
    library = Library((tmp_path,), default_library().stdlib)
    found = outcome(path.parent.name, Source("case", text.rstrip("\n")), library, brief=path.stem == "language")
    if os.environ.get("UPDATE_CASES") and found != expected:
        head = f"=== {name}\n{program}---\n"
        text = path.read_text()
        path.write_text(text.replace(f"{head}{expected}", f"{head}{found}", 1))
    assert found == expected


def outcome(stage: str, source: Source, library: Library, *, brief: bool) -> str:
    try:
        script = parse(source)
        if stage == "parse":
            return stage_text(Compiled(script, None, None), "ast")  # type: ignore[arg-type]
        program = analyse(script, library, KERNEL, Settings(Parameters(ARGUMENTS)))
        unit = generate(program, Options(snaplen=512, limit=3 if "limit" in source.text else None))
    except ScriptError as error:
        return "\n".join(mistake(diagnostic) for diagnostic in error.diagnostics)
    if stage == "sema":
        text = stage_text(Compiled(script, program, unit), "ir")
        return without_known(text) if brief else text
    return bodies(functions(unit)) if brief else functions(unit)


def without_known(text: str) -> str:
    """The resolved program without its hooks and options, and with types as the language names them."""
    lines: list[str] = []
    skipped = 1000
    for line in text.splitlines()[1:]:
        depth = len(line) - len(line.lstrip())
        if depth > skipped:
            continue
        skipped = 1000
        if re.match(r" +(hook|options|type|builtin|field|argument|maps\[\d+\]): ", line):
            skipped = depth
        if match := re.match(
            r" +type: (IntType bits=(\d+)( signed=True)?|(\w+)Type(?: \w+=(?:'([^']*)'|(\S+)))?)", line
        ):
            sign = "" if match[3] else "u"
            kind = (
                f"{sign}int{match[2]}" if match[2] else " ".join(filter(None, (match[4].lower(), match[5], match[6])))
            )
            lines[parent(lines, depth)] += f" -> {kind}"
        elif match := re.match(r" +(?:builtin|field|argument): \w+ name='([^']*)'", line):
            lines[-1] += f" {match[1]}"
        elif not re.match(r" +(hook|options): ", line):
            lines.append(line[2:])
    return "\n".join(lines)


def parent(lines: list[str], depth: int) -> int:
    """The line that one of that depth, less the two blanks that were taken off, belongs to."""
    return next(at for at in reversed(range(len(lines))) if len(lines[at]) - len(lines[at].lstrip()) < depth - 2)


def bodies(text: str) -> str:
    """Of each program what it does between the count of hits and its end."""
    parts = re.findall(r"^(int \w+)\(.*?^\tcounters->hits\+\+;\n(.*?)^\tdone: ;", text, re.MULTILINE | re.DOTALL)
    return "\n".join(f"{name}\n{body.rstrip()}" for name, body in parts)


def mistake(diagnostic: Diagnostic) -> str:
    """One line, and one more for each hint and each further place."""
    lines = [f"{diagnostic.code} {place(diagnostic.span)} {diagnostic.message}"]
    # where a library was looked for depends on the machine
    lines += [f"  hint: {hint}" for hint in diagnostic.hints if not hint.startswith("looked for")]
    lines += [f"  {place(note.span)} {note.message}" for note in diagnostic.notes]
    at = diagnostic.span.source.imported_at
    while at is not None:
        lines.append(f"  imported at {place(at)}")
        at = at.source.imported_at
    return "\n".join(lines)


def place(span: Span) -> str:
    """The line and the columns, of a file with its name; only the first column if there are no more."""
    name = "" if span.source.name == "case" else f"{Path(span.source.name).name}:"
    last = span.column + max(0, min(len(span.text.split("\n")[0]), span.end - span.start) - 1)
    return f"{name}{span.line}:{span.column}" + (f"-{last}" if last > span.column else "")


def functions(unit: Unit) -> str:
    """The programs' functions: what stands before them is the same for all."""
    text = stage_text(Compiled(None, None, unit), "c")  # type: ignore[arg-type]
    return text[text.index("/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */") :]
