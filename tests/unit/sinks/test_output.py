import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xcapscript.sinks.base import SinkError
from xcapscript.sinks.output import Output

NOBODY = 65534
SUDO = {"SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY)}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def whole(_blocks: bytes, limit: int) -> int:
    return limit // 4 * 4


def test_a_file_is_emptied_and_made_as_the_umask_says(tmp_path: Path) -> None:
    path = tmp_path / "f"
    mask = os.umask(0o027)
    try:
        output = Output(str(path), environ={})
    finally:
        os.umask(mask)
    output.write(b"abcd", whole)
    output.close()
    assert path.stat().st_mode & 0o777 == 0o640
    Output(str(path), environ={}).close()
    assert path.read_bytes() == b""


@as_root
def test_a_new_file_belongs_to_who_called_sudo(tmp_path: Path) -> None:
    path = tmp_path / "f"
    Output(str(path), environ=SUDO).close()
    assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)


@as_root
def test_a_file_that_was_there_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    Output(str(path), environ=SUDO).close()
    assert path.stat().st_uid == 0


def test_a_link_to_nothing_is_told_and_makes_nothing(tmp_path: Path) -> None:
    """It may be somebody else's, who would have root make a file where they cannot."""
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(SinkError) as caught:
        Output(str(tmp_path / "link"))
    assert caught.value.message == f"cannot write '{tmp_path}/link': it is a link to a file that is not there"
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"SUDO_UID": "1"},
        {"SUDO_UID": "x", "SUDO_GID": "-1"},
        {"SUDO_UID": "99999999999", "SUDO_GID": "1"},
        {"SUDO_UID": "9" * 5000, "SUDO_GID": "1"},
    ],
)
def test_without_a_sudo_user_the_file_is_ours(tmp_path: Path, environ: dict[str, str]) -> None:
    path = tmp_path / "f"
    Output(str(path), environ=environ).close()
    assert path.stat().st_uid == os.geteuid()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/f", "No such file or directory"),
        ("", "Is a directory"),
        ("a\x1b\n", "a\\x1b\\x0a': Is a directory"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "a\x1b\n").mkdir()
    with pytest.raises(SinkError) as caught:
        Output(f"{tmp_path}/{name}")
    assert caught.value.message.startswith(f"cannot write '{tmp_path}/")
    assert caught.value.message.endswith(message)


def test_a_file_that_is_being_written_is_left_as_it_is(tmp_path: Path) -> None:
    path, other = tmp_path / "f", tmp_path / "other"
    first = Output(str(path))
    first.write(b"abcd", whole)
    other.hardlink_to(path)
    for name in (path, other):
        with pytest.raises(SinkError) as caught:
            Output(str(name))
        assert caught.value.message == f"cannot write '{name}': it is being written already"
    assert path.read_bytes() == b"abcd"
    first.close()
    Output(str(other)).close()
    assert path.read_bytes() == b""


def test_devices_may_be_written_by_many() -> None:
    for output in [Output(os.devnull), Output(os.devnull)]:
        output.close()


def test_where_there_are_no_locks_files_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / "f").write_bytes(b"old")
    Output(str(tmp_path / "f")).close()
    assert (tmp_path / "f").read_bytes() == b""


def test_closing_twice_does_no_harm(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "f"))
    output.close()
    with (tmp_path / "other").open("wb") as other:  # which is likely to get the same descriptor
        output.close()
        other.write(b"x")


def test_a_descriptor_that_does_not_wait_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write, refusals = os.write, [BlockingIOError(), BlockingIOError()]

    def write(fd: int, data: bytes) -> int:
        if refusals:
            raise refusals.pop()
        return real_write(fd, data)

    monkeypatch.setattr(os, "write", write)
    Output(str(tmp_path / "f")).write(b"abcdefgh", whole)
    assert (tmp_path / "f").read_bytes() == b"abcdefgh"


def test_a_named_pipe_is_waited_for_and_a_signal_ends_the_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = f"from xcapscript.sinks.output import Output; print('opening', flush=True); Output({str(pipe)!r})"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"opening\n"
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(10) != 0
