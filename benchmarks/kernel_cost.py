"""What a clause costs in the kernel, for each packet that a veth pair receives: xcap against bpftrace.

Both run at netif_receive_skb: xcap at the raw tracepoint, as its hook `rx` does, bpftrace at the tracepoint of that
name, since version 0.17 has no raw ones. The kernel tells how long BPF programs run (kernel.bpf_stats_enabled).
"""

from __future__ import annotations

import re
import signal
import subprocess
from dataclasses import dataclass, field
from statistics import median

from common import fail, parser, require, running, table, wait_for, warn_if_busy
from filter_cost import WITH_TRACEFS, empty_program, run_time, statistics
from floods import PORT, Bench, bench

ROUNDS = 5
PACKETS = 100_000
GOAL = 150
"""ns: what the first clause, of which nothing matches, may cost a packet."""

SHOWN = re.compile(r"^@.*:( [1-9]|\s*$)", re.MULTILINE)
"""A map that has something in it: bpftrace also shows a count of 0."""

TEST = (
    "$skb = (struct sk_buff *)args->skbaddr; $ip = (struct iphdr *)($skb->head + $skb->network_header); "
    "$udp = (struct udphdr *)((uint8 *)$ip + 20); "
    "if ($skb->protocol == 8 && $ip->protocol == 17 && ($udp->source == %d || $udp->dest == %d)) { %s }"
)


@dataclass(frozen=True, slots=True)
class Clause:
    """The same in both languages, and how many of the packets it matches."""

    xcap: str
    bpftrace: str
    matches: bool


def swapped(port: int) -> int:
    """A port as it lies in the packet."""
    return port >> 8 | (port & 0xFF) << 8


def tested(port: int, action: str) -> str:
    """bpftrace's block with a test for a UDP port."""
    return TEST % (swapped(port), swapped(port), action)


CLAUSES = (
    Clause("rx /udp port 9/ { @ = count(); }", tested(9, "@ = count();"), matches=False),
    Clause(f"rx /udp port {PORT}/ {{ @ = count(); }}", tested(PORT, "@ = count();"), matches=True),
    Clause("rx { @ = count(); }", "@ = count();", matches=True),
    Clause("rx { @ = hist(len); }", "@ = hist(args->len);", matches=True),
    Clause(
        f"rx /udp port {PORT}/ {{ @[ip.src] = count(); }}", tested(PORT, "@[ntop($ip->saddr)] = count();"), matches=True
    ),
)


@dataclass(slots=True)
class Cost:
    """ns that the program ran for a packet, of each flood."""

    xcap: list[float] = field(default_factory=list)
    bpftrace: list[float] = field(default_factory=list)


def command(tool: str, place: Bench, clause: Clause) -> tuple[list[str], str]:
    """How a tool is started, and what it says when it is attached."""
    if tool == "xcap":
        return [place.xcap, "-e", clause.xcap], "attached"
    waiting = place.directory / "waiting"
    waiting.write_text("echo ready; exec sleep 1000")
    program = f"tracepoint:net:netif_receive_skb {{ {clause.bpftrace} }}"
    return [*WITH_TRACEFS, "bpftrace", "-e", program, "-c", f"/bin/sh {waiting}"], "ready"


def measure(tool: str, place: Bench, clause: Clause) -> float:
    """ns a run, in one flood."""
    words, ready = command(tool, place, clause)
    with running(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        wait_for(ready, process.stdout, process)
        with statistics():
            before, runs_before = run_time(process.pid)
            place.send()
            after, runs_after = run_time(process.pid)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[0]
    if (SHOWN.search(said) is not None) != clause.matches or runs_after - runs_before < PACKETS:
        fail(f"{tool} did not do what it should with '{clause.xcap}':\n{said}")
    return (after - before) / (runs_after - runs_before)


def main() -> None:
    options = parser(__doc__)
    options.set_defaults(rounds=ROUNDS)
    found = options.parse_args()
    require("cc", "tcpdump", "ip", "bpftrace")
    warn_if_busy()
    costs = {clause: Cost() for clause in CLAUSES}
    with bench(found.xcap, PACKETS) as place:
        place.send()
        empty = median(empty_program(place) for _ in range(found.rounds))
        for _ in range(found.rounds):
            for clause, cost in costs.items():
                cost.xcap.append(measure("xcap", place, clause))
                cost.bpftrace.append(measure("bpftrace", place, clause))
    version = subprocess.run(["bpftrace", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    print(f"ns a packet, medians of {found.rounds} floods of {PACKETS:,} UDP packets, against {version}")
    print(f"an empty program's run takes {empty:.0f} ns by this measure, which are in what follows\n")
    rows = []
    for clause, cost in costs.items():
        ours, theirs = median(cost.xcap), median(cost.bpftrace)
        rows.append([clause.xcap, f"{ours:.0f}", f"{theirs:.0f}", f"{ours / theirs:.2f}", f"{ours - empty:.0f}"])
    table(["clause", "xcap", "bpftrace", "ratio", "xcap without measuring"], rows)
    first = median(costs[CLAUSES[0]].xcap) - empty
    print(f"\n'{CLAUSES[0].xcap}', nothing matching: {first:.0f} ns; goal {GOAL}")


if __name__ == "__main__":
    main()
