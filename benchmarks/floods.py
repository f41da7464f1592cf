"""A place for floods of UDP packets over a veth pair: the senders, their figures, and files counted by tcpdump."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common import RECEIVER_ADDRESS, namespaces, wait_for

PORT = 9999
PORTS = 100
"""The receiver takes packets at so many ports, from PORT on."""

SIZE = 64
HEADERS = 14 + 20 + 8
"""Bytes of Ethernet's, IPv4's and UDP's headers."""

# What is sent here is received by sockets that nobody reads: they take no part in what is measured.
SINK = f"""
import signal, socket
sockets = [socket.socket(type=socket.SOCK_DGRAM) for _ in range({PORTS})]
for number, s in enumerate(sockets):
    s.bind(("", {PORT} + number))
print("bound", flush=True)
signal.pause()
"""


@dataclass(frozen=True, slots=True)
class Flood:
    """What senders did: packets sent, packets a second, and the CPU time that it took, in seconds."""

    sent: int
    rate: float
    cpu: float

    @property
    def ns(self) -> float:
        """CPU time of the senders a packet, in ns."""
        return self.cpu / self.sent * 1e9


@dataclass(frozen=True, slots=True)
class Bench:
    """Where floods take place."""

    xcap: str
    sender: str
    flood: Path
    directory: Path
    packets: int

    def send(self, *, size: int = SIZE, senders: int = 1, ports: int = 1) -> Flood:
        """Flood once, with packets of `size` bytes on the wire; each sender has a CPU of its own, the first ones."""
        count = self.packets // senders
        arguments = [RECEIVER_ADDRESS, str(PORT), str(count), str(size - HEADERS)]
        before = _softirq_seconds()
        running = []
        for cpu in range(senders):
            flood = [str(self.flood), "-c", str(cpu), "-p", str(ports), *arguments]
            command = ["ip", "netns", "exec", self.sender, *flood]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        said = [process.communicate()[0].split() for process in running]
        if any(process.returncode for process in running):
            sys.exit(f"{Path(sys.argv[0]).name}: a sender failed")
        sent = sum(int(words[0]) for words in said)
        rate = sum(int(words[0]) / float(words[1]) for words in said)
        # the kernel may hand the receiving half over to a thread of its own
        return Flood(sent, rate, sum(float(words[2]) for words in said) + _softirq_seconds() - before)


def _softirq_seconds() -> float:
    """CPU time of the threads that do the network's work when there is too much of it."""
    total = 0
    for process in _ksoftirqd():
        total += int(Path(f"/proc/{process}/schedstat").read_text().split()[0])
    return total / 1e9


def _ksoftirqd() -> list[int]:
    """The process ids of these threads, which are children of kthreadd, process 2."""
    children = Path("/proc/2/task/2/children").read_text().split()
    return [int(child) for child in children if Path(f"/proc/{child}/comm").read_text().startswith("ksoftirqd/")]


def packets_in(path: Path) -> int:
    """How many packets tcpdump finds in a file."""
    command = ["tcpdump", "--count", "-r", str(path)]
    counted = subprocess.run(command, check=False, capture_output=True, text=True)
    if counted.returncode:
        sys.exit(f"{Path(sys.argv[0]).name}: {counted.stderr}")
    return int(counted.stdout.split()[0])


@contextmanager
def bench(xcap: str, packets: int) -> Iterator[Bench]:
    """The sender compiled, the network made, and somebody there who takes what is sent."""
    with tempfile.TemporaryDirectory(prefix="xcap-bench-", dir="/tmp") as name, namespaces() as (sender, receiver):
        directory = Path(name)
        flood = directory / "udp_flood"
        source = Path(__file__).with_name("udp_flood.c")
        subprocess.run(["cc", "-O2", "-Wall", "-o", str(flood), str(source)], check=True)
        command = ["ip", "netns", "exec", receiver, sys.executable, "-c", SINK]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sink:
            assert sink.stdout is not None
            wait_for("bound", sink.stdout, sink)
            try:
                yield Bench(xcap, sender, flood, directory, packets)
            finally:
                sink.terminate()
