"""What capturing costs when senders flood a veth pair with UDP packets: xcap against tcpdump and dumpcap.

They take turns, and before each of them the same flood is sent with nobody there. What is counted is CPU time: how
much more of it the senders need, and what the reader uses, from when it is ready until it has nothing left to do.
How many packets were written is told by tcpdump. docs/performance.md says what the table means.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from statistics import median

from common import DEVICE, cpu_seconds, fail, parser, require, running, stop, table, wait_for, warn_if_busy
from filter_cost import BPFTRACE, WITH_TRACEFS, empty_program, port, run_time, statistics
from floods import PORT, PORTS, Bench, Flood, bench, packets_in

ROUNDS = 5
PACKETS = 300_000
SETTLE, LOOK, IDLE, PATIENCE = 1.1, 0.2, 0.02, 20.0
"""Seconds that a reader is given at least for what is still in its buffer, which tcpdump looks at once a second; then
it is done when in so many seconds it has used less than so many of CPU time, and at the latest after so many."""

READERS = "xcap", "tcpdump", "dumpcap"
LOST = {
    "xcap": re.compile(r"(\d+) lost"),
    "tcpdump": re.compile(r"(\d+) packets? dropped by kernel"),
    "dumpcap": re.compile(r"received/dropped on interface '.*': \d+/(\d+)"),
}
RATIO_GOAL = 0.5
FULL = 0


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of flood, and what is wanted of it."""

    size: int
    snaplen: int
    senders: int
    some: bool

    @property
    def name(self) -> str:
        kept = str(self.snaplen) if self.snaplen != FULL else "full"
        return f"{self.size}-{kept}-{self.senders}-{'1%' if self.some else 'all'}"

    @property
    def expression(self) -> str:
        return f"udp port {PORT}"

    @property
    def ports(self) -> int:
        return PORTS if self.some else 1


CASES = {
    case.name: case
    for case in (Case(*values) for values in product((64, 512, 1400), (128, FULL), (1, 2), (False, True)))
}
USUAL = (
    *("64-128-1-all", "512-128-1-all", "1400-128-1-all", "512-full-1-all", "1400-full-1-all"),
    *("64-128-2-all", "1400-full-2-all", "64-128-1-1%", "64-128-2-1%"),
)
"""Without --case: about a minute a round."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A flood with a reader, beside the same without: `reader` is CPU time in seconds."""

    case: Case
    alone: Flood
    flood: Flood
    reader: float
    written: int
    lost: int

    @property
    def wanted(self) -> int:
        """How many of the packets that were sent the expression matches."""
        return self.flood.sent // self.case.ports

    @property
    def per(self) -> int:
        """What costs are divided by: packets captured, or, where most are not wanted, packets sent."""
        return self.flood.sent if self.case.some else max(1, self.written)

    @property
    def slower(self) -> float:
        """ns that the senders took longer."""
        return (self.flood.ns - self.alone.ns) * self.flood.sent / self.per

    @property
    def read(self) -> float:
        """ns that the reader took."""
        return self.reader / self.per * 1e9

    @property
    def total(self) -> float:
        return self.slower + self.read


Results = dict[str, list[Captured]]


def command(reader: str, case: Case, place: Bench, path: Path) -> tuple[list[str], str]:
    """How a reader is started, and what it says when it captures."""
    snaplen = ["-s", str(case.snaplen)]
    if reader == "xcap":
        # another flood on this machine is not ours to count
        program = ["-i", DEVICE, "-e", f"tx /{case.expression}/ {{ dump; }}"]
        return [place.xcap, *program, *snaplen, "-w", str(path)], "attached"
    inside = ["ip", "netns", "exec", place.sender]
    if reader == "tcpdump":
        # no other user takes over, so that the file can be written here
        words = ["tcpdump", "-i", DEVICE, *snaplen, "-w", str(path), "-Z", "root", case.expression]
        return [*inside, *words], "listening on"
    return [*inside, "dumpcap", "-q", "-i", DEVICE, *snaplen, "-w", str(path), "-f", case.expression], "File:"


def settled(process: int) -> float:
    """The CPU time of a reader, once it has nothing left to do."""
    time.sleep(SETTLE)
    deadline = time.monotonic() + PATIENCE
    used = cpu_seconds(process)
    while time.monotonic() < deadline:
        time.sleep(LOOK)
        before, used = used, cpu_seconds(process)
        if used - before < IDLE:
            break
    return used


