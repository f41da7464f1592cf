"""A file of packets, in whatever format: what is taken, what waits to be written, and what is in it in the end."""

from __future__ import annotations

from xcapscript.native.writer import Writer
from xcapscript.sinks.output import Output, WholeBlocks
from xcapscript.sinks.pending import PacketsIn, Pending


class PacketFile:
    """What the writers of both formats have in common. It opens `to` (`-` is standard output) at once if it is a path;
    with a `writer`, C writes what it has room for. Raises SinkError.
    """

    def __init__(self, to: str | Output, whole: WholeBlocks, packets_in: PacketsIn, writer: Writer | None) -> None:
        self._writer = writer
        self._file = Pending(to, whole, writer, taken=self._taken, packets_in=packets_in)
        self._parts: list[bytes | memoryview] = []
        self._unsettled = 0
        self._packets = 0

    @property
    def size(self) -> int:
        """Bytes of the file so far, those not written yet included."""
        return self._file.size + self._unsettled

    @property
    def packets(self) -> int | None:
        """How many packets were taken; None when writing failed: see `saved`."""
        return None if self._file.failed else self._taken()

    @property
    def saved(self) -> int | None:
        """How many packets are in a file that failed; None if it did not, or is no file in which they stay."""
        return self._file.saved if self._file.failed and self._file.is_file else None

    @property
    def unread(self) -> int | None:
        """How many packets a pipe was not taken that nobody read to the end; None if it was."""
        return self._taken() - self._file.saved if self._file.stalled else None

    @property
    def moved_to(self) -> str | None:
        """Where the file is that was moved while it was written."""
        return self._file.moved_to

    def _taken(self) -> int:
        return self._packets + (0 if self._writer is None else self._writer.packets)

    def settle(self) -> None:
        blocks = b"".join(self._parts)
        self._parts.clear()
        self._unsettled = 0
        self._file.put(blocks)

    def flush(self) -> None:
        self._file.flush()
