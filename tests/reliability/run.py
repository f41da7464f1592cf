"""The reliability runs: each tries one promise under load, and prints a line with its figures.

Exit status 1 if one is broken. `--quick` takes a few seconds for each, the whole run a quarter of an hour; `prompt`,
which has to be named, takes an hour more.
"""

# ruff: noqa: T201 -- it prints figures
from __future__ import annotations

import argparse
import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.counts import memory, million, stopped, two
from tests.reliability.endings import disk_full, killed
from tests.reliability.place import Broken, Place, make_place
from tests.reliability.prompt import prompt
from tests.reliability.rotation import rotation

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Promise:
    """A script, in full and quickly; both are given the seed.

    Whether packets are lost is up to the machine, too: quickly, which is anywhere, only the sum is held to.
    """

    full: Callable[[Place, int], str]
    quick: Callable[[Place, int], str]
    is_long: bool = False
    """Whether it is tried in full only if it is named."""


PROMISES = {
    "kill": Promise(
        lambda place, seed: killed(place, 100, seed),
        lambda place, seed: killed(place, 3, seed),
    ),
    "disk-full": Promise(
        lambda place, seed: disk_full(place, 20, seed),
        lambda place, seed: disk_full(place, 2, seed),
    ),
    "rotation": Promise(
        lambda place, _: rotation(place, 1_000_000, 5, 10),
        lambda place, _: rotation(place, 200_000, 2, 2),
    ),
    "stopped": Promise(
        lambda place, _: stopped(place, 5, must_lose=True),
        lambda place, _: stopped(place, 1, must_lose=False),
    ),
    "two": Promise(
        lambda place, _: two(place, 1_000_000),
        lambda place, _: two(place, 100_000),
    ),
    "million": Promise(
        lambda place, _: million(place, 1_000_000, may_lose=False),
        lambda place, _: million(place, 200_000, may_lose=True),
    ),
    "memory": Promise(
        lambda place, _: memory(place, 600),
        lambda place, _: memory(place, 5),
    ),
    "prompt": Promise(
        lambda place, _: prompt(place, 3600, 512, told=True),
        lambda place, _: prompt(place, 6, 8 << 10, told=False),
        is_long=True,
    ),
}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("promise", nargs="*", metavar="PROMISE", help=f"some of: {' '.join(PROMISES)} (all)")
    options.add_argument("--quick", action="store_true", help="a few seconds for each")
    options.add_argument("--seed", type=int, help="of what is left to chance")
    options.add_argument("--xcap", default=str(ROOT / ".venv/bin/xcap"), help="the command to try (%(default)s)")
    found = options.parse_args()
    names = found.promise or [name for name in PROMISES if found.quick or not PROMISES[name].is_long]
    if unknown := [name for name in names if name not in PROMISES]:
        options.error(f"no such promise: {' '.join(unknown)}")
    if os.geteuid() != 0:
        print("run.py: attaching BPF programs needs root", file=sys.stderr)
        return 3
    seed = random.randrange(10**6) if found.seed is None else found.seed
    broken = 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was made is removed then, too
    with make_place(found.xcap) as place:
        for name in names:
            promise = PROMISES[name]
            try:
                said = (promise.quick if found.quick else promise.full)(place, seed)
            except Broken as error:
                said = f"BROKEN: {error} (seed {seed})"
                broken += 1
            print(f"{name:10} {said}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
