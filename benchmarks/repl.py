"""How long a key takes from the keyboard until the prompt shows it, while clauses print a flood of packets above it.

The terminal is made here, a pty: it answers where its cursor is, as terminals do, and takes bytes as fast as they come,
or at the speed of a slow line. A flood of UDP packets passes a veth pair; each is an event that is to be shown.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import statistics
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from common import DEVICE, environment, fail, parser, require, table, warn_if_busy
from floods import HEADERS, PORT, RECEIVER_ADDRESS, SIZE, Bench, bench

RATES = (0, 1_000, 10_000, 100_000, 300_000)
KEYS = 100
BETWEEN = 0.05
"""Seconds between two keys: twenty a second is fast typing."""

PATIENCE = 60
SLOW = 100_000
"""Bytes a second: a bad line."""

GOAL = 0.050
PROGRAM = "tx /udp/ { print; @[ifname] = count(); }"
WHERE = b"\x1b[6n"
ROWS, COLUMNS = 40, 120


@dataclass
class Keyboard:
    """The other end of the terminal at which xcap is open."""

    descriptor: int
    slow: int | None = None
    seen: bytes = b""
    _paid: float = field(default_factory=time.monotonic)

    def take(self, seconds: float) -> bytes:
        """What xcap writes within so many seconds, or the first of it; where the cursor is, is answered."""
        ready, _, _ = select.select([self.descriptor], [], [], max(0.0, seconds))
        if not ready:
            return b""
        data = os.read(self.descriptor, 4096 if self.slow is None else 256)
        if self.slow is not None:
            self._paid = max(self._paid, time.monotonic() - 0.01) + len(data) / self.slow
            time.sleep(max(0.0, self._paid - time.monotonic()))
        for _ in range((self.seen[-len(WHERE) + 1 :] + data).count(WHERE)):
            os.write(self.descriptor, b"\x1b[%d;1R" % ROWS)
        self.seen = (self.seen + data)[-100_000:]
        return data

    def wait(self, words: bytes) -> None:
        """Until xcap has written these words."""
        deadline = time.monotonic() + PATIENCE
        while words not in self.seen:
            self.take(0.1)
            if time.monotonic() > deadline:
                fail(f"xcap did not write {words!r}: {self.seen[-2000:]!r}")
        self.seen = b""

    def idle(self, seconds: float) -> None:
        """Take what comes for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.take(left)

    def press(self, key: str, before: str) -> float:
        """Seconds until what was typed before is shown with this key behind it, or the key alone."""
        # each key is one that nothing else writes: the line is drawn anew above all the time
        expected = re.compile(rf"{re.escape(before[-3:])}{re.escape(key)}|{re.escape(key)}")
        self.seen = b""
        start = time.monotonic()
        os.write(self.descriptor, key.encode())
        while not expected.search(self.seen.decode(errors="replace")):
            self.take(0.5)
            if time.monotonic() - start > PATIENCE:
                fail(f"the key was never shown: {self.seen[-2000:]!r}")
        return time.monotonic() - start


@contextmanager
def prompt(xcap: str, home: str, slow: int | None) -> Iterator[tuple[Keyboard, int]]:
    """xcap, open at a terminal of its own."""
    process, descriptor = pty.fork()
    if process == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        os.chdir(home)
        os.execve(xcap, [xcap], {**environment(), "HOME": home, "XDG_STATE_HOME": home, "TERM": "xterm-256color"})
    keyboard = Keyboard(descriptor, slow)
    try:
        keyboard.wait(b"xcap>")
        yield keyboard, process
        os.write(descriptor, b"\x03.quit\r")
        keyboard.slow = None
        while True:
            try:
                keyboard.take(1)
            except OSError:
                break
    finally:
        os.close(descriptor)
        os.waitpid(process, 0)


# Letters that neither packet lines nor the toolbar have, in any order.
UNUSED = "QZJVWYK"


def measure(place: Bench, rate: int, slow: int | None) -> list[str]:
    """A row: the rate that was sent, latencies in ms, and the memory of xcap."""
    with (
        tempfile.TemporaryDirectory(prefix="xcap-bench-") as home,
        prompt(place.xcap, home, slow) as (keyboard, process),
    ):
        os.write(keyboard.descriptor, PROGRAM.encode() + b"\r")
        keyboard.wait(b"probe attached")
        command = ["ip", "netns", "exec", place.sender, str(place.flood), "-t", "600", "-r", str(rate or 1)]
        command += [RECEIVER_ADDRESS, str(PORT), str(10**9), str(SIZE - HEADERS)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as flood:
            try:
                keyboard.idle(2)
                before = packets_sent(place.sender)
                start = time.monotonic()
                taken = []
                typed = ""
                for number in range(KEYS):
                    key = UNUSED[number % len(UNUSED)]
                    taken.append(keyboard.press(key, typed))
                    typed += key
                    if len(typed) == 70:
                        os.write(keyboard.descriptor, b"\x15")
                        typed = ""
                        keyboard.idle(0.2)
                    keyboard.idle(BETWEEN)
                sent = (packets_sent(place.sender) - before) / (time.monotonic() - start)
                memory = resident(process)
            finally:
                flood.terminate()
        os.write(keyboard.descriptor, b"\x15")
    taken.sort()
    at = {"median": statistics.median(taken), "99 %": taken[int(len(taken) * 0.99) - 1], "worst": taken[-1]}
    wanted = f"{rate:,}" if rate else "none"
    name = wanted if slow is None else f"{wanted}, slow line"
    return [name, f"{sent:,.0f}", *(f"{value * 1000:.1f}" for value in at.values()), f"{memory:,}"]


def packets_sent(namespace: str) -> int:
    """What the sender's device has sent."""
    path = f"/sys/class/net/{DEVICE}/statistics/tx_packets"
    done = subprocess.run(["ip", "netns", "exec", namespace, "cat", path], check=True, capture_output=True, text=True)
    return int(done.stdout)


def resident(process: int) -> int:
    """KiB of memory that a process has."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) if found else 0


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--rates", help="packets a second (%(default)s)", default=",".join(map(str, RATES)))
    options = given.parse_args()
    require("cc", "ip")
    warn_if_busy()
    rates = [int(rate) for rate in options.rates.split(",")]
    with bench(options.xcap, 0) as place:
        rows = [measure(place, rate, None) for rate in rates]
        rows += [measure(place, max(rates), SLOW)]
    print(f"From a key to its echo, in ms, of {KEYS} keys; the goal is {GOAL * 1000:.0f}:\n")
    table(["packets a second", "sent", "median", "99 %", "worst", "KiB"], rows)


if __name__ == "__main__":
    main()
