"""Where our files are, and that the cache is ours alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xcapscript.errors import KernelError
from xcapscript.resources import bpf_directory, cache_directory, private_directory, stdlib_directory

CHECKOUT = Path(__file__).parents[2]


def test_a_checkout_has_its_data_at_the_top() -> None:
    assert bpf_directory() == CHECKOUT / "bpf"
    assert stdlib_directory() == CHECKOUT / "stdlib"


def test_a_wheel_has_its_data_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_bpf").mkdir()
    monkeypatch.setattr("xcapscript.resources._PACKAGE", tmp_path)
    assert bpf_directory() == tmp_path / "_bpf"


def test_the_cache_of_a_user_is_below_xdg_cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_user(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = cache_directory()
    assert made == tmp_path / "xcapscript"
    assert made.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_the_cache_of_a_user_is_in_his_home_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    as_user(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_directory() == tmp_path / ".cache" / "xcapscript"


def test_root_keeps_its_cache_out_of_what_a_user_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("xcapscript.resources.private_directory", asked.append)
    cache_directory()
    assert asked == [Path("/var/cache/xcapscript")]


def test_a_directory_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    tmp_path.chmod(0o755)
    assert private_directory(tmp_path) == tmp_path
    assert (tmp_path / "kept").exists()


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(KernelError, match="can be written by others"):
        private_directory(tmp_path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(KernelError, match="is not a directory"):
        private_directory(tmp_path / "link")


def test_a_dangling_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(KernelError, match="is not a directory"):
        private_directory(tmp_path / "link")


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KernelError, match="is not a directory"):
        private_directory(tmp_path / "file")


def test_the_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    another = os.geteuid() + 1
    monkeypatch.setattr("os.geteuid", lambda: another)
    with pytest.raises(KernelError, match="belongs to another user"):
        private_directory(tmp_path)


def test_what_cannot_be_made_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert private_directory(tmp_path / "file" / "below") is None


def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let root pass for a user; what it makes belongs to itself, and so does not matter here."""
    if os.geteuid() == 0:
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        monkeypatch.setattr("xcapscript.resources._check_private", lambda *_: None)
