"""What is said of -i and -p before anything is loaded."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from xcapscript.cli import targets
from xcapscript.cli.options import parse_options
from xcapscript.cli.targets import check_interface, check_process
from xcapscript.errors import KernelError
from xcapscript.kernel.interfaces import Interfaces, known_interfaces, own_interfaces


def test_our_own_interfaces_are_those_that_the_system_lists() -> None:
    assert own_interfaces() == {name for _, name in socket.if_nameindex()}
    assert known_interfaces().names >= own_interfaces()


def test_an_interface_that_is_here_needs_no_word() -> None:
    assert check_interface("lo") is None


def test_a_misspelt_interface_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Interfaces(frozenset({"lo", "eth0", "veth-far"}), all=True)
    monkeypatch.setattr(targets, "known_interfaces", lambda: known)
    assert check_interface("veth-far") is None
    with pytest.raises(KernelError) as caught:
        check_interface("etho0")
    assert caught.value.message == "no interface is called 'etho0', in any network namespace"
    assert caught.value.advice == "did you mean 'eth0'? for one that is yet to come write /ifname == \"etho0\"/"


def test_where_not_all_can_be_seen_a_name_may_be_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "known_interfaces", lambda: Interfaces(frozenset({"lo"}), all=False))
    assert "that can be seen from here is called 'etho0'" in (check_interface("etho0") or "")


def test_any_is_every_interface() -> None:
    assert parse_options(["-i", "any", "-e", "rx"]).interface is None
    assert parse_options(["-i", "eth0", "-e", "rx"]).interface == "eth0"


@pytest.fixture
def thread() -> Iterator[int]:
    done = threading.Event()
    made = threading.Thread(target=done.wait)
    made.start()
    assert made.native_id is not None
    yield made.native_id
    done.set()
    made.join()


def proc(path: Path, inode_of: str, *processes: int) -> Path:
    """A /proc of these processes, whose pid namespace is that of the whole machine if `inode_of` says so."""
    (path / "self" / "ns").mkdir(parents=True)
    (path / "self" / "ns" / "pid").symlink_to(inode_of)
    for number in processes:
        (path / str(number)).symlink_to(f"/proc/{number}")
    return path


@pytest.fixture
def initial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    anything = tmp_path / "pid"
    anything.touch()
    monkeypatch.setattr(targets, "_INITIAL_PID_NAMESPACE", anything.stat().st_ino)
    return anything


def test_a_process_must_be_there(tmp_path: Path, initial: Path) -> None:
    place = proc(tmp_path / "proc", str(initial), os.getpid())
    assert check_process(os.getpid(), place) is None
    with pytest.raises(KernelError, match="there is no process 4194305"):
        check_process(4194305, place)


def test_a_thread_is_no_process(tmp_path: Path, initial: Path, thread: int) -> None:
    place = proc(tmp_path / "proc", str(initial), thread)
    with pytest.raises(KernelError) as caught:
        check_process(thread, place)
    assert caught.value.message == f"{thread} is a thread of process {os.getpid()}"
    assert caught.value.advice == f"try -p {os.getpid()} for all its threads, or the condition tid == {thread}"


def test_a_container_counts_processes_otherwise(tmp_path: Path) -> None:
    place = proc(tmp_path / "proc", str(tmp_path))
    assert "which this container counts otherwise" in (check_process(4194305, place) or "")
