"""Where xcap is tried: two network namespaces, a sender, xcap in the background, and its files counted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.kernel.network import Network, make_network, remove_network
from tests.reliability.attached import Id, held, ids

SOURCE = Path(__file__).parents[2] / "benchmarks/udp_flood.c"
ADDRESS, PORT = "10.78.0.2", 9999
HEADERS = 14 + 20 + 8
"""Bytes of Ethernet's, IPv4's and UDP's headers."""

NO_END = 10**12
PATIENCE = 60.0
GRACE = 10.0
"""Seconds that the kernel and orphans are given to go away."""

SINK = f"""
import signal, socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.bind(("", {PORT}))
print("bound", flush=True)
signal.pause()
"""
CUT_SHORT = "cut short"


class Broken(Exception):
    """A promise that xcap did not keep."""


@dataclass(frozen=True, slots=True)
class File:
    """What capinfos says of a file: packets, the time of the last one, and whether it ends in the middle of one."""

    packets: int
    latest: float | None
    cut: bool


def counted(path: Path) -> File:
    """Broken if capinfos finds more wrong with the file than that its end is missing."""
    command = ["capinfos", "-M", "-c", "-e", "-S", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    cut = CUT_SHORT in done.stderr
    packets = re.search(r"^Number of packets: +(\d+)", done.stdout, re.MULTILINE)
    if packets is None or (done.returncode and not cut):
        raise Broken(f"capinfos cannot read the file: {done.stderr}")
    latest = re.search(r"^(?:Last|Latest) packet time: +([\d.]+)", done.stdout, re.MULTILINE)
    return File(int(packets[1]), float(latest[1]) if latest else None, cut)


class Run:
    """An xcap in the background, with a session of its own, so that its whole family can be found."""

    def __init__(self, command: list[str]) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- closed with the run
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=self._said, start_new_session=True, stdin=subprocess.DEVNULL
        )

    def said(self) -> str:
        """All that it said on standard error so far."""
        return os.pread(self._said.fileno(), 1 << 20, 0).decode()

    @property
    def attached(self) -> bool:
        return " attached" in self.said()

    def wait_until_attached(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.attached:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Broken(f"nothing was attached: {self.said()}")
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """Send a signal to all its processes."""
        os.killpg(self.process.pid, number)

    def wait(self) -> int:
        """Its exit status, when it has ended by itself."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise Broken(f"it did not end: {self.said()}") from error

    def end(self) -> None:
        """As by Ctrl-C. Broken if it ends badly."""
        self.process.send_signal(signal.SIGINT)
        if status := self.wait():
            raise Broken(f"it ended with status {status}: {self.said()}")

    def number(self, pattern: str) -> int:
        """A number that it said at the end."""
        found = re.search(pattern, self.said())
        if found is None:
            raise Broken(f"it did not say '{pattern}': {self.said()}")
        return int(found[1])

    @property
    def lost(self) -> int:
        return self.number(r"(\d+) lost")

    def family(self) -> list[int]:
        """Its processes that are alive, orphans too."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # processes come and go
                state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.process.pid and state != "Z":
                    found.append(int(stat.parent.name))
        return found

    def close(self) -> None:
        """Leave nothing of it, whatever happened."""
        for process in self.family():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()
        self._said.close()


@dataclass(frozen=True, slots=True)
class Place:
    """Two hosts, of which one can flood the other."""

    xcap: str
    net: Network
    flood: Path
    directory: Path

    @contextmanager
    def capture(self, path: Path, *options: str) -> Iterator[Run]:
        """xcap, started with default settings, that writes the flood's packets."""
        program = f"tx /udp dst port {PORT}/ {{ dump; }}"
        run = Run([self.xcap, "-i", self.net.left, "-e", program, "-w", str(path), *options])
        try:
            yield run
        finally:
            run.close()

    def _command(self, options: tuple[str, ...], count: int, size: int) -> list[str]:
        words = [str(self.flood), "-c", "0", *options, ADDRESS, str(PORT), str(count), str(size - HEADERS)]
        return ["ip", "netns", "exec", self.net.a, *words]

    def send(self, count: int, *options: str, size: int = 64) -> tuple[int, float]:
        """Flood: how many packets were sent, and how many a second."""
        with self.sending(*options, count=count, size=size) as sender:
            return result(sender)

    @contextmanager
    def sending(self, *options: str, count: int = NO_END, size: int = 64) -> Iterator[subprocess.Popen[str]]:
        """A flood in the background, which ends with the block if not before."""
        command = self._command(options, count, size)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sender:
            try:
                yield sender
            finally:
                sender.terminate()


def result(sender: subprocess.Popen[str]) -> tuple[int, float]:
    """What a sender says at its end: packets sent, and packets a second."""
    said = sender.communicate()[0].split()
    return int(said[0]), int(said[0]) / float(said[1])


def leftovers(run: Run, before: set[Id]) -> str:
    """What is left of a run that has ended, once the kernel had time to clean up; nothing should be.

    Others may attach programs meanwhile; those are held by a process that is none of the run's.
    """
    deadline = time.monotonic() + GRACE
    while True:
        family = run.family()
        mine = set() if family else ids() - before - held()
        if not family and not mine:
            return ""
        if time.monotonic() > deadline:
            return f"processes {family}" if family else f"attached: {sorted(mine)}"
        time.sleep(0.1)


@contextmanager
def make_place(xcap: str) -> Iterator[Place]:
    """The sender compiled, the network made, and somebody there who takes what is sent."""
    net = make_network()
    try:
        with tempfile.TemporaryDirectory(prefix="xcap-reliability-") as name:
            flood = Path(name, "udp_flood")
            subprocess.run(["cc", "-O2", "-Wall", "-o", str(flood), str(SOURCE)], check=True)
            command = ["ip", "netns", "exec", net.b, sys.executable, "-c", SINK]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sink:
                assert sink.stdout is not None
                sink.stdout.readline()
                try:
                    yield Place(xcap, net, flood, Path(name))
                finally:
                    sink.terminate()
    finally:
        remove_network(net)
