"""Where lines of text go: to a stream that is open, or to a file of their own."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from typing import Protocol, TextIO

from xcapscript.sinks.base import DeletedError, SinkError
from xcapscript.sinks.output import Output


class Lines(Protocol):
    """Takes text. Writing and closing raise SinkError."""

    def columns(self) -> int | None:
        """How wide the terminal is at which it ends, which may change at any time; None if it ends at none."""

    def write(self, text: str) -> None:
        """Take it; it may wait for `flush`."""

    def flush(self) -> None:
        """Write out what is pending."""

    def close(self) -> None:
        """Flush, and let go of what was opened for this."""


class PipeLines:
    """Lines to a stream that is a pipe, which stays open; its reader is waited for as `Output` does."""

    def __init__(self, stream: TextIO, name: str, ending: Callable[[], bool]) -> None:
        self._output = Output(name, descriptor=os.dup(stream.fileno()), ending=ending)
        self._output.name = name
        self._encoding, self._errors = stream.encoding, stream.errors or "backslashreplace"
        self._pending: list[str] = []

    def columns(self) -> None:
        return None

    def write(self, text: str) -> None:
        self._pending.append(text)

    def flush(self) -> None:
        data = "".join(self._pending).encode(self._encoding, self._errors)
        self._pending.clear()
        self._output.write(data, _whole_lines)

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._output.close(quiet=True)


class StreamLines:
    """Lines to a stream, which stays open; `name` is what a message calls it. `before` is told what comes next."""

    def __init__(self, stream: TextIO, name: str, before: Callable[[str], None] | None = None) -> None:
        self._stream = stream
        self._name = name
        self._before = before

    def columns(self) -> int | None:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or None
        except OSError:
            return None

    def write(self, text: str) -> None:
        if self._before is not None:
            self._before(text)
        try:
            self._stream.write(text)
        except OSError as error:
            raise SinkError.writing(self._name, error) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise SinkError.writing(self._name, error) from error

    def close(self) -> None:
        self.flush()


class FileLines:
    """Lines to the file `path`, which is opened at once; when it cannot take more it ends with a whole line."""

    def __init__(self, path: str, ending: Callable[[], bool] = lambda: False) -> None:
        self._output = Output(path, ending=ending)
        self._pending: list[str] = []

    def columns(self) -> None:
        return None

    def write(self, text: str) -> None:
        self._pending.append(text)

    def flush(self) -> None:
        # a program on the command line that is no UTF-8 has surrogates in it
        data = "".join(self._pending).encode("utf-8", "backslashreplace")
        self._pending.clear()
        self._output.write(data, _whole_lines)

    def close(self) -> None:
        try:
            self.flush()
        except SinkError:
            self._output.close(quiet=True)
            raise
        deleted = self._output.is_deleted
        self._output.close()
        if deleted:
            raise DeletedError(f"{self._output.told} was deleted while it was written: its lines are lost")


def _whole_lines(data: bytes | memoryview, limit: int) -> int:
    return bytes(data).rfind(b"\n", 0, limit) + 1


def lines_to(stream: TextIO, name: str, before: Callable[[str], None] | None, ending: Callable[[], bool]) -> Lines:
    """What takes the lines for a stream."""
    try:
        # standard error never fails
        is_pipe = stream is not sys.stderr and stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except OSError:  # it has no descriptor
        is_pipe = False
    return PipeLines(stream, name, ending) if is_pipe else StreamLines(stream, name, before)
