"""Packets shown by tcpdump while they are captured: it reads them from a pipe, and writes to standard output."""

from __future__ import annotations

import errno
import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Thread
from typing import IO, NoReturn

from xcapscript.sinks.base import HookCounts, SinkError
from xcapscript.sinks.output import PATIENCE, Output
from xcapscript.sinks.pcap import PcapSink, file_header
from xcapscript.unit import EventSpec

# before what the user gives, as that may end with an expression
_COMMAND = ("tcpdump", "-l", "-r", "-")
_STDOUT = 1
_BROKEN = b"tcpdump: Unable to write output: "
_STEP = 0.1
_PATIENCE = 10
"""Seconds that tcpdump has to say what it thinks of its options."""


def refusal(flags: Sequence[str]) -> str | None:
    """What tcpdump has against these options, by trying them on no packets; None if it takes them.

    Raises SinkError if there is no tcpdump.
    """
    with suppress(subprocess.TimeoutExpired), _told_if_missing():
        done = subprocess.run(
            [*_COMMAND, *flags], input=file_header(0), capture_output=True, check=False, timeout=_PATIENCE
        )
        if done.returncode:
            said = done.stderr.decode(errors="backslashreplace").splitlines()
            return next((line for line in said if line.startswith("tcpdump: ")), f"tcpdump: status {done.returncode}")
    return None


class TcpdumpSink:
    """A PacketSink that starts tcpdump with these options, and shows each batch at once.

    Raises SinkError, once: of tcpdump's own end with `errno` EPIPE, as of any reader that has seen enough.
    """

    def __init__(self, flags: Sequence[str], snaplen: int, ending: Callable[[], bool] = lambda: False) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            # Ctrl-C is ours alone: tcpdump ends when it has shown everything.
            with _told_if_missing():
                self._process = subprocess.Popen(
                    [*_COMMAND, *flags], stdin=reading, stderr=subprocess.PIPE, start_new_session=True
                )
        except SinkError:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        # a daemon: a second Ctrl-C ends everything at once
        self._complaints = Thread(target=_hand_on, args=(self._process.stderr,), daemon=True)
        self._complaints.start()
        self._ended = self._unread = False
        self._ending = ending
        self._pipe = PcapSink(Output("the pipe to tcpdump", descriptor=writing, ending=self._stuck), snaplen)

    def dump(self, spec: EventSpec, time: int, record: memoryview) -> None:
        self._pipe.dump(spec, time, record)

    def settle(self) -> None:
        self._attempt(self._pipe.settle)
        self._attempt(self._pipe.flush)

    def flush(self) -> None:
        """Tell if tcpdump has ended; `settle` has written everything."""
        if not self._ended and self._process.poll() is not None:
            self._fail()

    def close(self, counts: Mapping[str, HookCounts]) -> None:
        """Wait until tcpdump has shown everything."""
        self._attempt(lambda: self._pipe.close(counts))
        stuck = 0.0
        while self._process.poll() is None and stuck < PATIENCE and not self._unread:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STEP)
            stuck = stuck + _STEP if self._stuck() else 0.0
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            if not self._ended:
                self._give_up()
        if not self._ended and self._process.returncode:
            self._fail()
        self._complaints.join()

    def _attempt(self, what: Callable[[], None]) -> None:
        try:
            what()
        except SinkError as error:
            if error.errno == errno.ETIMEDOUT:
                self._give_up()
            if error.errno != errno.EPIPE:
                raise
            if not self._ended:
                self._process.wait()
                self._fail()

    def _stuck(self) -> bool:
        """Whether who is behind tcpdump, which may itself be slow, does not read, and the run is to end."""
        return self._ending() and _is_full(_STDOUT)

    def _give_up(self) -> NoReturn:
        self._ended = self._unread = True
        raise SinkError("cannot write standard output: nobody reads it", errno=errno.ETIMEDOUT)

    def _fail(self) -> None:
        self._ended = True
        self._complaints.join()
        status = self._process.returncode
        enough = status in (0, -signal.SIGPIPE) or _nobody_reads(_STDOUT)
        how = f"with status {status}" if status >= 0 else f"by signal {-status} ({signal.strsignal(-status)})"
        raise SinkError(f"tcpdump has ended {how}", errno=errno.EPIPE if enough else None)


def _hand_on(complaints: IO[bytes]) -> None:
    """What tcpdump says, to standard error; but not that its reader has seen enough, of which others die in silence."""
    with complaints:
        for line in complaints:
            if not (line.startswith(_BROKEN) and _nobody_reads(_STDOUT)):
                sys.stderr.write(line.decode(errors="backslashreplace"))
                sys.stderr.flush()


def _is_full(descriptor: int) -> bool:
    """Whether this is a pipe that has no room."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode) and not poll.poll(0)


def _nobody_reads(descriptor: int) -> bool:
    """Whether this is a pipe whose other end is closed."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


@contextmanager
def _told_if_missing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SinkError(f"cannot run tcpdump: {error.strerror}") from error
