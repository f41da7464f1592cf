"""A file, pipe or standard output that takes whole blocks, and is cut back to the last whole one when writing fails."""

from __future__ import annotations

import contextlib
import os
import select
import stat
from collections.abc import Callable, Mapping

from xcapscript.sinks.base import SinkError

_STDOUT = 1

WholeBlocks = Callable[[bytes, int], int]
"""Of the first `n` bytes of these blocks, how many belong to blocks that are complete within them."""


class Output:
    """`path` opened for writing, empty; `-` is standard output. Raises SinkError.

    A file that is new belongs to the user who called sudo; one that was there keeps its owner.
    """

    def __init__(self, path: str, *, environ: Mapping[str, str] = os.environ) -> None:
        self.name = "standard output" if path == "-" else f"'{path}'"
        self._ours = path != "-"
        try:
            self._fd = _open(path, environ) if self._ours else _STDOUT
            self._regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        except OSError as error:
            raise SinkError.writing(self.name, error) from error

    def write(self, blocks: bytes, whole: WholeBlocks) -> None:
        """Write it all. Raises SinkError, after taking a block that is there in part off a regular file."""
        done, rest = 0, memoryview(blocks)
        try:
            while done < len(blocks):
                done += self._write_some(rest[done:])
        except OSError as error:
            self._cut(done - whole(blocks, done))
            raise SinkError.writing(self.name, error) from error

    def close(self, *, quiet: bool = False) -> None:
        """Raises SinkError, unless quiet: some file systems report a full disk or quota only here."""
        if not self._ours:
            return
        self._ours = False
        try:
            os.close(self._fd)
        except OSError as error:
            if not quiet:
                raise SinkError.writing(self.name, error) from error

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:  # standard output was made non-blocking by whoever shares it
            select.select([], [self._fd], [])
            return 0

    def _cut(self, torn: int) -> None:
        if self._regular and torn:
            with contextlib.suppress(OSError):  # the error that led here is the one to report
                os.ftruncate(self._fd, os.lseek(self._fd, 0, os.SEEK_CUR) - torn)


def _open(path: str, environ: Mapping[str, str]) -> int:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        # No O_CREAT: with it, fs.protected_fifos and fs.protected_regular refuse others' files in /tmp even to root.
        return os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    _give_to_sudo_user(fd, environ)
    return fd


def _give_to_sudo_user(fd: int, environ: Mapping[str, str]) -> None:
    user, group = environ.get("SUDO_UID", ""), environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and user.isdecimal() and group.isdecimal():
        with contextlib.suppress(OSError):  # not every file system has owners; the capture matters more
            os.fchown(fd, int(user), int(group))
