"""A file of blocks: what is pending is written in few large pieces, and a file that failed takes nothing more."""

from __future__ import annotations

from xcapscript.sinks.base import SinkError
from xcapscript.sinks.output import Output, WholeBlocks

FLUSH_SIZE = 256 * 1024
"""Bytes that are written without waiting for `flush`."""


class Pending:
    """Opens `path` (`-` is standard output) at once; `whole` tells blocks from each other. Raises SinkError."""

    def __init__(self, path: str, whole: WholeBlocks) -> None:
        self._whole = whole
        self._blocks: list[bytes] = []
        self._size = 0
        self.failed = False
        self._output = Output(path)

    def put(self, blocks: bytes) -> None:
        """Take whole blocks; much of them is written at once."""
        if blocks:
            self._blocks.append(blocks)
            self._size += len(blocks)
        if self._size >= FLUSH_SIZE:
            self.flush()

    def flush(self) -> None:
        """Write out what is pending. Raises SinkError, the first time."""
        blocks = b"".join(self._blocks)
        self._blocks.clear()
        self._size = 0
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
