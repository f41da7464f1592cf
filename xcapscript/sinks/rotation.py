"""A file of packets that is cut into many, by size and by time: tcpdump's -C, -G and -W, with its names."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import localtime, strftime, time_ns
from typing import Protocol

from xcapscript.diagnostics import escape
from xcapscript.errors import UsageError
from xcapscript.native.writer import NO_LIMIT, Writer
from xcapscript.sinks.base import DeletedError, HookCounts, PacketSink, SinkError
from xcapscript.sinks.output import file_type
from xcapscript.unit import EventSpec

SECOND = 1_000_000_000
NEVER = 1 << 63
LATE = 200_000_000
"""ns that a packet may take to get here: so long the timer leaves a slice open in which no more are expected."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file ends and the next begins: when it is larger than `size` bytes, after `seconds`. 0 is never.

    By size, `files` are written in turn, again and again; by time alone, the run ends after so many. 0 is no limit.
    """

    size: int = 0
    seconds: int = 0
    files: int = 0

    @classmethod
    def of(cls, size: int, seconds: int, files: int) -> Rotation | None:
        """None if no file is to end."""
        return cls(size, seconds, files) if size or seconds else None

    def name(self, pattern: str, start: int, number: int) -> str:
        """What tcpdump calls the file of this number in the slice that began at `start` ns since 1970."""
        name = strftime(pattern, localtime(start // SECOND)) if self.seconds else pattern
        if not self.size or (not number and self.files <= 1):
            return name
        return f"{name}{number:0{len(str(self.files - 1)) if self.files else 0}}"

    def overwrites(self, pattern: str) -> bool:
        """Whether each slice of time goes to the same file as the one before."""
        return bool(self.seconds) and "%" not in pattern and (self.files != 1 or bool(self.size))


class PacketFile(PacketSink, Protocol):
    """A PacketSink that knows how much it has taken."""

    @property
    def packets(self) -> int | None:
        """How many packets were taken; None when writing failed."""

    @property
    def saved(self) -> int | None:
        """How many of them are in a file that failed."""

    @property
    def moved_to(self) -> str | None:
        """Where a file is that was moved."""

    @property
    def size(self) -> int:
        """Bytes of the file so far, those not written yet included."""


class RotatingSink:
    """A PacketSink of many files, each of which `open_file` opens by its name.

    Slices of time follow each other from the start on, and a packet belongs to the one that its own time is in. With
    no packets for longer, a slice ends by the clock.

    Raises SinkError, and takes nothing more after that; UsageError if `pattern` is no regular file.
    """

    def __init__(
        self,
        pattern: str,
        rotation: Rotation,
        open_file: Callable[[str], PacketFile],
        *,
        writer: Writer | None = None,
        clock: Callable[[], int] = time_ns,
    ) -> None:
        if not _can_be_cut(pattern):
            raise UsageError(f"'{pattern}' cannot be cut into files by -C or -G: it is no regular file")
        self._pattern = pattern
        self._rotation = rotation
        self._open_file = open_file
        self._writer = writer
        self._clock = clock
        self._slices = 1
        self._number = 0
        self._counts: dict[str, int] = {}
        self._seen = 0
        self._failed = False
        self._to_tell: SinkError | None = None
        self._deleted: DeletedError | None = None
        self.complete = False
        self._begin_slice(clock())

    def dump(self, spec: EventSpec, time: int, record: memoryview) -> None:
        try:
            if time >= self._end:
                self._next_slice(time)
            elif self._file is not None and self._rotation.size and self._file.size > self._rotation.size:
                self._next_part()
        except SinkError as error:
            # the rest of the batch may be for other files
            self._to_tell = error
        if self._file is not None:
            self._file.dump(spec, time, record)

    @property
    def packets(self) -> int | None:
        """How many packets are in the files, without those that were overwritten; None when writing failed."""
        self._count()
        return None if self._failed else sum(self._counts.values())

    @property
    def saved(self) -> int | None:
        """As `packets`, when writing failed."""
        self._count()
        return sum(self._counts.values()) if self._failed else None

    @property
    def moved_to(self) -> None:
        """Whoever moves finished files knows where they are."""

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files there are."""
        return tuple(self._counts)

    def settle(self) -> None:
        self._tell()
        if self._file is not None:
            self._attempt(self._file.settle)

    def flush(self) -> None:
        if self._file is not None:
            self._attempt(self._file.flush)

    def follow_clock(self) -> None:
        """End the slice, if its time is over and nothing has come for it since the last call. Raises SinkError."""
        if self._file is None:
            return
        taken, before = self._file.packets or 0, self._seen
        self._seen = taken
        now = self._clock() - LATE
        if taken == before and now >= self._end:
            self._next_slice(now)

    def close(self, counts: Mapping[str, HookCounts]) -> None:
        """End the file that is open; the counts are of the whole run. A file that was deleted is told of only now."""
        self._tell()
        if self._file is not None:
            self._end_file(counts)
        if self._deleted is not None:
            raise self._deleted

    def _tell(self) -> None:
        if self._to_tell is not None:
            error, self._to_tell = self._to_tell, None
            raise error

    def _next_slice(self, now: int) -> None:
        """From the slice that has ended to the one that `now` is in; there are no files for those between."""
        self._end_file({})
        self._slices += 1
        if self._rotation.files and not self._rotation.size and self._slices > self._rotation.files:
            self.complete = True
            self._end = NEVER
            return
        length = self._rotation.seconds * SECOND
        self._number = 0
        self._begin_slice(self._start + (now - self._start) // length * length)

    def _begin_slice(self, start: int) -> None:
        self._start = start
        self._end = start + self._rotation.seconds * SECOND if self._rotation.seconds else NEVER
        self._begin_file()

    def _next_part(self) -> None:
        self._end_file({})
        self._number += 1
        if self._rotation.files:
            self._number %= self._rotation.files
        self._begin_file()

    def _begin_file(self) -> None:
        self._name = self._rotation.name(self._pattern, self._start, self._number)
        self._seen = 0
        self._file: PacketFile | None = None
        if self._failed:
            return
        self._attempt(self._open)
        self._counts[self._name] = 0

    def _open(self) -> None:
        if not _can_be_cut(self._name):
            raise SinkError(f"cannot write '{escape(self._name)}': it is no regular file")
        self._file = self._open_file(self._name)
        if self._writer is not None:
            self._writer.limit(size=self._rotation.size or NO_LIMIT, time=self._end)

    def _end_file(self, counts: Mapping[str, HookCounts]) -> None:
        file = self._file
        if file is None:
            return
        self._count()
        try:
            self._attempt(lambda: file.close(counts))
        except DeletedError as error:
            # the next file has nothing to do with it
            self._deleted = self._deleted or error
            del self._counts[self._name]
        finally:
            self._file = None
            if self._writer is not None:
                self._writer.limit(time=0)

    def _count(self) -> None:
        if self._file is not None:
            self._counts[self._name] = self._file.packets or self._file.saved or 0

    def _attempt(self, what: Callable[[], None]) -> None:
        try:
            what()
        except DeletedError:
            raise
        except SinkError:
            self._count()
            self._failed = True
            self._end = NEVER
            raise


def _can_be_cut(name: str) -> bool:
    """Whether this is a regular file, or could become one."""
    return name != "-" and file_type(name) in (0, stat.S_IFREG)
