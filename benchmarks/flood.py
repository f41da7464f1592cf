"""What capturing costs when a sender floods a veth pair with 64-byte UDP packets: xcap against tcpdump.

Each of them writes the first 128 bytes of every packet to a file. They and nobody take turns. The reader's CPU time is
that from when it is ready until a second after the last packet; who wrote how many packets is told by tcpdump.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from common import (
    DEVICE,
    RECEIVER_ADDRESS,
    cpu_seconds,
    environment,
    namespaces,
    parser,
    require,
    stop,
    table,
    wait_for,
    warn_if_busy,
)

ROUNDS = 5
PACKETS = 300_000
PORT = 9999
PAYLOAD = 64 - 14 - 20 - 8
"""Ethernet's, IPv4's and UDP's headers make it 64 bytes on the wire."""

SNAPLEN = 128
SETTLE = 1.0
"""Seconds that a reader is given for what is still in its buffer."""

# Another flood on this machine is not ours to count.
PROGRAM = "-i", DEVICE, "-e", f"tx /udp port {PORT}/ {{ dump; }}"
# What is sent here is received by a socket that nobody reads: it takes no part in what is measured.
SINK = f"""
import signal, socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.bind(("", {PORT}))
print("bound", flush=True)
signal.pause()
"""
LOST = {"xcap": re.compile(r"(\d+) lost"), "tcpdump": re.compile(r"(\d+) packets? dropped by kernel")}


@dataclass(frozen=True, slots=True)
class Flood:
    """One flood: what was sent, at which rate, and what the reader made of it."""

    sent: int
    rate: float
    written: int = 0
    lost: int = 0
    cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class Bench:
    """Where floods take place."""

    xcap: str
    sender: str
    flood: Path
    directory: Path
    packets: int = PACKETS

    def send(self) -> tuple[int, float]:
        """Flood once: packets sent, and packets a second."""
        arguments = [str(self.flood), RECEIVER_ADDRESS, str(PORT), str(self.packets), str(PAYLOAD)]
        command = ["ip", "netns", "exec", self.sender, *arguments]
        sent, seconds = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        return int(sent), int(sent) / float(seconds)

    def nobody(self) -> Flood:
        """Flood without a reader."""
        return Flood(*self.send())

    def captured_by(self, reader: str) -> Flood:
        """Flood with a reader: 'xcap' or 'tcpdump'."""
        path = self.directory / reader
        if reader == "xcap":
            command, ready = [self.xcap, *PROGRAM, "-s", str(SNAPLEN), "-w", str(path)], "attached"
        else:
            tcpdump = ["tcpdump", "-i", DEVICE, "-s", str(SNAPLEN), "-w", str(path), f"udp port {PORT}"]
            # No other user takes over, so that the file can be written here.
            command, ready = ["ip", "netns", "exec", self.sender, *tcpdump, "-Z", "root"], "listening on"
        with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            wait_for(ready, process.stderr, process)
            before = cpu_seconds(process.pid)
            sent, rate = self.send()
            time.sleep(SETTLE)
            cpu = cpu_seconds(process.pid) - before
            said = stop(process)
        lost = LOST[reader].search(said)
        if lost is None:
            sys.exit(f"flood.py: {reader} did not say how many packets it lost:\n{said}")
        return Flood(sent, rate, packets_in(path), int(lost[1]), cpu)


def packets_in(path: Path) -> int:
    """How many packets tcpdump finds in a file."""
    counted = subprocess.run(["tcpdump", "--count", "-r", str(path)], check=True, capture_output=True, text=True)
    return int(counted.stdout.split()[0])


@contextmanager
def bench(xcap: str, packets: int = PACKETS) -> Iterator[Bench]:
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


def row(name: str, floods: list[Flood], alone: float) -> list[str]:
    """A line of the table: medians, except that lost packets are those of all rounds."""
    rate = median(flood.rate for flood in floods)
    cells = [name, f"{rate / 1000:.0f}", f"{rate / alone:.2f}"]
    if name == "nobody":
        return [*cells, "", "", "", ""]
    per_packet = median(flood.cpu / flood.sent for flood in floods) * 1e6
    sums = (sum(getattr(flood, what) for flood in floods) for what in ("sent", "written", "lost"))
    return [*cells, *(f"{number:,}" for number in sums), f"{per_packet:.2f}"]


def main() -> None:
    options = parser(__doc__)
    options.set_defaults(rounds=ROUNDS)
    found = options.parse_args()
    require("cc", "tcpdump", "ip")
    warn_if_busy()
    floods: dict[str, list[Flood]] = {"nobody": [], "xcap": [], "tcpdump": []}
    with bench(found.xcap) as place:
        place.nobody()
        for _ in range(found.rounds):
            for name, measured in floods.items():
                measured.append(place.nobody() if name == "nobody" else place.captured_by(name))

    print(f"{PACKETS:,} UDP packets of 64 bytes, {SNAPLEN} kept of each, {found.rounds} rounds\n")
    alone = median(flood.rate for flood in floods["nobody"])
    head = ["who captures", "sender, thousand/s", "of nobody's", "sent", "written", "lost", "reader's CPU, us/packet"]
    table(head, [row(name, measured, alone) for name, measured in floods.items()])
    rate, cpu = (
        median(getattr(flood, what) for flood in floods["xcap"])
        / median(getattr(flood, what) for flood in floods["tcpdump"])
        for what in ("rate", "cpu")
    )
    print(f"\nxcap / tcpdump, medians: the sender's rate {rate:.2f}, the reader's CPU {cpu:.2f}")
    for reader in ("xcap", "tcpdump"):
        for flood in floods[reader]:
            if flood.written + flood.lost != flood.sent:
                print(f"{reader}: of {flood.sent} sent, {flood.written} written + {flood.lost} lost")


if __name__ == "__main__":
    main()
