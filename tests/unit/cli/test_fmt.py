"""`xcap --fmt`: files are rewritten as a whole or not at all; diffs, statuses, and what is said."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from xcapscript.cli import formatting
from xcapscript.cli import main as command
from xcapscript.cli.main import OK, WRONG_MACHINE, WRONG_SCRIPT, WRONG_USAGE, run_command

UGLY, PRETTY = "drop,rx/ icmp /{dump;count(reason)}", "drop, rx /icmp/ { dump; count(reason); }\n"


@pytest.fixture(autouse=True)
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("the kernel was asked")

    monkeypatch.setattr(command, "LiveKernel", refuse)


def xcap(*arguments: str) -> tuple[int, str]:
    """The exit status, and what was said on standard error."""
    errors = io.StringIO()
    return run_command(arguments, errors), errors.getvalue()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "x.xcap"
    path.write_text(UGLY)
    return path


def test_a_file_is_rewritten_and_named(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert xcap("--fmt", str(script)) == (OK, f"{script}\n")
    assert script.read_text() == PRETTY
    assert xcap("--fmt", str(script)) == (OK, "")
    assert capsys.readouterr().out == ""
    assert list(script.parent.iterdir()) == [script]


def test_a_file_in_style_is_not_touched(script: Path) -> None:
    script.write_text(PRETTY)
    before = script.stat()
    assert xcap("--fmt", str(script)) == (OK, "")
    after = script.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_mode_and_owner_are_kept(script: Path) -> None:
    script.chmod(0o751)
    if os.geteuid() == 0:
        os.chown(script, 1234, 2345)
    before = script.stat()
    assert xcap("--fmt", str(script))[0] == OK
    after = script.stat()
    assert stat.S_IMODE(after.st_mode) == 0o751
    assert (before.st_uid, before.st_gid) == (after.st_uid, after.st_gid)


def test_a_symbolic_link_stays_one(script: Path) -> None:
    link = script.with_name("link.xcap")
    link.symlink_to(script.name)
    assert xcap("--fmt", str(link)) == (OK, f"{link}\n")
    assert link.is_symlink()
    assert script.read_text() == PRETTY


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_the_byte_order_mark_are_kept(script: Path, mark: bytes) -> None:
    script.write_bytes(mark + b"rx{dump}\r\ntx;\r\n")
    assert xcap("--fmt", str(script))[0] == OK
    assert script.read_bytes() == mark + b"rx { dump; }\r\ntx;\r\n"


@pytest.mark.parametrize("line", [["-e", UGLY], ["-"]])
def test_what_is_no_file_goes_to_standard_output(
    line: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(UGLY))
    assert xcap("--fmt", *line) == (OK, "")
    assert capsys.readouterr().out == PRETTY


def test_nothing_becomes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert xcap("--fmt", "-e", "") == (OK, "")
    assert capsys.readouterr().out == ""


def test_a_diff_is_shown_and_nothing_changed(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert xcap("--fmt", "--diff", str(script)) == (WRONG_SCRIPT, "")
    assert script.read_text() == UGLY
    assert capsys.readouterr().out == (
        f"--- {script}\n+++ {script}\n@@ -1 +1 @@\n-{UGLY}\n\\ No newline at end of file\n+{PRETTY}"
    )
    script.write_text(PRETTY)
    assert xcap("--fmt", "--diff", str(script)) == (OK, "")
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git")
@pytest.mark.parametrize("text", [UGLY, UGLY + "\n", "rx\n\n\n", "// a\nrx;\n// b\u2028c\ntx{dump}\n// d", "\n"])
def test_a_diff_can_be_applied(
    script: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    script.write_text(text)
    monkeypatch.chdir(script.parent)
    assert xcap("--fmt", "--diff", script.name) == (WRONG_SCRIPT, "")
    diff = capsys.readouterr().out.encode()
    subprocess.run(["git", "apply", "-p0", "-"], input=diff, check=True, env={**os.environ, "GIT_DIR": "/nowhere"})
    assert xcap("--fmt", "--diff", script.name) == (OK, "")


def test_a_wrong_program_is_told_and_the_others_are_done(script: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.xcap"
    wrong.write_text("rx { dump")
    status, said = xcap("--fmt", str(wrong), str(script))
    assert status == WRONG_SCRIPT
    assert said.startswith(f"{wrong}:1:10: error: ")
    assert said.endswith(f"{script}\n")
    assert (wrong.read_text(), script.read_text()) == ("rx { dump", PRETTY)
    assert xcap("--fmt", "-e", "rx { dump")[0] == WRONG_SCRIPT


def test_a_file_that_cannot_be_read_is_told_and_the_others_are_done(script: Path) -> None:
    status, said = xcap("--fmt", "/nowhere/x.xcap", str(script))
    assert (status, said) == (
        WRONG_USAGE,
        f"xcap: cannot read '/nowhere/x.xcap': No such file or directory\n{script}\n",
    )
    assert script.read_text() == PRETTY


def test_a_file_that_cannot_be_replaced_is_left_as_it_was(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(formatting.os, "fchmod", fail)
    assert xcap("--fmt", str(script)) == (WRONG_MACHINE, f"xcap: cannot write '{script}': Operation not permitted\n")
    assert script.read_text() == UGLY
    assert list(script.parent.iterdir()) == [script]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write every file")
def test_a_file_that_is_read_only_is_refused(script: Path) -> None:
    script.chmod(0o444)
    assert xcap("--fmt", str(script)) == (WRONG_MACHINE, f"xcap: cannot write '{script}': Permission denied\n")
    assert script.read_text() == UGLY


def test_what_is_no_regular_file_is_refused() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, UGLY.encode())
        os.close(writing)
        status, said = xcap("--fmt", f"/proc/self/fd/{reading}")
    finally:
        os.close(reading)
    assert status == WRONG_MACHINE
    assert "xcap: cannot write" in said


def test_a_diff_alone_is_refused() -> None:
    assert xcap("--diff", "-e", "rx")[0] == WRONG_USAGE
    assert xcap("--fmt")[0] == WRONG_USAGE
