"""What the benchmarks share: a clean environment, two namespaces joined by a veth pair, CPU times, and tables."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

ROOT = Path(__file__).resolve().parent.parent

SENDER_ADDRESS, RECEIVER_ADDRESS = "10.79.0.1", "10.79.0.2"
LOOK, BUSY = 1.0, 0.05
"""Seconds of looking whether the machine is busy, and the share of CPU time from which on it is."""

DEVICE = f"xb-{os.getpid()}"
"""The sender's end of the veth pair; other benchmarks on this machine have other ones."""


def fail(message: str) -> NoReturn:
    """One line, and status 3: this machine or user cannot do it."""
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    raise SystemExit(3)


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--xcap", default=str(ROOT / ".venv/bin/xcap"), help="the command to measure (%(default)s)")
    made.add_argument("--rounds", type=int, help="how often each is run (%(default)s)")
    return made


def require(*tools: str) -> None:
    """Stop with a clear word unless we are root and all tools are there."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if os.geteuid() != 0:
        fail("attaching BPF programs needs root")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        fail(f"not installed: {' '.join(missing)}; as root, 'make bench-setup' installs what the benchmarks use")


def warn_if_busy() -> None:
    """Figures taken beside other work mean little."""
    idle, total = _cpu_times()
    time.sleep(LOOK)
    idle_then, total_then = _cpu_times()
    busy = 1 - (idle_then - idle) / max(1, total_then - total)
    if busy > BUSY:
        print(f"note: something else takes {busy:.0%} of this machine's CPU time; the figures will be off\n")


def _cpu_times() -> tuple[int, int]:
    """Idle and all ticks of all CPUs since boot: proc(5), /proc/stat."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def environment() -> dict[str, str]:
    """As on a user's machine: Python keeps the byte code that it has compiled."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@contextmanager
def running(command: Sequence[str], *, stdout: int | None = None, stderr: int) -> Iterator[subprocess.Popen[str]]:
    """A program in the background; if something goes wrong here, it ends as well."""
    with subprocess.Popen(command, env=environment(), stdout=stdout, stderr=stderr, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def wait_for(words: str, stream: IO[str], process: subprocess.Popen[str]) -> float:
    """Read lines until one has the words; the time at which it came (CLOCK_MONOTONIC, s)."""
    seen = []
    for line in stream:
        now = time.monotonic()
        if words in line:
            return now
        seen.append(line)
    process.wait()
    fail(f"{process.args!r} ended with status {process.returncode} before it said '{words}':\n{''.join(seen)}")


def stop(process: subprocess.Popen[str]) -> str:
    """End it as by Ctrl-C; what it still said on standard error."""
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=60)[1] or ""


def cpu_seconds(process: int) -> float:
    """CPU time, user and system, of all threads of a process and of its children so far."""
    seconds = 0.0
    for task in Path(f"/proc/{process}/task").iterdir():
        seconds += int((task / "schedstat").read_text().split()[0]) / 1e9
        seconds += sum(cpu_seconds(int(child)) for child in (task / "children").read_text().split())
    return seconds


def ip(*words: str) -> None:
    """Run the command of that name."""
    subprocess.run(["ip", *words], check=True)


def mac_address(namespace: str, device: str) -> str:
    """The hardware address of a device."""
    command = ["ip", "netns", "exec", namespace, "cat", f"/sys/class/net/{device}/address"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def namespaces() -> Iterator[tuple[str, str]]:
    """A sender's and a receiver's namespace, joined by a veth pair, without IPv6 and its own packets."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was made is removed then, too
    sender, receiver = (f"xcap-bench-{role}-{os.getpid()}" for role in ("a", "b"))
    made: list[str] = []
    try:
        for name in (sender, receiver):
            ip("netns", "add", name)
            made.append(name)
            subprocess.run(
                ["ip", "netns", "exec", name, "sysctl", "-q", "-w", "net.ipv6.conf.default.disable_ipv6=1"], check=False
            )
        ip("-n", sender, "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", receiver)
        for name, address in ((sender, SENDER_ADDRESS), (receiver, RECEIVER_ADDRESS)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", DEVICE)
            ip("-n", name, "link", "set", DEVICE, "up")
        # Nobody has to ask who has the address, at no point of a measurement.
        for name, other, address in ((sender, receiver, RECEIVER_ADDRESS), (receiver, sender, SENDER_ADDRESS)):
            ip("-n", name, "neighbour", "add", address, "lladdr", mac_address(other, DEVICE), "dev", DEVICE)
        yield sender, receiver
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells]))
