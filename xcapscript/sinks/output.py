"""A file, pipe or standard output that takes whole blocks, and is cut back to the last whole one when writing fails."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
import time
from collections.abc import Callable, Mapping

from xcapscript.diagnostics import escape
from xcapscript.sinks.base import SinkError

_STDOUT = 1

PIPE_SECONDS = 0.1
"""Between two looks whether somebody reads a named pipe."""

STEP = 100
"""ms between two looks whether a reader that does not read is still to be waited for."""

PATIENCE = 2.0
"""Seconds that a reader has to read on, when the run is to end."""

WholeBlocks = Callable[[bytes | memoryview, int], int]
"""Of the first `n` bytes of these blocks, how many belong to blocks that are complete within them."""


class Output:
    """`path` opened for writing, empty; `-` is standard output. Raises SinkError.

    A file that is new belongs to the user who called sudo; one that was there keeps its owner. One that is being
    written already, under whatever name, is left as it is. A `descriptor` that was opened elsewhere is closed here;
    messages call it `path`. When `ending` says that the run is to end, the reader of a pipe that does not read is not
    waited for any longer than for `PATIENCE`.
    """

    def __init__(
        self,
        path: str,
        *,
        descriptor: int | None = None,
        environ: Mapping[str, str] = os.environ,
        ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name = "standard output" if path == "-" else f"'{path}'"
        self._ours = path != "-"
        self._path = path
        self._ending = ending
        self._stalled: float | None = None
        self.moved_to: str | None = None
        """Where a file is that was moved meanwhile, when it is closed."""

        self._is_new = descriptor is None and self._ours and not os.path.lexists(path)
        try:
            self._fd = descriptor if descriptor is not None else _open(path, environ) if self._ours else _STDOUT
            self.is_regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
            self.is_terminal = os.isatty(self._fd)
            self._soon = _without_waiting(self._fd)
        except OSError as error:
            raise SinkError.writing(self.name, error) from error

    def write(self, blocks: bytes | memoryview, whole: WholeBlocks) -> None:
        """Write it all. Raises SinkError, after taking a block that is there in part off a regular file."""
        done, rest = 0, memoryview(blocks)
        try:
            while done < len(blocks):
                done += self._write_some(rest[done:])
        except OSError as error:
            self._cut(done - whole(blocks, done))
            raise SinkError.writing(self.name, error) from error

    @property
    def told(self) -> str:
        """What messages call it."""
        return escape(self.name)

    @property
    def is_deleted(self) -> bool:
        """Whether nobody can find the file any more: it was deleted, or another one put in its place."""
        return self._ours and self.is_regular and not os.fstat(self._fd).st_nlink

    def take_back(self) -> None:
        """Close it, and remove the file if it was not there before: nothing could be written to it."""
        remove = self._is_new and self.is_regular and not os.fstat(self._fd).st_size
        self.close(quiet=True)
        if remove:
            with contextlib.suppress(OSError):  # the error that led here is the one to report
                os.unlink(self._path)  # noqa: PTH108 -- as a name, like the others

    def close(self, *, quiet: bool = False) -> None:
        """Raises SinkError, unless quiet: some file systems report a full disk or quota only here."""
        if self._soon is not None:
            os.close(self._soon)
            self._soon = None
        if not self._ours:
            return
        self.moved_to = self._elsewhere()
        self._ours = False
        try:
            os.close(self._fd)
        except OSError as error:
            if not quiet:
                raise SinkError.writing(self.name, error) from error

    def _elsewhere(self) -> str | None:
        """The file's name, if what is called so now is another one, or none."""
        here = os.fstat(self._fd)
        if not self.is_regular or not here.st_nlink:
            return None
        try:
            if os.path.samestat(os.stat(self._path), here):  # noqa: PTH116 -- as a name, like the others
                return None
        except OSError:
            pass  # nothing is called so any more
        return os.readlink(f"/proc/self/fd/{self._fd}")  # noqa: PTH115

    def _write_some(self, data: memoryview) -> int:
        fd = self._fd if self._soon is None else self._soon
        try:
            done = os.write(fd, data)
        except BlockingIOError:  # or standard output was made so by whoever shares it
            self._wait(fd)
            return 0
        self._stalled = None
        return done

    def _wait(self, fd: int) -> None:
        """A while for there to be room. Raises OSError when that is in vain."""
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if poll.poll(STEP) or not self._ending():
            return
        now = time.monotonic()
        self._stalled = self._stalled or now
        if now > self._stalled + PATIENCE:
            raise OSError(errno.ETIMEDOUT, "nobody reads it")

    def _cut(self, torn: int) -> None:
        if self.is_regular and torn:
            with contextlib.suppress(OSError):  # the error that led here is the one to report
                os.ftruncate(self._fd, os.lseek(self._fd, 0, os.SEEK_CUR) - torn)


def _without_waiting(fd: int) -> int | None:
    """The same pipe, opened so that writing does not wait, whatever others who share it do; None if that cannot be."""
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        return None
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None  # it is another user's, or has no reader any more


def file_type(path: str) -> int:
    """S_IFREG, S_IFIFO ...; 0 if nothing is there, or it cannot be looked at, of which opening it tells the reason."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116 -- as a name, like the others
    except OSError:
        return 0


def _open(path: str, environ: Mapping[str, str]) -> int:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        # No O_CREAT: with it, fs.protected_fifos and fs.protected_regular refuse others' files in /tmp even to root.
        flags = os.O_WRONLY | os.O_CLOEXEC
        if file_type(path) == stat.S_IFIFO:
            return _open_pipe(path, flags)
        try:
            fd = os.open(path, flags)
        except FileNotFoundError as error:
            raise OSError(error.errno, "it is a link to a file that is not there") from error
    else:
        _give_to_sudo_user(fd, environ)
    try:
        _take(fd)
    except OSError:
        os.close(fd)
        raise
    return fd


def _take(fd: int) -> None:
    """Empty a regular file, unless another Output has it, here or in another process: they would mix their blocks."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # not every file system has locks
        if error.errno == errno.EWOULDBLOCK:
            raise OSError(error.errno, "it is being written already") from error
    os.ftruncate(fd, 0)


def _open_pipe(path: str, flags: int) -> int:
    """A named pipe, when somebody reads it; in steps, so that a signal can end the waiting."""
    while True:
        try:
            fd = os.open(path, flags | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            time.sleep(PIPE_SECONDS)
        else:
            os.set_blocking(fd, True)
            return fd


def _give_to_sudo_user(fd: int, environ: Mapping[str, str]) -> None:
    user, group = environ.get("SUDO_UID", ""), environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and user.isdecimal() and group.isdecimal():
        # not every file system has owners, nor is every number one; the capture matters more
        with contextlib.suppress(OSError, ValueError, OverflowError):
            os.fchown(fd, int(user), int(group))
