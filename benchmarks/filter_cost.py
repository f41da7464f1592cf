"""What a filter costs the sender of 64-byte UDP packets, for each packet that it matches or does not match.

xcap counts at the raw tracepoint net_dev_start_xmit; bpftrace does with a filter written by hand, at the tracepoint of
that name, since version 0.17 has no raw ones; an AF_PACKET socket has xcap's filter attached and is never read. They
take turns. The kernel tells how long BPF programs run (kernel.bpf_stats_enabled); what a sender is slowed down by is
known of all three, and has what surrounds the program in it, but the machine's noise as well.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from common import DEVICE, SENDER_ADDRESS, fail, parser, require, running, table, wait_for
from floods import PORT, Bench, bench

from xcapscript.kernel.bpf import open_raw_tracepoint
from xcapscript.kernel.typed import load_typed

ROUNDS = 5
PACKETS = 100_000
GOAL = 100
"""ns: what a packet that does not match the first expression may cost at a raw tracepoint."""

HOOK = "net_dev_start_xmit"
STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
TOOLS = "xcap", "bpftrace", "socket"
COUNTED = re.compile(r"^(?:@count:|@:|counted) (\d+)$", re.MULTILINE)
RUN = re.compile(r"^run_time_ns:\t(\d+)\nrun_cnt:\t(\d+)$", re.MULTILINE)

BPFTRACE = (
    f"tracepoint:net:{HOOK} {{ $skb = (struct sk_buff *)args->skbaddr; "
    "$ip = (struct iphdr *)($skb->head + $skb->network_header); "
    "$udp = (struct udphdr *)($skb->head + $skb->transport_header); %s if (%s) { @ = count(); } }"
)
# A mount namespace of its own, with a tracefs, which it needs; it stays the same process.
WITH_TRACEFS = ["unshare", "--mount", "sh", "-c", 'mount -t tracefs tracefs /sys/kernel/tracing; exec "$@"', "sh"]

SOCKET = """
import ctypes, signal, socket, struct, sys
device, *program = sys.argv[1:]
code = b"".join(struct.pack("=HBBI", *map(int, line.split())) for line in program)
room = ctypes.create_string_buffer(code)
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
tap.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", len(program), ctypes.addressof(room)))  # SO_ATTACH_FILTER
tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # as small as can be: what matches is counted, and thrown away
tap.bind((device, 3))  # ETH_P_ALL
signal.signal(signal.SIGINT, lambda *_: None)
print("ready", flush=True)
signal.pause()
print("counted", sum(struct.unpack("II", tap.getsockopt(263, 6, 8))), flush=True)  # SOL_PACKET, PACKET_STATISTICS
"""

IN_NET_10 = "(($ip->saddr & 0xff) == 10 || ($ip->daddr & 0xff) == 10)"


def port(number: int) -> str:
    """A port in bpftrace's words, in the packet's byte order."""
    swapped = number >> 8 | (number & 0xFF) << 8
    return f"($udp->source == {swapped} || $udp->dest == {swapped})"


@dataclass(frozen=True, slots=True)
class Filter:
    """A tcpdump expression, and bpftrace's words for it: a condition, and what is computed before it."""

    name: str
    expression: str
    condition: str
    before: str = ""


def long_list(last: str) -> Filter:
    """Twenty hosts, of which one may be right."""
    addresses = [*(f"192.168.{number}.{number + 1}" for number in range(19)), last]
    values = [int.from_bytes(bytes(map(int, address.split("."))), "little") for address in addresses]
    condition = " || ".join(f"$from == {value} || $to == {value}" for value in values)
    return Filter(
        f"host (... or {last}), 20 of them",
        f"host ({' or '.join(addresses)})",
        f"$skb->protocol == 8 && ({condition})",
        "$from = $ip->saddr; $to = $ip->daddr;",
    )


def simple(expression: str, protocol: int, condition: str = "1") -> Filter:
    """An expression about a protocol over IPv4."""
    return Filter(expression, expression, f"$skb->protocol == 8 && $ip->protocol == {protocol} && {condition}")


MISSING = (
    simple("tcp port 80 and net 10.0.0.0/8", 6, f"{port(80)} && {IN_NET_10}"),
    simple("icmp", 1),
    simple("udp port 53", 17, port(53)),
    simple("tcp[tcpflags] & tcp-syn != 0", 6, "((struct tcphdr *)$udp)->syn"),
    long_list("192.168.99.1"),
)
MATCHING = (
    simple(f"udp port {PORT} and net 10.0.0.0/8", 17, f"{port(PORT)} && {IN_NET_10}"),
    simple("ip proto 17", 17),
    simple(f"udp port {PORT}", 17, port(PORT)),
    simple("udp[4:2] = 30", 17, "$udp->len == 0x1e00"),
    long_list(SENDER_ADDRESS),
)


@dataclass(slots=True)
class Cost:
    """Of each flood: ns that the program ran for a packet, and ns that the sender took longer for it."""

    run: list[float] = field(default_factory=list)
    slower: list[float] = field(default_factory=list)


@contextmanager
def statistics() -> Iterator[None]:
    """The kernel measures programs meanwhile."""
    before = STATS.read_text()
    STATS.write_text("1")
    try:
        yield
    finally:
        STATS.write_text(before)


