"""Bad endings: killed at any moment, and a disk that is full."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.reliability.attached import ids
from tests.reliability.place import Broken, Place, counted, leftovers

LATEST = 3.0
"""Seconds from the start until the last moment at which xcap is killed; it needs about one to attach under load."""

SETTLED = 1.0
"""Seconds that it has been attached at least when it says something how far the file is behind."""

SMALLEST, LARGEST = 1 << 12, 1 << 23
"""Bytes of a small disk."""


def killed(place: Place, times: int, seed: int) -> str:
    """kill -9 under full load, at moments spread over start, compilation and capture."""
    chance = random.Random(seed)
    early = cut = packets = 0
    behind = 0.0
    for number in range(times):
        moment = (number + chance.random()) / times * LATEST
        path = place.directory / f"killed-{number}.pcapng"
        attached, latest = _kill(place, path, moment)
        early += not attached
        if path.exists() and path.stat().st_size:
            found = counted(path)
            cut += found.cut
            packets += found.packets
            if attached and latest and found.latest:
                behind = max(behind, latest - found.latest)
            path.unlink()
        elif attached:
            raise Broken(f"no file, killed {moment:.2f} s after the start")
    return (
        f"killed {times} times, {early} of them before the probe was attached: all files readable, "
        f"{cut} of them cut in the last packet, {packets:,} packets, the last at most {behind:.2f} s before the end; "
        "nothing left attached"
    )


def _kill(place: Place, path: Path, moment: float) -> tuple[bool, float | None]:
    """Whether the probe was attached, and the time at which it was killed if it had been for a while."""
    before = ids()
    with place.sending("-t", str(LATEST + 1)), place.capture(path) as run:
        end = time.monotonic() + moment
        since = None
        while (rest := end - time.monotonic()) > 0:
            if since is None and run.attached:
                since = time.monotonic()
            time.sleep(min(rest, 0.02))
        attached = run.attached
        wall = time.time()
        run.process.send_signal(signal.SIGKILL)
        run.wait()
        if left := leftovers(run, before):
            raise Broken(f"killed {moment:.2f} s after the start, it left {left}")
    settled = since is not None and end - since > SETTLED
    return attached, wall if settled else None


def disk_full(place: Place, times: int, seed: int) -> str:
    """A file on a small disk: xcap ends, says why, and what could be written is whole."""
    chance = random.Random(seed)
    packets = 0
    for _ in range(times):
        size = int(SMALLEST * (LARGEST / SMALLEST) ** chance.random())
        before = ids()
        with _disk(place.directory / "disk", size) as disk:
            path = disk / "full.pcapng"
            with place.sending("-t", "60"), place.capture(path) as run:
                status = run.wait()
                if status != 3 or "No space left" not in run.said():
                    raise Broken(f"on a disk of {size} bytes it ended with status {status}: {run.said()}")
                if left := leftovers(run, before):
                    raise Broken(f"on a disk of {size} bytes it left {left}")
            found = counted(path)
            if found.cut:
                raise Broken(f"on a disk of {size} bytes the file ends in the middle of a packet")
            packets += found.packets
    return f"{times} disks of {SMALLEST:,} to {LARGEST:,} bytes full: status 3, all files whole, {packets:,} packets"


@contextmanager
def _disk(path: Path, size: int) -> Iterator[Path]:
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)
