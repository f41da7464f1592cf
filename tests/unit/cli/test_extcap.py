"""What Wireshark asks for, and is answered; tests/kernel has tshark ask itself."""

from __future__ import annotations

import io
import os
import pwd
import select
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from xcapscript.cli import extcap
from xcapscript.cli import main as command
from xcapscript.cli.extcap import command_line, hang_up, install, is_extcap, parse_request, personal_directory
from xcapscript.cli.main import run_command
from xcapscript.cli.options import parse_options
from xcapscript.errors import KernelError, UsageError
from xcapscript.kernel.frozen import FrozenKernel

KERNEL = FrozenKernel(Path(__file__).parents[3] / "tests" / "data" / "kernel" / "linux-6.18.json")
ASKED = ["--extcap-interface", "xcap", "--extcap-version=4.0"]
CAPTURE = [*ASKED, "--capture", "--fifo", "/tmp/fifo"]


@pytest.fixture(autouse=True)
def frozen_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "LiveKernel", lambda: KERNEL)


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    errors = io.StringIO()
    status = run_command(arguments, errors)
    return status, capsys.readouterr().out, errors.getvalue()


def test_an_ordinary_command_line_is_not_wiresharks() -> None:
    assert not is_extcap(["-e", "rx", "-w", "-"])
    assert not is_extcap(["x.xcap", "--capture=1"])
    assert is_extcap(["--extcap-interfaces"])


def test_there_is_one_interface(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = ask(capsys, "--extcap-interfaces", "--extcap-version=4.0")
    assert (status, err) == (0, "")
    assert "\ninterface {value=xcap}{display=xcap: kernel hooks}\n" in out


def test_it_has_a_link_type_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(capsys, *ASKED, "--extcap-dlts") == (0, "dlt {number=1}{name=EN10MB}{display=Ethernet}\n", "")
    _, out, _ = ask(capsys, *ASKED, "--extcap-config")
    assert [line.split("}{")[1] for line in out.splitlines()] == ["call=--hook", "call=--script", "call=--snaplen"]


def test_another_interface_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = ask(capsys, "--extcap-interface", "eth0", "--extcap-dlts")
    assert (status, out) == (2, "")
    assert "there is no interface 'eth0': it is called xcap" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tcp port 80", ""),
        ("net 10.0.0.0/8 and not icmp", ""),
        ("tcp prt 80", "can't parse filter expression: syntax error\n"),
        ("icmp/ { exit; } rx /icmp", "'icmp/ { exit; } rx /icmp' is no capture filter: there is none of {}; in one\n"),
    ],
)
def test_a_capture_filter_is_fine_if_there_is_no_answer(
    text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(capsys, *ASKED, "--extcap-capture-filter", text) == (0, said, "")


@pytest.mark.parametrize(
    ("words", "program", "files", "snaplen"),
    [
        ([], "drop { dump; }", (), 0),
        (["--hook", "rx", "--extcap-capture-filter", " icmp "], "rx /icmp/ { dump; }", (), 0),
        (["--hook", "", "--snaplen", "64", "--new-option", "x"], "drop { dump; }", (), 64),
        (["--script", "/s.xcap"], None, ("/s.xcap",), 0),
    ],
)
def test_a_capture_is_an_ordinary_run(
    words: list[str], program: str | None, files: tuple[str, ...], snaplen: int
) -> None:
    options = parse_options(command_line(parse_request([*CAPTURE, *words])))
    assert (options.program, options.files, options.snaplen) == (program, files, snaplen)
    assert (options.write, options.quiet, options.at_once) == ("/tmp/fifo", True, True)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([*CAPTURE, "--extcap-capture-filter", "tcp prt 80"], 1, "can't parse filter expression: syntax error"),
        ([*CAPTURE, "--hook", "dorp"], 1, "did you mean 'drop'?"),
        ([*CAPTURE, "--script", "/nowhere.xcap"], 2, "cannot read '/nowhere.xcap'"),
        ([*CAPTURE, "--script", "x", "--extcap-capture-filter", "tcp"], 2, "clear the capture filter, or the script"),
        ([*CAPTURE, "--snaplen", "x"], 2, "'x' is not a number of bytes"),
        ([*ASKED, "--capture"], 2, "--capture needs --fifo"),
    ],
)
def test_what_cannot_be_captured_is_told(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out, err = ask(capsys, *arguments)
    assert (found, out) == (status, "")
    assert message in err


def test_who_waits_for_a_capture_that_came_to_nothing_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "fifo"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status, _, _ = ask(capsys, *ASKED, "--capture", "--fifo", str(pipe), "--hook", "dorp")
        poll = select.poll()
        poll.register(reader)
        assert poll.poll(0) == [(reader, select.POLLHUP)]
    finally:
        os.close(reader)
    assert status == 1


def test_the_plugin_starts_the_command_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "it's xcap"
    program.write_text('#!/bin/sh\necho "started with $2"\n')
    program.chmod(0o755)
    directory = tmp_path / "made" / "extcap"
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setattr(extcap, "personal_directory", lambda: directory)
    for _ in range(2):
        assert install().startswith(f"{directory / 'xcap'} starts {program}: ")
    done = subprocess.run([directory / "xcap", "a", "b c"], capture_output=True, text=True, check=True)
    assert done.stdout == "started with b c\n"


def test_a_place_where_nothing_can_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(extcap, "personal_directory", lambda: tmp_path / "file" / "extcap")
    with pytest.raises(KernelError, match=r"cannot write '.*/file/extcap/xcap': Not a directory"):
        install()


@pytest.mark.parametrize(
    ("folders", "directory"),
    [
        ("Personal configuration:\t/h/.config/wireshark\n", "/h/.config/wireshark/extcap"),
        ("Personal configuration:\t/h/c\nPersonal Extcap path:\t/h/.local/lib/wireshark/extcap\n", None),
        ("nothing that is known\n", None),
    ],
)
def test_wireshark_is_asked_where_it_looks(
    folders: str, directory: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tshark = tmp_path / "tshark"
    tshark.write_text(f"#!/bin/sh\nprintf %s {shlex.quote(folders)}\n")
    tshark.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", "/h")
    assert personal_directory() == Path(directory or "/h/.local/lib/wireshark/extcap")


def test_without_tshark_it_is_where_wireshark_looks_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", "/h")
    assert personal_directory() == Path("/h/.local/lib/wireshark/extcap")


def test_nobody_waits_on_a_pipe_that_cannot_be(tmp_path: Path) -> None:
    hang_up([*ASKED, "--capture", "--fifo", f"{tmp_path}/{'x' * 300}"])


def test_a_user_without_a_home_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    with pytest.raises(KernelError, match="this user has no home directory"):
        install()


def test_a_script_and_a_filter_do_not_go_together() -> None:
    with pytest.raises(UsageError):
        command_line(parse_request([*CAPTURE, "--script", "x", "--extcap-capture-filter", "tcp"]))
