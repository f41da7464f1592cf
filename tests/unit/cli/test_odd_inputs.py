"""Files that are no programs, and programs of sizes that nobody writes: one clear error, or it works, and both soon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xcapscript.cli.main import OK, WRONG_SCRIPT, WRONG_USAGE
from xcapscript.source import LARGEST_SCRIPT

ROOT = Path(__file__).parents[3]
FROZEN = ROOT / "tests" / "data" / "kernel" / "linux-6.18.json"
DEEP, MEMORY, SECONDS = 10_000, 1 << 31, 60

RUN = """
import resource, sys
from pathlib import Path
from xcapscript.cli import main
from xcapscript.kernel.frozen import FrozenKernel
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
kernel = FrozenKernel(Path(sys.argv[1]))
main.LiveKernel = lambda: kernel
sys.exit(main.run_command(["--check", "-n", *sys.argv[3:]], sys.stderr))
"""


def check(*arguments: str, stdin: bytes = b"") -> tuple[int, str]:
    """The exit status and what was said, of a process that may take so much memory and time."""
    command = [sys.executable, "-c", RUN, str(FROZEN), str(MEMORY), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, timeout=SECONDS, input=stdin, cwd=ROOT)
    return done.returncode, done.stderr.decode()


def written(directory: Path, text: str | bytes) -> str:
    path = directory / "odd.xcap"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def repeated(pattern: str, count: int) -> str:
    return "".join(pattern.format(n=number) for number in range(count))


ARGUMENTS = ", ".join(f"$a{number}" for number in range(50))


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        pytest.param("a " * 500_000, WRONG_SCRIPT, "'a' was not expected here", id="a megabyte of words"),
        pytest.param("// x\n" * 200_000 + "rx { count; }", OK, "", id="a megabyte of comments"),
        pytest.param(f"begin {{ print({'(' * DEEP}1{')' * DEEP}); }}", WRONG_SCRIPT, "nested too deeply", id="groups"),
        pytest.param(f"begin {{ {'if (1) {' * DEEP}{'}' * DEEP} }}", WRONG_SCRIPT, "nested too deeply", id="ifs"),
        pytest.param(f"begin {'{' * DEEP}{'}' * DEEP}", WRONG_SCRIPT, "", id="blocks"),
        pytest.param(f"begin {{ print({'not ' * DEEP}1); }}", WRONG_SCRIPT, "nested too deeply", id="nots"),
        pytest.param(f"rx /{'not ' * DEEP}pid == 1/ {{ count; }}", WRONG_SCRIPT, "at most", id="nots in a predicate"),
        pytest.param(f"rx /{'(' * DEEP}tcp{')' * DEEP}/ {{ count; }}", WRONG_SCRIPT, "", id="tcpdump's groups"),
        pytest.param(f'begin {{ print("{"x" * 100_000}"); }}', OK, "", id="a string of 100 KB"),
        pytest.param(f'begin {{ if (comm == "{"x" * 100_000}") {{ count; }} }}', WRONG_SCRIPT, "", id="never equal"),
        pytest.param(f"rx /{'tcp and ' * 12_500}udp/ {{ count; }}", WRONG_SCRIPT, "", id="a predicate of 100 KB"),
        pytest.param(f"/*{'*' * 100_000}*/ rx {{ count; }}", OK, "", id="a comment of 100 KB"),
        pytest.param(f"/*{'*' * 100_000} rx {{ count; }}", WRONG_SCRIPT, "not closed", id="a comment without an end"),
        pytest.param(f"rx /{'/' * 100_000}", OK, "", id="slashes"),
        pytest.param(repeated("rx /port {n}/ {{ count; }}", 1000), OK, "", id="1,000 clauses"),
        pytest.param(repeated("rx {{ @m{n} = count(); }}", 2000), OK, "", id="2,000 maps"),
        pytest.param(f"rx {{ {repeated('@m{n} = count();', 60)} }}", WRONG_SCRIPT, "60 maps", id="maps of one clause"),
        pytest.param(f"rx {{ {repeated('$v{n} = len;', 500)} }}", OK, "", id="500 variables"),
        pytest.param(f"rx {{ {repeated('$v{n} = str(1);', 500)} }}", WRONG_SCRIPT, "memory", id="500 strings"),
        pytest.param(f"rx {{ print({'kstack(127),' * 40} 1); }}", WRONG_SCRIPT, "memory", id="40 deep stacks"),
        pytest.param(
            f"fn f({ARGUMENTS}) {{ return $a49; }} rx {{ print(f({ARGUMENTS.replace('$a', '')})); }}",
            OK,
            "",
            id="50 arguments",
        ),
        pytest.param(
            f"{''.join(f'fn f{n}() {{ return f{n + 1}() + f{n + 1}(); }}' for n in range(30))}"
            "fn f30() { return 1; } rx { print(f0()); }",
            WRONG_SCRIPT,
            "called more than",
            id="calls that double",
        ),
        pytest.param(b"rx { count; }\0", WRONG_SCRIPT, "\\x00", id="a NUL"),
        pytest.param(b"rx { count; } // \xff", WRONG_USAGE, "not UTF-8", id="no UTF-8"),
        pytest.param(b" " * (LARGEST_SCRIPT + 1), WRONG_USAGE, "larger than", id="too large"),
    ],
)
def test_what_nobody_writes_is_refused_or_works(text: str | bytes, status: int, said: str, tmp_path: Path) -> None:
    found, words = check(written(tmp_path, text))
    assert found == status, words[:500]
    assert said in words
    assert len(words) < 20_000
    assert "bug" not in words


@pytest.mark.parametrize("name", ["/dev/zero", "/", "/proc/self/mem", "/nowhere"])
def test_a_file_that_is_no_program_is_refused(name: str) -> None:
    status, words = check(name)
    assert (status, words.count("\n")) == (WRONG_USAGE, 2)
    assert f"cannot read '{name}'" in words


def test_standard_input_without_an_end_is_refused() -> None:
    status, words = check("-", stdin=b" " * (LARGEST_SCRIPT + 5000))
    assert status == WRONG_USAGE
    assert "larger" in words


def test_a_named_pipe_is_waited_for_and_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", RUN, str(FROZEN), str(MEMORY), str(pipe)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stderr is not None
        assert b"waiting for a program" in process.stderr.readline()
        pipe.write_text("rx { count; }")
        assert process.wait(SECONDS) == OK


def test_waiting_for_a_named_pipe_can_be_interrupted(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", RUN, str(FROZEN), str(MEMORY), str(pipe)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stderr is not None
        assert b"nobody has written" in process.stderr.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
