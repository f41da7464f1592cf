"""Expressions are compiled within bounds, and nothing that compiles outlives who asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xcapscript.pcap import worker
from xcapscript.pcap.libpcap import PcapError
from xcapscript.pcap.worker import compile_bounded, may_ask
from xcapscript.unit import LinkType

LONG = " or ".join(f"port {number}" for number in range(1000, 3000))
LINKS = [LinkType.EN10MB, LinkType.RAW]
PATIENCE = 20.0


def children(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for_children(process: int) -> list[int]:
    deadline = time.monotonic() + PATIENCE
    while len(found := children(process)) < len(LINKS):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_compiles_ends_with_the_one_that_asked(number: signal.Signals) -> None:
    program = (
        "from xcapscript.pcap.worker import compile_bounded; from xcapscript.unit import LinkType; import sys; "
        "compile_bounded(sys.argv[1], [LinkType.EN10MB, LinkType.RAW])"
    )
    with subprocess.Popen([sys.executable, "-c", program, LONG], stderr=subprocess.DEVNULL) as process:
        found = wait_for_children(process.pid)
        process.send_signal(number)
    deadline = time.monotonic() + PATIENCE
    while any(map(is_alive, found)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_takes_too_long_is_refused_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "SECONDS", 0.2)
    with pytest.raises(PcapError, match=r"libpcap needs more than 0 seconds"):
        compile_bounded(LONG, LINKS)
    assert not children(os.getpid())


@pytest.mark.parametrize(
    "text", ["tcp port 80", "ip6 host fe80::1", "tcp[tcpflags] & tcp-syn != 0", "ether host 0:1:2:3:4:5"]
)
def test_what_has_no_name_in_it_asks_nobody(text: str) -> None:
    assert not may_ask(text)


@pytest.mark.parametrize("text", ["host www.x", "port http", "tcp and gateway snup"])
def test_what_has_a_name_in_it_may_ask(text: str) -> None:
    assert may_ask(text)
