"""The pcapng writer and its files: what is written when, and what becomes of it where that cannot be."""

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.sinks.pcapngfiles import (
    PING,
    TIME,
    RecordMaker,
    SpecMaker,
    blocks_of,
    tshark,
    write,
)
from xcapscript.sinks.base import DeletedError, SinkError
from xcapscript.sinks.output import Output
from xcapscript.sinks.pcapng import PcapngSink
from xcapscript.sinks.pending import FLUSH_SIZE


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_large_batches_are_written_at_once_and_small_ones_when_flushed(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    path = tmp_path / "d.pcapng"
    sink = PcapngSink(str(path), 128)
    empty, record = path.stat().st_size, memoryview(make_record(PING))
    sink.dump(make_spec(), TIME, record)
    sink.settle()
    assert path.stat().st_size == empty
    sink.flush()
    assert len(tshark(path, "frame.number")) == 1
    for _ in range(FLUSH_SIZE // len(PING)):
        sink.dump(make_spec(), TIME, record)
    sink.settle()
    assert len(tshark(path, "frame.number")) == 1 + FLUSH_SIZE // len(PING)


def test_the_system_may_write_less_than_asked(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:7]))
    write(tmp_path / "d.pcapng", make_spec(), *[make_record(PING)] * 3)
    assert len(tshark(tmp_path / "d.pcapng", "frame.number")) == 3


def test_a_full_device_is_told_when_the_file_is_opened() -> None:
    with pytest.raises(SinkError, match=r"^cannot write '/dev/full': No space left on device$"):
        PcapngSink("/dev/full", 128)


def test_what_was_written_before_the_limit_is_readable(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    path = tmp_path / "d.pcapng"
    with largest_file(10_000):
        sink = PcapngSink(str(path), 128)
        for _ in range(200):
            sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
        sink.settle()
        with pytest.raises(SinkError, match="File too large") as caught:
            sink.flush()
        assert caught.value.errno == errno.EFBIG
        sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
        sink.settle()
        sink.flush()
        sink.close({})
    assert 10_000 - 300 < path.stat().st_size <= 10_000
    packets = sum(kind == 6 for kind, _ in blocks_of(path))
    assert (sink.packets, sink.saved) == (None, packets)
    assert len(tshark(path, "frame.number")) == packets > 30


@pytest.mark.parametrize("kept", [b"", b"the user's own"])
def test_a_file_that_cannot_even_begin_is_not_left_behind(tmp_path: Path, kept: bytes) -> None:
    path = tmp_path / "d.pcapng"
    if kept:
        path.write_bytes(kept)
    with largest_file(20), pytest.raises(SinkError, match="File too large"):
        PcapngSink(str(path), 128)
    # what was there is somebody else's: its name, owner and mode stay
    assert path.exists() == bool(kept)
    assert not kept or path.stat().st_size == 0


def test_a_file_that_is_deleted_is_told(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path, other = tmp_path / "d.pcapng", tmp_path / "other"
    for lose in (path.unlink, lambda: other.replace(path)):
        other.write_text("x")
        sink = PcapngSink(str(path), 128)
        for _ in range(3):
            sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
        sink.settle()
        lose()
        with pytest.raises(DeletedError, match=r"d.pcapng' was deleted while it was written: its 3 packets are lost$"):
            sink.close({})
        assert sink.packets is None


def test_a_file_that_is_moved_is_followed(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path, other, link = tmp_path / "d.pcapng", tmp_path / "other", tmp_path / "link"
    path.touch()
    link.symlink_to(path)
    sink = PcapngSink(str(link), 128)
    sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
    path.rename(other)
    sink.close({})
    assert (sink.packets, sink.moved_to) == (1, str(other))
    sink = PcapngSink(str(path), 128)
    sink.close({})
    assert sink.moved_to is None


def test_a_failure_at_the_end_is_told_once(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path = tmp_path / "d.pcapng"
    with largest_file(1_000):
        sink = PcapngSink(str(path), 128)
        for _ in range(20):
            sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
        with pytest.raises(SinkError, match="File too large"):
            sink.close({})
    assert list(blocks_of(path))


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True)
    try:
        path = tmp_path / "d.pcapng"
        sink = PcapngSink(str(path), 128)
        for _ in range(2000):
            sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
        with pytest.raises(SinkError, match="No space left on device"):
            sink.settle()
        sink.close({})
        assert len(tshark(path, "frame.number")) == sum(kind == 6 for kind, _ in blocks_of(path)) > 200
        assert sink.saved == sum(kind == 6 for kind, _ in blocks_of(path))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_reader_that_goes_away(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sink = PcapngSink(str(fifo), 128)
    assert os.read(reader, 4) == bytes.fromhex("0a0d0d0a")
    os.close(reader)
    sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
    sink.settle()
    with pytest.raises(SinkError, match="Broken pipe") as caught:
        sink.flush()
    assert caught.value.errno == errno.EPIPE
    sink.close({})


def test_a_reader_that_was_never_there_is_told_as_one_that_goes_away() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sink = PcapngSink(Output("the pipe", descriptor=writing), 128)
    with pytest.raises(SinkError, match="Broken pipe") as caught:
        sink.flush()
    assert caught.value.errno == errno.EPIPE
    sink.flush()
    assert sink.packets is None
    sink.close({})


def test_standard_output(tmp_path: Path) -> None:
    code = "from xcapscript.sinks.pcapng import PcapngSink; PcapngSink('-', 128).close({})"
    result = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    (tmp_path / "d.pcapng").write_bytes(result.stdout)
    assert [kind for kind, _ in blocks_of(tmp_path / "d.pcapng")] == [0x0A0D0D0A, 1]


def test_a_file_without_packets_is_read_by_tcpdump(tmp_path: Path) -> None:
    path = tmp_path / "d.pcapng"
    PcapngSink(str(path), 128).close({})
    done = subprocess.run(["tcpdump", "-nr", path], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_a_killed_writer_leaves_what_was_flushed(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    path = tmp_path / "d.pcapng"
    child = os.fork()
    if child == 0:
        sink = PcapngSink(str(path), 128)
        for _ in range(3):
            sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
        sink.settle()
        sink.flush()
        sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(tshark(path, "frame.number")) == 3