def one_round(case: Case, place: Bench) -> dict[str, Captured]:
    """Each reader once. Of the floods with nobody there, the one in the middle counts for all."""
    captures = {reader: capture(reader, case, place) for reader in READERS}
    alone = sorted((captured.alone for captured in captures.values()), key=lambda flood: flood.ns)
    return {reader: replace(captured, alone=alone[len(alone) // 2]) for reader, captured in captures.items()}


def capture(reader: str, case: Case, place: Bench) -> Captured:
    """Flood without and with the reader."""
    alone = place.send(size=case.size, senders=case.senders, ports=case.ports)
    path = place.directory / f"{reader}.pcapng"
    words, ready = command(reader, case, place, path)
    with running(words, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        wait_for(ready, process.stderr, process)
        before = cpu_seconds(process.pid)
        flood = place.send(size=case.size, senders=case.senders, ports=case.ports)
        used = settled(process.pid) - before
        said = stop(process)
    lost = LOST[reader].search(said)
    if lost is None:
        fail(f"{reader} did not say how many packets it lost:\n{said}")
    written = packets_in(path)
    path.unlink()
    return Captured(case, alone, flood, used, written, int(lost[1]))


def ratio(results: Results, reader: str, what: str) -> float | None:
    """Of one figure to tcpdump's of the same round: the median; None where tcpdump's is lost in the noise."""
    pairs = zip(results[reader], results["tcpdump"], strict=True)
    found = [getattr(ours, what) / getattr(theirs, what) for ours, theirs in pairs if getattr(theirs, what) > 0]
    return median(found) if found else None


def print_where(packets: int, rounds: int) -> None:
    """What is compared, and where: figures mean nothing without."""
    versions = []
    for tool in ("tcpdump", "dumpcap"):
        said = subprocess.run([tool, "--version"], check=True, capture_output=True, text=True)
        versions.append((said.stdout + said.stderr).splitlines()[0].rstrip("."))
    print(f"Linux {os.uname().release}, {os.cpu_count()} CPUs; {'; '.join(versions)}")
    print(f"{packets:,} UDP packets a flood, {rounds} rounds\n", flush=True)


def rows(case: Case, results: Results) -> list[list[str]]:
    """The lines of the table for a case: medians, except that lost packets are those of all rounds."""
    alone = [captured.alone for captured in results["xcap"]]
    cells = [f"{median(flood.rate for flood in alone) / 1000:.0f}", f"{median(flood.ns for flood in alone):.0f}"]
    made = [[f"{case.name}  nobody", *cells, *[""] * 7]]
    for reader, captures in results.items():
        figures = (median(getattr(captured, what) for captured in captures) for what in ("slower", "read", "total"))
        ratios = (ratio(results, reader, what) for what in ("slower", "read", "total"))
        rate = median(captured.flood.rate for captured in captures)
        ns = median(captured.flood.ns for captured in captures)
        made.append(
            [
                f"{case.name}  {reader}",
                *(f"{rate / 1000:.0f}", f"{ns:.0f}"),
                *(f"{figure:.0f}" for figure in figures),
                f"{sum(captured.lost for captured in captures):,}",
                *("-" if value is None else f"{value:.2f}" for value in ratios),
            ]
        )
    return made


def kernel_part(place: Bench, tool: str, case: Case) -> float:
    """ns that the program of a tool runs for a packet, as the kernel tells. bpftrace only counts."""
    if tool == "xcap":
        words, ready = command(tool, case, place, Path("/dev/null"))
    else:
        waiting = place.directory / "waiting"
        waiting.write_text("echo ready; exec sleep 1000")
        condition = f"$skb->protocol == 8 && $ip->protocol == 17 && {port(PORT)}"
        words = [*WITH_TRACEFS, "bpftrace", "-e", BPFTRACE % ("", condition), "-c", f"/bin/sh {waiting}"]
        ready = "ready"
    with running(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        wait_for(ready, process.stdout, process)
        with statistics():
            before, runs_before = run_time(process.pid)
            place.send(size=case.size, ports=case.ports)
            after, runs_after = run_time(process.pid)
        stop(process)
    if runs_after == runs_before:
        fail(f"{tool}'s program did not run")
    return (after - before) / (runs_after - runs_before)


def print_kernel_part(place: Bench, rounds: int) -> None:
    """What the programs cost in the kernel."""
    if not shutil.which("bpftrace"):
        print("\nbpftrace is not installed, and so the kernel part is not compared")
        return
    measured: dict[str, tuple[list[float], list[float]]] = {}
    for _ in range(rounds):
        for name in ("64-128-1-all", "64-128-1-1%"):
            ours, theirs = measured.setdefault(name, ([], []))
            ours.append(kernel_part(place, "xcap", CASES[name]))
            theirs.append(kernel_part(place, "bpftrace", CASES[name]))
    empty = empty_program(place)
    print(f"\nThe program in the kernel alone, ns a packet sent, of which {empty:.0f} are the measuring:\n")
    head = ["case", "xcap, dump", "bpftrace, count only"]
    table(head, [[name, *(f"{median(values):.0f}" for values in both)] for name, both in measured.items()])


@dataclass(slots=True)
class Goal:
    """A goal, and the cases in which it is missed."""

    text: str
    missed: list[str] = field(default_factory=list)

    def show(self) -> str:
        return f"{'no ' if self.missed else 'yes'}  {self.text}" + (
            f": missed in {', '.join(self.missed)}" if self.missed else ""
        )


def goals(measured: dict[Case, Results]) -> list[Goal]:
    """What was aimed at, and whether it was reached."""
    total = Goal(f"total CPU time at most {RATIO_GOAL} of tcpdump's")
    slower = Goal(f"senders slowed down at most {RATIO_GOAL} as much as by tcpdump")
    lost = Goal("no loss where tcpdump has none")
    exact = Goal("written + lost == wanted, of each flood")
    for case, results in measured.items():
        for goal, what in ((total, "total"), (slower, "slower")):
            found = ratio(results, "xcap", what)
            if found is None:
                goal.missed.append(f"{case.name} (not known)")
            elif found > RATIO_GOAL:
                goal.missed.append(f"{case.name} ({found:.2f})")
        if any(c.lost for c in results["xcap"]) and not any(c.lost for c in results["tcpdump"]):
            lost.missed.append(case.name)
        wrong = [c for c in results["xcap"] if c.written + c.lost != c.wanted]
        exact.missed += [f"{case.name} ({c.written:,} + {c.lost:,} of {c.wanted:,})" for c in wrong]
    return [total, slower, lost, exact]


def chosen(patterns: list[str] | None) -> list[Case]:
    """The cases that match."""
    if not patterns:
        return [CASES[name] for name in USUAL]
    found = [case for name, case in CASES.items() if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if not found:
        fail(f"there is no such case; there are: {' '.join(CASES)}")
    return found


def arguments() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument(
        "--case",
        action="append",
        metavar="PATTERN",
        help="SIZE-SNAPLEN-SENDERS-MATCH, such as '64-*' or '*-full-1-all'; may be repeated",
    )
    options.add_argument("--packets", type=int, default=PACKETS, help="sent in each flood (%(default)s)")
    options.set_defaults(rounds=ROUNDS)
    found = options.parse_args()
    if found.packets < 2 * PORTS or found.packets % (2 * PORTS):
        options.error(f"--packets: a multiple of {2 * PORTS}, so that senders and ports share alike")
    return found


def main() -> None:
    found = arguments()
    cases = chosen(found.case)
    require("cc", "tcpdump", "dumpcap", "ip")
    if (os.cpu_count() or 1) < max(case.senders for case in cases):
        fail("two senders need two CPUs")
    warn_if_busy()
    measured: dict[Case, Results] = {case: {reader: [] for reader in READERS} for case in cases}
    with bench(found.xcap, found.packets) as place:
        place.send()
        print_where(found.packets, found.rounds)
        for number in range(found.rounds):
            for case, results in measured.items():
                if sys.stderr.isatty():
                    print(f"\rround {number + 1}: {case.name:20}", end="", file=sys.stderr, flush=True)
                for reader, captured in one_round(case, place).items():
                    results[reader].append(captured)
        head = ["case", "thousand/s", "sender ns", "slower ns", "reader ns", "total ns", "lost"]
        head += ["slower / tcpdump", "reader / tcpdump", "total / tcpdump"]
        table(head, [row for case, results in measured.items() for row in rows(case, results)])
        print_kernel_part(place, found.rounds)
    print()
    for goal in goals(measured):
        print(goal.show())


if __name__ == "__main__":
    main()
