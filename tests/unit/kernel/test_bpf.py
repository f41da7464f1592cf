"""What is asked of the kernel before anything runs, on stand-ins for what it says."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from xcapscript.kernel import bpf


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0\n", {0}), ("0-3\n", {0, 1, 2, 3}), ("0,2-3,7\n", {0, 2, 3, 7}), ("1-2,64-65\n", {1, 2, 64, 65})],
)
def test_the_cpus_that_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, cpus: set[int]) -> None:
    (tmp_path / "online").write_text(text)
    monkeypatch.setattr(bpf, "ONLINE_CPUS", tmp_path / "online")
    assert bpf.online_cpus() == cpus


def test_the_cpus_of_this_machine() -> None:
    assert len(bpf.online_cpus()) == os.sysconf("SC_NPROCESSORS_ONLN")


@pytest.mark.parametrize(
    ("error", "there"), [(0, True), (errno.EINVAL, False), (errno.EPERM, True), (errno.ENOMEM, True)]
)
def test_ring_buffers_are_there_unless_the_kernel_has_not_heard_of_them(
    monkeypatch: pytest.MonkeyPatch, *, error: int, there: bool
) -> None:
    def create(*_arguments: object) -> int:
        ctypes.set_errno(error)
        return -error if error else os.open(os.devnull, os.O_RDONLY)

    monkeypatch.setattr(bpf, "load", lambda: SimpleNamespace(bpf_map_create=create))
    assert bpf.has_ring_buffers() is there


def test_a_libbpf_that_cannot_ask_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf, "load", SimpleNamespace)
    assert bpf.has_ring_buffers()
