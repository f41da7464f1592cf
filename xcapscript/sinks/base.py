"""What every sink does, and how one fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from xcapscript.diagnostics import escape
from xcapscript.event import Event
from xcapscript.layout import Value
from xcapscript.unit import EventSpec, MapSpec


class SinkError(Exception):
    """Output cannot be written: one sentence that names the file and the system's reason; `errno` is the system's."""

    def __init__(self, message: str, *, errno: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.errno = errno

    @classmethod
    def writing(cls, name: str, error: OSError) -> SinkError:
        return cls(f"cannot write {escape(name)}: {error.strerror or error}", errno=error.errno)


class DeletedError(SinkError):
    """A file was deleted, or another one put in its place, while it was written: what it had is lost."""


@dataclass(frozen=True, slots=True)
class HookCounts:
    """What the kernel counted at a hook: packets seen there, and those lost because the buffer was full.

    `missed` are hits that no program was run for.
    """

    received: int
    dropped: int
    missed: int = 0


class PacketSink(Protocol):
    """A file of packets."""

    def dump(self, spec: EventSpec, time: int, record: memoryview) -> None:
        """Take a packet, at `time` ns since 1970. `record` begins with `spec.layout`, the packet's bytes follow.

        The record may be kept as it is until `settle`, not longer.
        """

    def settle(self) -> None:
        """End of a batch: the records are about to become invalid. Raises SinkError."""

    def flush(self) -> None:
        """Write out what is pending. Raises SinkError."""

    def close(self, counts: Mapping[str, HookCounts]) -> None:
        """Flush, and end the file; `counts` is by hook. Raises SinkError, unless something has raised it before."""


class EventSink(Protocol):
    """What shows events one by one, maps, and how it all ended. Each of its methods raises SinkError."""

    def write(self, event: Event) -> None:
        """Show it."""

    def print_map(self, spec: MapSpec, content: Mapping[bytes, Value], time: int, top: int | None) -> None:
        """Show a map as it was at `time` ns since 1970, or its `top` first keys."""

    def flush(self) -> None:
        """Write out what is pending."""

    def close(self, time: int, counts: Mapping[str, HookCounts], missed: Mapping[str, int]) -> None:
        """The run ended at `time`, with these counts by hook, and updates that found a map full, by map."""
