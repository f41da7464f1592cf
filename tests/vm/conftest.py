"""Fixtures of the tests on another kernel: the hosts and programs of tests/kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "kernel"))

from hosts import net, quiet

from tests.reliability import attached

__all__ = ["net", "quiet"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "XCAP_VM" not in os.environ:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="runs in a virtual machine: make test-vm"))


@pytest.fixture(scope="session", autouse=True)
def modules() -> None:
    """Nobody loads them for a new network namespace."""
    if "XCAP_VM" in os.environ:
        subprocess.run(("modprobe", "-a", "veth", "nf_tables", "iptable_filter", "ip6table_filter"), check=True)


@pytest.fixture(autouse=True)
def nothing_stays_attached() -> Iterator[None]:
    """Nobody else has BPF programs here; the kernel frees them a moment after their last descriptor."""
    before = attached.ids()
    yield
    deadline = time.monotonic() + 30
    while attached.ids() - before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert attached.ids() - before == set()
    assert Path("/sys/kernel/tracing/kprobe_events").read_text() == ""
