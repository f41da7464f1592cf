"""Names of namespaces and cgroups against what stat(1) and /proc say; tests/kernel/test_containers.py has packets."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from xcapscript.kernel import places
from xcapscript.kernel.facts import NotFound
from xcapscript.kernel.places import cgroup, cgroup_root, network_namespace


def refusal(asked: Callable[[], int]) -> tuple[str, tuple[str, ...]]:
    with pytest.raises(NotFound) as caught:
        asked()
    return caught.value.message, caught.value.hints


def test_a_namespace_is_known_by_path_and_by_process() -> None:
    number = int(str(Path("/proc/self/ns/net").readlink()).removeprefix("net:[").removesuffix("]"))
    assert network_namespace("/proc/self/ns/net") == number
    assert network_namespace(f"pid:{os.getpid()}") == number


@pytest.mark.parametrize("text", ["/dev/null", "/proc/self/ns/mnt", "/proc", "/proc/self/status"])
def test_what_is_no_namespace_is_refused(text: str) -> None:
    assert refusal(lambda: network_namespace(text))[0] == f"'{text}' is no network namespace"


@pytest.mark.parametrize("text", ["", ".", "..", "no-such-name", "./nothing", "a\0b", "x" * 300, "pid:x"])
def test_what_is_not_there_is_told(text: str) -> None:
    message, hints = refusal(lambda: network_namespace(text))
    assert message == f"there is no network namespace '{text}'"
    assert any("/proc/1234/ns/net" in hint for hint in hints)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert refusal(lambda: network_namespace(str(pipe)))[0] == f"'{pipe}' is no network namespace"


def test_names_are_looked_for_where_ip_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "NAMESPACES", tmp_path)
    (tmp_path / "blue").touch()  # as is left when nothing is mounted there any more
    assert refusal(lambda: network_namespace("blue"))[0] == "'blue' is no network namespace"
    assert refusal(lambda: network_namespace("bleu")) == (
        "there is no network namespace 'bleu'",
        ("did you mean 'blue'?",),
    )
    (tmp_path / "own").symlink_to("/proc/self/ns/net")
    assert network_namespace("own") == Path("/proc/self/ns/net").stat().st_ino


@pytest.mark.parametrize("named", [network_namespace, cgroup])
def test_a_process_that_is_not_there_is_told(named: Callable[[str], int]) -> None:
    if named is cgroup and cgroup_root() is None:
        pytest.skip("no cgroups of version 2")
    assert refusal(lambda: named("pid:4194305")) == ("there is no process 4194305", ())


@pytest.fixture
def root() -> Path:
    found = cgroup_root()
    if found is None:
        pytest.skip("no cgroups of version 2")
    return found


def test_a_cgroup_is_known_by_its_path_and_by_a_process(root: Path) -> None:
    assert subprocess.check_output(["stat", "-f", "-c", "%t", str(root)], text=True).strip() == "63677270"
    own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    number = int(subprocess.check_output(["stat", "-c", "%i", f"{root}{own}"], text=True))
    for text in (own, own.lstrip("/"), f"{root}{own}", f"pid:{os.getpid()}"):
        assert cgroup(text) == number


@pytest.mark.parametrize("text", ["/nothing-like-it", "nothing/like/it", "a\0b"])
def test_a_cgroup_that_is_not_there_is_told(text: str, root: Path) -> None:
    message, hints = refusal(lambda: cgroup(text))
    assert message == f"there is no cgroup '{text}'"
    assert hints == (f"it takes a path below {root}, or pid:1234",)


@pytest.mark.usefixtures("root")
def test_a_file_or_a_folder_elsewhere_is_no_cgroup() -> None:
    for text in ("cgroup.procs", "/" + "../" * 8 + "etc"):
        assert refusal(lambda text=text: cgroup(text))[0] == f"'{text}' is no cgroup"


def test_the_mount_of_cgroups_is_found(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("32 31 0:29 / /sys/fs/cgroup/cpu rw shared:5 - cgroup cgroup rw,cpu\n")
    assert cgroup_root(mounts) is None
    with mounts.open("a") as file:
        file.write("41 31 0:38 / /mnt/a\\040b rw,relatime - cgroup2 cgroup2 rw\n")
    assert cgroup_root(mounts) == Path("/mnt/a b")
