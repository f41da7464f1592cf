"""The prompt under load for a long time: neither the events that it shows nor its own screen fill the memory."""

# ruff: noqa: T201 -- it prints figures
from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.place import PATIENCE, PORT, Broken, Place, result

RATE = 50_000
"""Packets a second, of which each is an event."""

PROGRAM = f"tx /udp dst port {PORT}/ {{ print; @[ifname, comm] = count(); }}"
COLUMNS, ROWS = 80, 24
SAMPLES = 60
ENDED = re.compile(r"stopped: (\d+) hits?, (\d+) matched, (\d+) lost")


@dataclass(frozen=True, slots=True)
class Sample:
    """How much memory the prompt's process has, in KiB: all that is resident, and what is its own of that."""

    seconds: float
    resident: int
    own: int


class Terminal:
    """tmux, in which xcap is open."""

    def __init__(self, place: Place) -> None:
        self._socket = str(place.directory / "tmux")
        home = f"HOME={place.directory} XDG_STATE_HOME={place.directory} TERM=screen-256color"
        command = f"{home} exec {place.xcap} -i {place.net.left}"
        self._tmux("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "-c", str(place.directory), command)
        self.process = int(self._tmux("display-message", "-p", "#{pane_pid}"))

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-S", self._socket, "-f", "/dev/null", *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise Broken(f"the terminal has gone: {done.stderr.strip()}")
        return done.stdout

    def enter(self, line: str) -> None:
        """Type a line."""
        self._tmux("send-keys", "-l", "--", line)
        self._tmux("send-keys", "Enter")

    def wait(self, pattern: str) -> re.Match[str]:
        """Until something is to be seen."""
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(pattern, screen := self._tmux("capture-pane", "-p", "-S", "-2000"))) is None:
            if time.monotonic() > deadline:
                raise Broken(f"the prompt did not show '{pattern}':\n{screen.rstrip()}")
            time.sleep(0.1)
        return found

    def sample(self, seconds: float) -> Sample:
        """How much memory xcap has."""
        status = Path(f"/proc/{self.process}/status").read_text(encoding="ascii")
        found = {name: int(size) for name, size in re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB$", status, re.MULTILINE)}
        return Sample(seconds, found["VmRSS"], found["RssAnon"])

    def close(self) -> None:
        """Nothing of it is left."""
        with suppress(Broken):
            self._tmux("kill-server")


@contextmanager
def _terminal(place: Place) -> Iterator[Terminal]:
    terminal = Terminal(place)
    try:
        terminal.wait("xcap>")
        yield terminal
    finally:
        terminal.close()


def prompt(place: Place, seconds: float, growth: int, *, told: bool) -> str:
    """A clause prints and counts all that is sent. In the last third of the time the memory may grow by `growth` KiB.

    With `told`, each sample is printed as it is taken.
    """
    with _terminal(place) as terminal:
        terminal.enter(PROGRAM)
        terminal.wait(r"\[1\] \d+ probes? attached")
        terminal.enter(".watch @")
        with place.sending("-r", str(RATE), "-t", str(seconds)) as sender:
            samples = list(_samples(terminal, seconds, told=told))
            sent, rate = result(sender)
        terminal.enter(".stop 1")
        _, matched, lost = map(int, terminal.wait(ENDED.pattern).groups())
        terminal.enter(".quit")
    if matched != sent:
        raise Broken(f"{sent:,} sent, but {matched:,} matched")
    third = len(samples) // 3
    before, last = max(one.own for one in samples[:-third]), max(one.own for one in samples[-third:])
    said = (
        f"{seconds:g} s at {rate:,.0f} events a second: {samples[third].own:,} KiB of memory after a third, "
        f"{before:,} KiB at the most until the last third, {last:,} KiB in it; "
        f"{sent:,} sent = {matched:,} matched, {lost:,} lost"
    )
    if last > before + growth:
        raise Broken(f"memory grew in the last third: {said}")
    return said


def _samples(terminal: Terminal, seconds: float, *, told: bool) -> Iterator[Sample]:
    """One at the start, and as many more as `SAMPLES`, the last one at the end."""
    start = time.monotonic()
    if told:
        print(f"{'seconds':>8} {'resident':>10} {'own':>10}  KiB", flush=True)
    for number in range(SAMPLES + 1):
        time.sleep(max(0.0, start + seconds * number / SAMPLES - time.monotonic()))
        sample = terminal.sample(time.monotonic() - start)
        if told:
            print(f"{sample.seconds:8.0f} {sample.resident:10,} {sample.own:10,}", flush=True)
        yield sample
