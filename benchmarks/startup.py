"""How long it takes from the start of a one-liner until its probe is attached, against bpftrace with its like.

bpftrace has no tcpdump expressions: once it counts all drops, and once those of ICMP, which it finds by the kernel's
structures. It writes no packets. They take turns, and a first run of each, which fills the caches, does not count.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from common import environment, fail, parser, require, stop, table, wait_for, warn_if_busy

ROUNDS = 11
XCAP_PROGRAM = "drop /icmp/ { dump; count(reason, kstack(3)); }"
COUNT = "@[args->reason, kstack(3)] = count();"
BPFTRACE_PROGRAMS = {
    "bpftrace, all drops": f"tracepoint:skb:kfree_skb {{ {COUNT} }}",
    "bpftrace, ICMP drops": "tracepoint:skb:kfree_skb { $skb = (struct sk_buff *)args->skbaddr; "
    f"$ip = (struct iphdr *)($skb->head + $skb->network_header); if ($ip->protocol == 1) {{ {COUNT} }} }}",
}
TRACEFS = Path("/sys/kernel/tracing")
READY = "ready"


def start_xcap(xcap: str, directory: str) -> float:
    """Seconds until xcap says that its probe is attached."""
    command = [xcap, "-e", XCAP_PROGRAM, "-w", f"{directory}/drops.pcapng"]
    begin = time.monotonic()
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        end = wait_for("attached", process.stderr, process)
        stop(process)
    return end - begin


def start_bpftrace(program: str, echo: str) -> float:
    """Seconds until bpftrace runs the command of -c: that it does when all is attached, unlike BEGIN."""
    command = ["bpftrace", "-e", program, "-c", f"{echo} {READY}"]
    begin = time.monotonic()
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        end = wait_for(READY, process.stdout, process)
        process.communicate(timeout=60)
    return end - begin


def with_tracefs() -> None:
    """bpftrace needs a mounted tracefs: where there is none, go on in a mount namespace that has one."""
    if (TRACEFS / "events").is_dir() or (TRACEFS.parent / "debug/tracing/events").is_dir():
        return
    if "--tracefs-is-mounted" in sys.argv:
        fail(f"tracefs cannot be mounted at {TRACEFS}")
    script = f'mount -t tracefs tracefs {TRACEFS}; exec "$@" --tracefs-is-mounted'
    again = ["sh", "-c", script, "sh", sys.executable, *sys.argv]
    os.execvp("unshare", ["unshare", "--mount", *again])


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--tracefs-is-mounted", action="store_true", help="used by this script itself")
    options.set_defaults(rounds=ROUNDS)
    found = options.parse_args()
    require("bpftrace")
    with_tracefs()
    warn_if_busy()
    echo = shutil.which("echo") or "/bin/echo"
    with tempfile.TemporaryDirectory() as directory:
        measures: dict[str, Callable[[], float]] = {"xcap": partial(start_xcap, found.xcap, directory)}
        measures |= {name: partial(start_bpftrace, text, echo) for name, text in BPFTRACE_PROGRAMS.items()}
        times: dict[str, list[float]] = {name: [] for name in measures}
        for measure in measures.values():
            measure()
        for _ in range(found.rounds):
            for name, measure in measures.items():
                times[name].append(measure())

    version = subprocess.run(["bpftrace", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    print(f"xcap: xcap -e '{XCAP_PROGRAM}' -w FILE")
    for name, text in BPFTRACE_PROGRAMS.items():
        print(f"{name} ({version}): {text}")
    head = [f"seconds until attached ({found.rounds} runs)", "median", "least", "most", "xcap / this"]
    ours = median(times["xcap"])
    print()
    table(
        head, [[n, *(f"{f(t):.3f}" for f in (median, min, max)), f"{ours / median(t):.2f}"] for n, t in times.items()]
    )


if __name__ == "__main__":
    main()
