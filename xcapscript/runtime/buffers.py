"""Which reader the buffer of a unit has, and what the session knows of any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, assert_never

from xcapscript.errors import KernelError
from xcapscript.native.ring import NativeRing
from xcapscript.runtime.perf import PerfBuffers
from xcapscript.runtime.ring import Record, open_ring
from xcapscript.unit import Buffer, Unit


class Reader(Protocol):
    """Takes batches out of what lies between kernel and user space.

    `full`: there is more to be taken at once. `busy`: much had come since the last time. `unfinished`: a record has
    been begun, and is still being written.
    """

    full: bool
    busy: bool
    unfinished: bool

    def take(self, *, final: bool = False) -> Sequence[Record]:
        """The records that have come, oldest first; `final` says that no more are to come."""

    def release(self) -> None:
        """Give the batch's place back to the kernel: its records are no longer valid."""

    def close(self) -> None:
        """Unmap the buffer, once no record of it is held any more."""

    @property
    def native(self) -> NativeRing | None:
        """The ring as C knows it, if C reads it."""

    @property
    def waiting(self) -> bool:
        """Whether there are records that take() has not given."""


def open_reader(unit: Unit, descriptor: int) -> Reader:
    """The reader of the buffer whose map that is; KernelError if it cannot be mapped."""
    match unit.buffer:
        case Buffer.RING:
            try:
                return open_ring(descriptor, unit.buffer_pages)
            except OSError as error:
                message = f"the buffer cannot be mapped: {error.strerror}"
                raise KernelError(message, advice="try a smaller --buffer-size") from None
        case Buffer.PERF:
            return PerfBuffers(descriptor, unit.buffer_pages)
        case _:
            assert_never(unit.buffer)
