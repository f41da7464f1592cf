"""A file of blocks: what is pending is written in few large pieces, and a file that failed takes nothing more."""

from __future__ import annotations

import errno

from xcapscript.errors import UsageError
from xcapscript.native.writer import Writer
from xcapscript.sinks.base import SinkError
from xcapscript.sinks.output import Output, WholeBlocks

FLUSH_SIZE = 256 * 1024
"""Bytes that are written without waiting for `flush`."""


class Pending:
    """Opens `to` (`-` is standard output) at once, if it is a path; `whole` tells blocks from each other.

    With a `writer`, what is pending is there, among what C puts there. Raises SinkError; UsageError if it is a
    terminal, which bytes of packets could steer.
    """

    def __init__(self, to: str | Output, whole: WholeBlocks, writer: Writer | None = None) -> None:
        self._whole = whole
        self._blocks: list[bytes] = []
        self._waiting = 0
        self._size = 0
        self._writer = writer
        self.failed = False
        self._untold: SinkError | None = None
        self._output = Output(to) if isinstance(to, str) else to
        if self._output.is_terminal:
            self._output.close(quiet=True)
            name = self._output.name
            raise UsageError(f"{name} is a terminal: packets go to a file or a pipe, and -t -nn shows them")
        if writer is not None:
            writer.begin_file()

    def begin(self, header: bytes) -> None:
        """Write at once what a file begins with: one that cannot be written is found before anything is captured.

        A reader that is gone already is told by `flush`, as one that goes later. Raises SinkError.
        """
        self.put(header)
        try:
            self.flush()
        except SinkError as error:
            if error.errno != errno.EPIPE:
                raise
            self._untold = error

    @property
    def size(self) -> int:
        """Bytes that were put, and by C."""
        return self._size if self._writer is None else self._writer.file_size

    def put(self, blocks: bytes) -> None:
        """Take whole blocks; much of them is written at once."""
        if self._writer is None:
            if blocks:
                self._blocks.append(blocks)
                self._waiting += len(blocks)
                self._size += len(blocks)
            if self._waiting >= FLUSH_SIZE:
                self.flush()
        elif not self._writer.put(blocks):
            self.flush()
            if not self._writer.put(blocks):  # larger than its buffer
                self._write(blocks)
                self._writer.count(len(blocks))

    def flush(self) -> None:
        """Write out what is pending. Raises SinkError, the first time."""
        if self._untold is not None:
            error, self._untold = self._untold, None
            raise error
        if self._writer is None:
            blocks = b"".join(self._blocks)
            self._blocks.clear()
            self._waiting = 0
            self._write(blocks)
            return
        try:
            self._write(self._writer.pending)
        finally:
            self._writer.clear()

    def _write(self, blocks: bytes | memoryview) -> None:
        if self.failed or not blocks:
            return
        try:
            self._output.write(blocks, self._whole)
        except SinkError:
            self.failed = True
            raise

    def close(self) -> None:
        """Flush, and end the file. Raises SinkError, unless something has raised it before."""
        try:
            self.flush()
        finally:
            self._output.close(quiet=self.failed)
