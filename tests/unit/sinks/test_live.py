"""Packets that tcpdump shows: it is started for real, and its output is what it prints of a file."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xcapscript.sinks.base import SinkError
from xcapscript.sinks.live import TcpdumpSink, refusal
from xcapscript.sinks.pcap import PcapSink
from xcapscript.unit import EventSpec

SpecMaker = Callable[..., EventSpec]
RecordMaker = Callable[..., bytes]

TIME = 1_700_000_000_123_456_789
UDP = bytes.fromhex("4500001c000040004011269d0a4d00010a4d0002" + "1f901f9100080000")


def test_options_that_tcpdump_takes_are_not_refused() -> None:
    assert refusal(["-nnv"]) is None
    assert refusal(["-n", "udp port 53"]) is None


@pytest.mark.parametrize(
    ("flags", "words"), [(["-c", "x"], "invalid packet count x"), (["-n", "tcp prt"], "syntax error")]
)
def test_options_that_tcpdump_refuses_are_told_in_its_words(flags: list[str], words: str) -> None:
    said = refusal(flags)
    assert said is not None
    assert said.startswith("tcpdump: ")
    assert words in said


def test_without_tcpdump_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SinkError, match="cannot run tcpdump: No such file or directory"):
        refusal([])
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(SinkError, match="cannot run tcpdump: No such file or directory"):
        TcpdumpSink([], 0)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.fixture
def dump(make_spec: SpecMaker, make_record: RecordMaker) -> Callable[[TcpdumpSink | PcapSink], None]:
    """A packet of UDP without an Ethernet header."""

    def one(sink: TcpdumpSink | PcapSink) -> None:
        sink.dump(make_spec(), TIME, memoryview(make_record(UDP, link=101)))
        sink.settle()

    return one


Dump = Callable[[TcpdumpSink | PcapSink], None]


def test_what_it_shows_is_what_it_shows_of_a_file(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, dump: Dump
) -> None:
    file, live = PcapSink(str(tmp_path / "f.pcap"), 0), TcpdumpSink(["-nnvt"], 0)
    for _ in range(3):
        dump(file)
        dump(live)
    file.close({})
    live.close({})
    shown = capfd.readouterr().out
    command = ["tcpdump", "-nnvt", "-r", str(tmp_path / "f.pcap")]
    assert shown == subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.count("10.77.0.1.8080 > 10.77.0.2.8081") == 3


def wait_for_its_end(live: TcpdumpSink) -> None:
    live._process.wait(10)


def test_that_it_has_seen_enough_is_told_once_as_of_a_closed_pipe(
    capfd: pytest.CaptureFixture[str], dump: Dump
) -> None:
    live = TcpdumpSink(["-nc1"], 0)
    dump(live)
    wait_for_its_end(live)
    with pytest.raises(SinkError) as caught:
        live.flush()
    assert caught.value.errno == errno.EPIPE
    dump(live)
    live.flush()
    live.close({})
    assert capfd.readouterr().out.count("\n") == 1


@contextmanager
def full_stdout() -> Iterator[None]:
    sys.stdout.flush()
    before, full = os.dup(1), os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(full)


def test_that_it_failed_is_told(dump: Dump) -> None:
    with full_stdout():
        live = TcpdumpSink(["-n"], 0)
    dump(live)
    with pytest.raises(SinkError, match="tcpdump has ended with status") as caught:
        live.close({})
    assert caught.value.errno is None


def test_that_it_was_killed_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    live = TcpdumpSink(["-n"], 0)
    live._process.kill()
    wait_for_its_end(live)
    with pytest.raises(SinkError, match=r"tcpdump has ended by signal 9 \(Killed\)") as caught:
        live.flush()
    assert caught.value.errno is None
    live.close({})
    capfd.readouterr()
