"""Every packet is written or counted as lost: a reader that stands still, two at once, floods, and long ones."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.reliability.place import Broken, Place, Run, counted, result

BEFORE = 1.0
"""Seconds of load before the reader is stopped, and after it goes on."""

PACE = 100_000
"""Packets a second that two can write at once, with the sender, on two CPUs."""

SAMPLE = 0.5
GROWTH = 8 << 10
"""KiB that memory may grow by after the first tenth of the time: the allocator's and the kernel's own ups and downs."""


def _tally(run: Run, path: Path, sent: int) -> tuple[int, int]:
    """Packets written, as capinfos counts them, and lost. Broken if the sum is not what was sent."""
    run.end()
    written = counted(path).packets
    if written + run.lost != sent:
        raise Broken(f"{sent:,} sent, but {written:,} written + {run.lost:,} lost = {written + run.lost:,}")
    return written, run.lost


def stopped(place: Place, seconds: float, *, must_lose: bool) -> str:
    """The reader stands still under full load: what does not fit in the buffer is counted to the last packet."""
    path = place.directory / "stopped.pcapng"
    with place.capture(path) as run:
        run.wait_until_attached()
        with place.sending("-t", str(seconds + 2 * BEFORE)) as sender:
            time.sleep(BEFORE)
            run.signal(signal.SIGSTOP)
            time.sleep(seconds)
            run.signal(signal.SIGCONT)
            sent = result(sender)[0]
        written, lost = _tally(run, path, sent)
    path.unlink()
    if must_lose and not lost:
        raise Broken(f"of {sent:,} packets none was lost: the reader did not stand still for long enough to tell")
    return f"reader stopped for {seconds:g} s under load: {sent:,} sent = {written:,} written + {lost:,} lost"


def two(place: Place, packets: int) -> str:
    """Two of them at one hook do not take each other's packets."""
    paths = [place.directory / f"two-{number}.pcapng" for number in (1, 2)]
    with place.capture(paths[0]) as first, place.capture(paths[1]) as second:
        for run in (first, second):
            run.wait_until_attached()
        sent = place.send(packets, "-r", str(PACE))[0]
        for run, path in zip((first, second), paths, strict=True):
            lost = _tally(run, path, sent)[1]
            if lost:
                raise Broken(f"{lost:,} of {sent:,} packets lost at {PACE:,} a second")
    for path in paths:
        path.unlink()
    return f"two at one hook: each wrote all of {sent:,} packets, at {PACE:,} a second"


def million(place: Place, packets: int, *, may_lose: bool) -> str:
    """Packets of 64 bytes at full speed, with default settings."""
    path = place.directory / "million.pcapng"
    with place.capture(path) as run:
        run.wait_until_attached()
        sent, rate = place.send(packets)
        written, lost = _tally(run, path, sent)
    path.unlink()
    if lost and not may_lose:
        raise Broken(f"of {sent:,} packets, {rate:,.0f} a second, {lost:,} were lost")
    return f"flood: {sent:,} sent, {rate:,.0f} a second = {written:,} written + {lost:,} lost"


def memory(place: Place, seconds: float) -> str:
    """Full load for a long time does not fill the memory."""
    with place.capture(Path("/dev/null")) as run:
        run.wait_until_attached()
        with place.sending("-t", str(seconds)) as sender:
            samples = [_resident(run)]
            while sender.poll() is None:
                time.sleep(SAMPLE)
                samples.append(_resident(run))
            sent, rate = result(sender)
        run.end()
        written, lost = run.number(r"(\d+) packets? written"), run.lost
    if written + lost != sent:
        raise Broken(f"{sent:,} sent, but {written:,} written + {lost:,} lost")
    warm = len(samples) // 10
    early, most = max(samples[: warm + 1]), max(samples[warm:])
    if most > early + GROWTH:
        raise Broken(f"memory grew from {early:,} KiB in the first tenth to {most:,} KiB")
    return (
        f"{seconds:g} s at {rate:,.0f} packets a second: {early:,} KiB of memory in the first tenth, {most:,} KiB "
        f"at the most after; {sent:,} sent = {written:,} written + {lost:,} lost"
    )


def _resident(run: Run) -> int:
    """KiB of memory that all of its processes have: their own, since what they share with the kernel cannot grow."""
    total = 0
    for process in run.family():
        with suppress(OSError):  # a process that ends meanwhile
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    return total
