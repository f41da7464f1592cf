"""Exit statuses and what is said, on a frozen kernel; odd programs are in test_odd_programs.py."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from xcapscript import __version__
from xcapscript.cli import main as command
from xcapscript.cli.main import BUG, OK, WRONG_MACHINE, WRONG_SCRIPT, WRONG_USAGE, run_command
from xcapscript.errors import CompilerBug, KernelError
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.sinks.base import SinkError

ROOT = Path(__file__).parents[3]
KERNEL = FrozenKernel(ROOT / "tests" / "data" / "kernel" / "linux-6.18.json")
TINY = ROOT / "tests" / "data" / "programs" / "tiny"

GOOD, WRONG, ELSEWHERE = "rx /icmp/ { dump; }", "rx { dupm; }", "rawtracepoint:not_here { count; }"


@pytest.fixture(autouse=True)
def frozen_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "LiveKernel", lambda: KERNEL)


def xcap(*arguments: str) -> tuple[int, str]:
    """The exit status, and what was said on standard error."""
    errors = io.StringIO()
    return run_command(arguments, errors), errors.getvalue()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (["--check", "-e", GOOD], OK),
        (["--check", "-e", ""], OK),
        (["--check", "-e", "rx /port $1/", "80"], OK),
        (["--check", "-e", WRONG], WRONG_SCRIPT),
        (["--check", "-e", "rx /port $1/"], WRONG_SCRIPT),
        (["--check", "-e", ELSEWHERE], WRONG_MACHINE),
        (["--check", "-e", ELSEWHERE + WRONG], WRONG_SCRIPT),
        (["--dump", "c", "-e", GOOD], OK),
        (["--dump", "c", "-e", WRONG], WRONG_SCRIPT),
        (["--dump", "c", "-e", ""], WRONG_SCRIPT),
        (["-l", "kfree_skb"], OK),
        (["-l", "nothing_like_it"], WRONG_MACHINE),
        (["--check"], WRONG_USAGE),
        (["--nonsense"], WRONG_USAGE),
        (["--check", "/nowhere/x.xcap"], WRONG_USAGE),
        (["--check", "/"], WRONG_USAGE),
        (["/nowhere/x.xcap"], WRONG_USAGE),
    ],
)
def test_the_exit_status_says_whose_fault_it_is(line: list[str], status: int) -> None:
    found, said = xcap(*line)
    assert found == status
    assert (status == OK) == (said == "")


def test_mistakes_are_shown_under_the_program() -> None:
    status, said = xcap("--check", "-e", WRONG)
    assert status == WRONG_SCRIPT
    assert said == (
        "-e:1:6: error: unknown action 'dupm' [unknown-name]\n"
        "    rx { dupm; }\n"
        "         ^~~~\n"
        "    hint: did you mean 'dump'?\n"
    )


def test_a_wrong_command_line_is_told_in_one_line_and_a_hint() -> None:
    assert xcap("-c", "ten", "-e", "rx") == (
        WRONG_USAGE,
        "xcap: argument -c: 'ten' is not a number from 1 to 999999999999999999\nxcap: see 'xcap --help'\n",
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--check", "-e", "rx { count; }", "tcp", "port", "1"], "'tcp' is no part of the program, which has no $1"),
        (["--dump", "ir", "-e", "rx", "icmp"], "as in -e 'drop /icmp/'"),
        (["--check", "-e", "rx", "-e", "tx"], "-e is given twice"),
    ],
)
def test_what_a_program_does_not_take_is_refused(line: list[str], said: str) -> None:
    status, errors = xcap(*line)
    assert status == WRONG_USAGE
    assert said in errors


def test_what_a_program_takes_is_not() -> None:
    for program in ("rx /port $1/ { count; }", "rx { print($#); }", 'import "drop"; drop;'):
        assert xcap("--check", "-e", program, "80") == (OK, "")


@pytest.fixture
def scripts(tmp_path: Path) -> Callable[..., list[str]]:
    def write(*texts: str) -> list[str]:
        paths = [tmp_path / f"{number}.xcap" for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        return [str(path) for path in paths]

    return write


def test_the_mistakes_of_every_file_are_told(scripts: Callable[..., list[str]]) -> None:
    paths = scripts(WRONG, ELSEWHERE, "dorp;", GOOD)
    status, said = xcap("--check", *paths)
    assert status == xcap("--check", *reversed(paths))[0] != OK
    assert [line.partition(":")[0] for line in said.splitlines() if ": error: " in line] == paths[:3]


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.xcap").write_bytes(b"rx \xff")
    assert xcap("--check", f"{tmp_path}/x.xcap") == (
        WRONG_USAGE,
        f"xcap: cannot read '{tmp_path}/x.xcap': it is not UTF-8 text\nxcap: see 'xcap --help'\n",
    )


def test_a_program_comes_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("dorp;"))
    status, said = xcap("--check", "-")
    assert status == WRONG_SCRIPT
    assert said.startswith("stdin:1:1: error: unknown hook 'dorp'")


def test_without_a_program_and_a_terminal_it_comes_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("dorp;"))
    status, said = xcap()
    assert status == WRONG_SCRIPT
    assert said.startswith("stdin:1:1: error: unknown hook 'dorp'")


class Keyboard(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("option", ["-t -n", "--cmd ls", "--flame x", "--progress", "-q", "-w -"])
def test_what_is_for_a_program_is_refused_at_a_prompt(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.setattr(sys, "stdin", Keyboard())
    monkeypatch.setattr(sys, "stdout", Keyboard())
    status, said = xcap(*option.split())
    assert status == WRONG_USAGE
    assert " is for a program that is given: " in said


def test_a_program_cannot_be_asked_for_where_output_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Keyboard())
    status, said = xcap()
    assert status == WRONG_USAGE
    assert said.startswith("xcap: there is no program, and no terminal to ask for one")


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        ("ast", "Predicate @1:5 text='icmp'"),
        ("ir", "Hook name='rx'"),
        ("cbpf", "# icmp (Ethernet)\n(000) "),
        ("c", "int xcap_probe_0(struct bpf_raw_tracepoint_args *ctx)\n{"),
    ],
)
def test_every_stage_is_shown_on_standard_output(stage: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert xcap("--dump", stage, "-e", GOOD) == (OK, "")
    assert text in capsys.readouterr().out


def test_expressions_among_conditions_are_shown_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert xcap("--dump", "cbpf", "-e", 'rx /icmp or comm == "ping"/') == (OK, "")
    assert capsys.readouterr().out.startswith("# icmp (Ethernet)\n(000) ")


def test_hooks_are_listed_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert xcap("-l", "*kfree_skb") == (OK, "")
    assert capsys.readouterr().out.splitlines() == ["rawtracepoint:kfree_skb", "tracepoint:skb:kfree_skb"]
    assert xcap("-v", "-l", "rawtracepoint:kfree_skb") == (OK, "")
    assert capsys.readouterr().out.splitlines()[:3] == [
        "rawtracepoint:kfree_skb",
        "    args.skb: struct sk_buff * (the packet)",
        "    args.location: void *",
    ]


def test_what_a_program_says_of_itself_cannot_steer_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "odd"
    program.write_bytes(TINY.read_bytes().replace(b" -4@$5\0", b" -\x1b@$5\0"))
    assert xcap("-v", "-l", f"usdt:{program}:*") == (OK, "")
    assert "arg1=-\\x1b@$5" in capsys.readouterr().out


def test_hooks_of_interfaces_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert xcap("-l", "*:eth1*") == (OK, "")
    assert capsys.readouterr().out.split() == ["xdp:eth1", "tc:eth1:ingress", "tc:eth1:egress", "socket:eth1"]
    assert xcap("-v", "-l", "xdp:*") == (OK, "")
    assert capsys.readouterr().out.splitlines()[:4] == [
        "xdp:eth0",
        "    xdp: struct xdp_buff * (the packet)",
        "    cannot be attached to: the interface has the XDP program 7 (firewall) already",
        "xdp:eth1",
    ]


@dataclass
class FakeProcess:
    """A compiler that compiles nothing."""

    closed: int = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> FakeProcess:
    made = FakeProcess()
    monkeypatch.setattr(command, "CompilerProcess", lambda: made)
    monkeypatch.setattr(command, "require_rights", lambda _: None)
    return made


def failing(error: BaseException) -> Callable[..., int]:
    def run(*_: object) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KernelError("no BTF", advice="build it"), WRONG_MACHINE, "xcap: no BTF\nxcap: build it\n"),
        (KernelError("refused", log="the log\n"), WRONG_MACHINE, "xcap: refused\n"),
        (SinkError("cannot write x: full"), WRONG_MACHINE, "xcap: cannot write x: full\n"),
        (KernelError("bad \x1b[2J"), WRONG_MACHINE, "xcap: bad \\x1b[2J\n"),
        (CompilerBug("odd", log="the log"), BUG, f"xcap: odd\nxcap: {command.REPORT}\n"),
        (
            OSError(errno.EMFILE, "Too many open files"),
            WRONG_MACHINE,
            "xcap: Too many open files\nxcap: a limit of this shell, container or machine is reached: see ulimit -a\n",
        ),
        (OSError(errno.EBADF, "odd"), BUG, f"xcap: OSError: [Errno 9] odd\nxcap: {command.REPORT}\n"),
        (RuntimeError("odd"), BUG, f"xcap: RuntimeError: odd\nxcap: {command.REPORT}\n"),
    ],
)
def test_what_a_run_raises_is_told_in_a_line(
    error: Exception, status: int, said: str, process: FakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "run", failing(error))
    assert xcap("-e", GOOD) == (status, said)
    assert process.closed


def test_the_whole_log_is_told_to_who_asks(process: FakeProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "run", failing(KernelError("refused", log="one\n\ttwo\x1b[31m\n")))
    assert xcap("-v", "-e", GOOD) == (WRONG_MACHINE, "one\n        two\\x1b[31m\nxcap: refused\n")
    assert process.closed


def test_the_status_of_a_run_is_that_of_the_command(process: FakeProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "run", lambda *_: 7)
    assert xcap("-e", GOOD) == (7, "")
    assert process.closed


def test_an_interrupted_command_says_nothing(process: FakeProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "run", failing(KeyboardInterrupt()))
    assert xcap("-e", GOOD) == (130, "")
    assert process.closed


def test_who_may_not_capture_is_told_so_after_the_mistakes(
    process: FakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "require_rights", failing(KernelError("capturing needs root")))
    assert xcap("-e", WRONG)[0] == WRONG_SCRIPT
    assert xcap("-e", GOOD) == (WRONG_MACHINE, "xcap: capturing needs root\n")
    assert process.closed == 2


# The whole command, as the console script runs it.

START = "from xcapscript.cli.start import main; main()"


def whole(*arguments: str, **streams: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    line = [sys.executable, "-c", START, *arguments]
    return subprocess.run(line, check=False, text=True, env=environment, **streams)  # type: ignore[call-overload,no-any-return]


def test_the_version_is_that_of_the_project() -> None:
    done = whole("--version")
    assert (done.returncode, done.stdout, done.stderr) == (OK, f"xcap {__version__}\n", "")
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


def test_help_goes_to_standard_output() -> None:
    done = whole("--help")
    assert (done.returncode, done.stderr) == (OK, "")
    assert done.stdout.startswith("usage: xcap ")


def test_a_wrong_program_ends_with_its_status() -> None:
    done = whole("--check", "-e", "begin { dupm; }")
    assert (done.returncode, done.stdout) == (WRONG_SCRIPT, "")
    assert "unknown action 'dupm'" in done.stderr


def test_a_program_that_is_not_utf_8_is_shown_escaped() -> None:
    done = whole("--check", "-e", "begin { \udcff }")
    assert done.returncode == WRONG_SCRIPT
    assert "\n    begin { \\xff }\n" in done.stderr


SHOW = ("--dump", "c", "-e", "begin { exit; }")


@pytest.fixture
def full() -> Iterator[int]:
    """A disk without room."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


def test_standard_output_that_is_full_is_told(full: int) -> None:
    done = whole(*SHOW, stdout=full)
    assert done.returncode == WRONG_MACHINE
    assert done.stderr == "xcap: cannot write standard output: No space left on device\n"


def test_a_reader_that_has_seen_enough_is_no_mistake() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = " ".join(f"interval:{n + 1}s {{ print({n}); }}" for n in range(100))
    done = whole("--dump", "c", "-e", program, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (OK, "")


def with_streams(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it from a shell that redirects its streams."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", START, *arguments]
    return subprocess.run(line, check=False, text=True, capture_output=True, env=environment)


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_mistake(redirection: str) -> None:
    done = with_streams(redirection, "--check", "-e", "begin { }")
    assert (done.returncode, done.stdout, done.stderr) == (OK, "", "")


def test_a_program_from_a_closed_standard_input_cannot_be_read() -> None:
    done = with_streams("<&-", "--check", "-")
    assert done.returncode == WRONG_USAGE
    assert done.stderr.startswith("xcap: cannot read '-'")
