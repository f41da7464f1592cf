"""A file of blocks: what is pending is written in few large pieces, and a file that failed takes nothing more."""

from __future__ import annotations

import errno
from collections.abc import Callable

from xcapscript.errors import UsageError
from xcapscript.native.writer import Writer
from xcapscript.sinks.base import DeletedError, SinkError
from xcapscript.sinks.output import Output, WholeBlocks

PacketsIn = Callable[[bytes | memoryview, int], int]
"""How many packets these blocks have, from an offset on."""

FLUSH_SIZE = 256 * 1024
"""Bytes that are written without waiting for `flush`."""


class Pending:
    """Opens `to` (`-` is standard output) at once, if it is a path; `whole` tells blocks from each other.

    With a `writer`, what is pending is there, among what C puts there. `taken` says how many packets have been put, and
    `packets_in` how many blocks have from an offset on. Raises SinkError; UsageError if it is a terminal, which bytes
    of packets could steer.
    """

    def __init__(
        self,
        to: str | Output,
        whole: WholeBlocks,
        writer: Writer | None = None,
        *,
        taken: Callable[[], int],
        packets_in: PacketsIn,
    ) -> None:
        self._whole = whole
        self._taken = taken
        self._packets_in = packets_in
        self._begun = False
        self.saved = 0
        """Of a regular file that failed, how many packets are in it."""

        self._blocks: list[bytes] = []
        self._waiting = 0
        self._size = 0
        self._writer = writer
        self.failed = self.stalled = False
        self._untold: SinkError | None = None
        self._output = Output(to) if isinstance(to, str) else to
        if self._output.is_terminal:
            self._output.close(quiet=True)
            name = self._output.name
            raise UsageError(f"{name} is a terminal: packets go to a file or a pipe, and -t -nn shows them")
        if writer is not None:
            writer.begin_file()

    def begin(self, header: bytes) -> None:
        """Write at once what a file begins with: one that cannot be written is found before anything is captured, and
        is not left there, empty.

        A reader that is gone already is told by `flush`, as one that goes later. Raises SinkError.
        """
        self.put(header)
        try:
            self.flush()
        except SinkError as error:
            if error.errno != errno.EPIPE:
                self._output.take_back()
                raise
            self._untold = error
        self._begun = True

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
            try:
                self.flush()
            except SinkError:
                self.saved -= self._packets_in(blocks, 0)
                raise
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
        kept = 0

        def whole(some: bytes | memoryview, limit: int) -> int:
            nonlocal kept
            # what a file begins with is of no use in part
            kept = self._whole(some, limit) if self._begun else 0
            return kept

        try:
            self._output.write(blocks, whole)
        except SinkError as error:
            self.failed, self.stalled = True, error.errno == errno.ETIMEDOUT
            self.saved = self._taken() - self._packets_in(blocks, kept)
            raise

    def close(self) -> None:
        """Flush, and end the file. Raises SinkError, unless something has raised it before."""
        try:
            self.flush()
            if not self.failed and self._output.is_deleted:
                self.failed, number = True, self._taken()
                lost = f"its {number} packets are lost" if number != 1 else "its one packet is lost"
                raise DeletedError(f"{self._output.told} was deleted while it was written: {lost}")
        finally:
            self._output.close(quiet=self.failed)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file, in which something stays."""
        return self._output.is_regular

    @property
    def moved_to(self) -> str | None:
        """Where a file is that was moved while it was written."""
        return self._output.moved_to