def run_time(process: int) -> tuple[int, int]:
    """ns that the programs of a process have run, and how often, as the kernel tells in its descriptors."""
    ran = runs = 0
    for descriptor in Path(f"/proc/{process}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # of this process: the one that the names were read from
            if found := RUN.search(descriptor.read_text()):
                ran, runs = ran + int(found[1]), runs + int(found[2])
    return ran, runs


def per_packet(place: Bench) -> float:
    """ns that the sender takes for a packet."""
    return place.send().ns


def empty_program(place: Bench) -> float:
    """What the kernel measures of a program that does nothing: the measuring itself."""
    nothing = bytes.fromhex("b700000000000000 9500000000000000")  # r0 = 0; exit
    program = load_typed("nothing", HOOK, nothing)
    link = open_raw_tracepoint(None, program)
    try:
        with statistics():
            place.send()
            ran, count = run_time(os.getpid())
        return ran / count
    finally:
        os.close(link)
        os.close(program)


def command(tool: str, place: Bench, wanted: Filter) -> tuple[list[str], str]:
    """How a tool is started, and what it says when it is attached."""
    if tool == "xcap":
        return [place.xcap, "-e", f"rawtracepoint:{HOOK} /{wanted.expression}/ {{ count; }}"], "attached"
    if tool == "bpftrace":
        # it runs the command when all is attached, and ends with it
        waiting = place.directory / "waiting"
        waiting.write_text("echo ready; exec sleep 1000")
        program = BPFTRACE % (wanted.before, wanted.condition)
        return [*WITH_TRACEFS, "bpftrace", "-e", program, "-c", f"/bin/sh {waiting}"], "ready"
    inside = ["ip", "netns", "exec", place.sender]
    compiler = [*inside, "tcpdump", "-i", DEVICE, "-ddd", wanted.expression]
    lines = subprocess.run(compiler, check=True, capture_output=True, text=True).stdout.splitlines()
    return [*inside, sys.executable, "-c", SOCKET, DEVICE, *lines[1:]], "ready"


def measure(tool: str, place: Bench, wanted: Filter, cost: Cost) -> int:
    """Flood without and with the tool, then once more while the kernel measures; how many packets it counted."""
    alone = per_packet(place)
    words, ready = command(tool, place, wanted)
    with running(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        wait_for(ready, process.stdout, process)
        cost.slower.append(per_packet(place) - alone)
        with statistics():
            before, runs_before = run_time(process.pid)
            place.send()
            after, runs_after = run_time(process.pid)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[0]
    if runs_after > runs_before:
        cost.run.append((after - before) / (runs_after - runs_before))
    return sum(map(int, COUNTED.findall(said)))


def measure_all(place: Bench, wanted: Filter, rounds: int, *, matches: bool) -> dict[str, Cost]:
    """Each tool in turn, round by round."""
    costs = {tool: Cost() for tool in TOOLS}
    for _ in range(rounds):
        for tool, cost in costs.items():
            counted = measure(tool, place, wanted, cost)
            # each sees two floods, and perhaps a little of what others send
            if (matches and counted < 2 * PACKETS) or (not matches and counted > PACKETS / 100):
                fail(f"{tool} counted {counted} of {2 * PACKETS} packets with '{wanted.expression}'")
    return costs


def row(wanted: Filter, costs: dict[str, Cost]) -> list[str]:
    """A line of the table: medians."""
    runs = [median(costs[tool].run) for tool in TOOLS if costs[tool].run]
    slower = [median(costs[tool].slower) for tool in TOOLS]
    return [
        wanted.name,
        *(f"{value:.0f}" for value in runs),
        f"{runs[0] / runs[1]:.2f}",
        *(f"{value:.0f}" for value in slower),
        *(f"{slower[0] / value:.2f}" for value in slower[1:]),
    ]


def main() -> None:
    options = parser(__doc__)
    options.set_defaults(rounds=ROUNDS)
    found = options.parse_args()
    require("cc", "tcpdump", "ip", "bpftrace")
    with bench(found.xcap, PACKETS) as place:
        place.send()
        empty = median(empty_program(place) for _ in range(found.rounds))
        missing = {wanted: measure_all(place, wanted, found.rounds, matches=False) for wanted in MISSING}
        matching = {wanted: measure_all(place, wanted, found.rounds, matches=True) for wanted in MATCHING}

    version = subprocess.run(["bpftrace", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    print(f"ns for a packet, medians of {found.rounds} floods of {PACKETS:,} UDP packets, against {version}")
    print("run: of the program, as the kernel measures it; slower: what the sender takes longer")
    print(f"an empty program's run takes {empty:.0f} ns by this measure, which are in what follows\n")
    for title, measured in (("not matching", missing), ("matching: counted", matching)):
        head = [title, "run: xcap", "bpftrace", "ratio", "slower: xcap", "bpftrace", "socket", "ratio", "ratio"]
        table(head, [row(wanted, costs) for wanted, costs in measured.items()])
        print()
    first = median(missing[MISSING[0]]["xcap"].run)
    print(
        f"'{MISSING[0].expression}', not matching: {first:.0f} ns, without measuring {first - empty:.0f}; goal {GOAL}"
    )


if __name__ == "__main__":
    main()
