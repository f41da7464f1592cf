import errno
import io
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xcapscript.sinks.base import SinkError
from xcapscript.sinks.lines import FileLines, StreamLines


class FullStream(io.StringIO):
    def write(self, _text: str, /) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None:
        raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A full disk: files cannot grow beyond so many bytes, no longer than needed: pytest may write to a file, too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_whoever_shares_the_stream_is_told_what_comes() -> None:
    stream, told = io.StringIO(), []

    def before(text: str) -> None:
        told.append((stream.getvalue(), text))

    lines = StreamLines(stream, "standard output", before)
    for text in ("a\n", "b"):
        lines.write(text)
    lines.close()
    assert told == [("", "a\n"), ("a\n", "b")]


def test_a_stream_that_fails() -> None:
    lines = StreamLines(FullStream(), "standard output")
    with pytest.raises(SinkError) as caught:
        lines.write("x\n")
    assert caught.value.message == "cannot write standard output: No space left on device"
    assert caught.value.errno == errno.ENOSPC
    for what in (lines.flush, lines.close):
        with pytest.raises(SinkError) as caught:
            what()
        assert caught.value.errno == errno.EPIPE


def test_a_stream_stays_open() -> None:
    stream = io.StringIO()
    lines = StreamLines(stream, "standard output")
    lines.write("x\n")
    lines.close()
    assert stream.getvalue() == "x\n"


def test_a_file_is_emptied_and_takes_any_text(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("before", encoding="utf-8")
    lines = FileLines(str(path))
    assert path.read_bytes() == b""
    lines.write("é\n")
    lines.write("\udcff\n")
    assert path.read_bytes() == b""
    lines.flush()
    assert path.read_bytes() == "é\n\\udcff\n".encode()
    lines.write("rest")
    lines.close()
    assert path.read_bytes().endswith(b"\nrest")


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(SinkError) as caught:
        FileLines(str(tmp_path))
    assert caught.value.message == f"cannot write '{tmp_path}': Is a directory"


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "f"
    lines = FileLines(str(path))
    with largest_file(100):
        for _ in range(100 // 7):
            lines.write("sixty7\n")
        lines.flush()
        lines.write("sixty7\n" * 10)
        with pytest.raises(SinkError) as caught:
            lines.close()
    assert caught.value.message == f"cannot write '{path}': File too large"
    assert path.read_text(encoding="utf-8") == "sixty7\n" * (100 // 7)


def test_a_pipe_whose_reader_has_gone(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    lines = FileLines(str(path))
    lines.write("x\n")
    lines.flush()
    assert os.read(reader, 10) == b"x\n"
    os.close(reader)
    lines.write("y\n")
    with pytest.raises(SinkError) as caught:
        lines.close()
    assert caught.value.errno == errno.EPIPE
