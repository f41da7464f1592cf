"""No program, however odd, makes the compiler break down, nor its words steer the terminal."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from xcapscript.cli import main as command
from xcapscript.cli.main import OK, WRONG_MACHINE, WRONG_SCRIPT, run_command
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.kernel.live import LiveKernel

ROOT = Path(__file__).parents[3]
KERNEL = FrozenKernel(ROOT / "tests" / "data" / "kernel" / "linux-6.18.json")


@pytest.fixture(autouse=True)
def frozen_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "LiveKernel", lambda: KERNEL)


def xcap(*arguments: str) -> tuple[int, str]:
    """The exit status, and what was said on standard error."""
    errors = io.StringIO()
    return run_command(arguments, errors), errors.getvalue()


NUMBERS = ("begin { exit(9); }", "i:9s { exit; }", "rx { print($9); }", "rx /port $9/", 'begin { printf("%9d", 1); }')


@pytest.mark.parametrize(
    "text",
    [
        *(pytest.param(text.replace("9", "9" * 5000), id=text) for text in NUMBERS),
        pytest.param(f"begin {{ print({'(' * 3000}1{')' * 3000}); }}", id="parentheses"),
        pytest.param(f"begin {{ print({'-' * 3000}1); }}", id="minus signs"),
        pytest.param(f"begin {{ print({'+'.join('1' * 3000)}); }}", id="sum"),
        pytest.param(
            "".join(f"hook a{n} = a{n + 1};" for n in range(1000)) + "hook a1000 = rt:kfree_skb; a0;",
            id="hooks of hooks",
        ),
        pytest.param("a" * 300, id="hook"),
        pytest.param("rt:" + "a" * 3000, id="raw tracepoint"),
        pytest.param("t:" + "a" * 3000 + ":b", id="tracepoint"),
        pytest.param(f'import "{"a" * 3000}"; rx;', id="import"),
        pytest.param("rt:\udcff { count; }", id="raw tracepoint that is not UTF-8"),
        pytest.param("rx /\udcff/", id="predicate that is not UTF-8"),
        pytest.param('import "\udcff"; rx;', id="import that is not UTF-8"),
        pytest.param("rx /tcp\0udp/", id="NUL in a predicate"),
        pytest.param('import "a\\0b"; rx;', id="NUL in an import"),
        pytest.param("t:..:.. { count; }", id="path for a tracepoint"),
        pytest.param(f"rx {{ count({','.join(['pid'] * 2000)}); }}", id="keys"),
        pytest.param("interval:99999999999999999999h { exit; }", id="long period"),
    ],
)
def test_no_program_is_too_odd(text: str) -> None:
    assert xcap("--check", "-e", text)[0] in {OK, WRONG_SCRIPT, WRONG_MACHINE}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        pytest.param('begin { printf("%\u0663d", 1); }', WRONG_SCRIPT),
        pytest.param("interval:1s:2 { exit; }", WRONG_SCRIPT),
    ],
)
def test_what_only_looks_right_is_refused(text: str, status: int) -> None:
    assert xcap("--check", "-e", text)[0] == status


@pytest.mark.skipif(not Path("/sys/kernel/btf/vmlinux").exists(), reason="the running kernel has no BTF")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("rt:\udcff"),
        pytest.param("rt:kfree_skb\0x"),
        "rt:..",
        "t:\udcff:a",
        "t:skb:\0",
        "t:..:..",
    ],
)
def test_the_running_kernel_has_no_hook_of_an_odd_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "LiveKernel", LiveKernel)
    assert xcap("--check", "-e", f"{name} {{ count; }}")[0] == WRONG_MACHINE


def test_a_script_that_imports_itself_is_read_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.xcap").write_text('import "x"; rx { count; }')
    assert xcap("--dump", "ir", f"{tmp_path}/x.xcap")[0] == OK
    assert capsys.readouterr().out.count(" Probe @") == 1


def test_a_library_that_is_imported_by_two_paths_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "common.xcap").write_text("hook c = rawtracepoint:kfree_skb;")
    (tmp_path / "lib" / "x.xcap").write_text('import "../common";')
    (tmp_path / "main.xcap").write_text('import "common"; import "lib/x"; c { count; }')
    assert xcap("--check", f"{tmp_path}/main.xcap") == (OK, "")


def good_programs() -> list[str]:
    cases = sorted((ROOT / "tests" / "cases").glob("*/*.case"))
    pieces = [piece for path in cases for piece in path.read_text().split("=== ")[1:]]
    files = [*(ROOT / "stdlib").glob("*.xcap"), *(ROOT / "examples").glob("*.xcap")]
    texts = [piece.partition("\n")[2].partition("---\n")[0] for piece in pieces] + [path.read_text() for path in files]
    return sorted(text for text in texts if xcap("--check", "-e", text)[0] == OK)


PIECES = [
    "/",
    "{",
    "}",
    ";",
    '"',
    "$1",
    "$#",
    "$x",
    "$$",
    "@",
    "@m[",
    "(",
    ")",
    ",",
    "=",
    "0",
    "-",
    "%",
    "%d",
    "\\",
    "|",
]
PIECES += ["\0", "\n", "\t", "\r", "é", "\udcff", "\u2028", "\x1b[31m", "//", "/*", "*/", "#!", "rt:", "t:", "i:", "*"]
PIECES += ["->", ".", "args.", "reason", "comm", "kstack(", "import ", "hook ", "ip[", "18446744073709551616", "9" * 30]


def mutated(text: str, others: list[str], rng: random.Random) -> str:
    """The program with one to six pieces cut out, put in, doubled, or taken from another one."""
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice([0, 1, 2, 5, 20]))
        other = rng.choice(others)
        at = rng.randrange(len(other) + 1)
        middle = rng.choice(["", rng.choice(PIECES), text[start:end] * 2, other[at : at + rng.randrange(30)]])
        text = text[:start] + middle + text[end:]
    return text


def test_no_mutation_of_a_good_program_breaks_the_compiler() -> None:
    rng = random.Random(7)
    programs = good_programs()
    assert len(programs) > 20
    seen = set()
    for _ in range(800):
        text = mutated(rng.choice(programs), programs, rng)
        # a blank before it: what begins with a dash would be another option
        status, said = xcap("--check", "-e", f" {text}")
        seen.add(status)
        assert status in {OK, WRONG_SCRIPT, WRONG_MACHINE}, (text, said)
        assert (status == OK) == (said == ""), text
        assert all(char.isprintable() or char == "\n" for char in said), text
    assert seen == {OK, WRONG_SCRIPT, WRONG_MACHINE}
