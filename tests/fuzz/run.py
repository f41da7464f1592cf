"""The fuzz runs: programs made at random and damaged ones through the compiler, the formatter and into the kernel."""

# ruff: noqa: T201 -- it prints figures
from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tests.fuzz.loads import Loader
from tests.fuzz.mutations import corpus, mutated
from tests.fuzz.places import Places
from tests.fuzz.programs import pcap_texts, program
from tests.fuzz.shrink import shrunk
from tests.fuzz.trial import Failure, compiled, formatted, keep_filters
from xcapscript.errors import KernelError
from xcapscript.kernel.facts import Kernel
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.kernel.live import LiveKernel

FROZEN = Path(__file__).parents[1] / "data" / "kernel" / "linux-6.18.json"
TYPED, DAMAGED, LOADED = 30_000, 75_000, 500
QUICK_TYPED, QUICK_DAMAGED, QUICK_LOADED = 250, 250, 20
CHUNK, LOAD_CHUNK = 100, 5
SHRINK_SECONDS = 60.0
FORMAT_SHARE = 3
"""One of so many right programs is formatted as well."""

SHOWN = 10
OWN_SHARE = 4
"""One of so many damaged programs was made at random before."""


@dataclass(slots=True)
class Result:
    """What came out for some programs."""

    programs: int = 0
    accepted: int = 0
    formatted: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    failures: dict[str, Failure] = field(default_factory=dict)

    def fail(self, failure: Failure) -> None:
        """Keep the shortest program that fails so."""
        known = self.failures.get(failure.signature)
        if known is None or len(failure.text) < len(known.text):
            self.failures[failure.signature] = failure

    def add(self, other: Result) -> None:
        self.programs += other.programs
        self.accepted += other.accepted
        self.formatted += other.formatted
        self.seconds += other.seconds
        self.slowest = max(self.slowest, other.slowest)
        for failure in other.failures.values():
            self.fail(failure)


class _Worker:
    """A process that tries programs; what it is at lies in a file, should it die."""

    def __init__(self, loads: bool) -> None:  # noqa: FBT001 -- an initialiser's argument
        self.kernel: Kernel = LiveKernel() if loads else FrozenKernel(FROZEN)
        self.places = Places(self.kernel)
        self.loader = Loader(self.kernel) if loads else None

    def typed(self, seeds: Sequence[int]) -> Result:
        """Programs made at random."""
        result = Result()
        for seed in seeds:
            text = program(seed, self.places)
            self._try(text, result, typed=True)
            if seed % FORMAT_SHARE == 0:
                result.formatted += 1
                failure = formatted(text)
                if failure is not None:
                    result.fail(failure)
        return result

    def damaged(self, seeds: Sequence[int]) -> Result:
        """Programs that were right once, or nearly so."""
        result, texts = Result(), corpus()
        for seed in seeds:
            rng = random.Random(seed)
            text = program(seed, self.places) if seed % OWN_SHARE == 0 else rng.choice(texts)
            self._try(mutated(rng, text, texts), result, typed=False)
        return result

    def loaded(self, seeds: Sequence[int]) -> Result:
        """Programs made at random, into the kernel."""
        result = Result()
        assert self.loader is not None
        for seed in seeds:
            text, start = program(seed, self.places), time.monotonic()
            try:
                failure = self.loader.failure(text)
            except Exception as error:  # noqa: BLE001 -- an accepted program is asked for
                failure = Failure(f"not made: {type(error).__name__}", str(error), text)
            seconds = time.monotonic() - start
            result.add(Result(1, failure is None, 0, seconds, seconds))
            if failure is not None:
                result.fail(failure)
        return result

    def _try(self, text: str, result: Result, *, typed: bool) -> None:
        outcome = compiled(text, self.kernel, typed=typed)
        result.add(Result(1, outcome.accepted, 0, outcome.seconds, outcome.seconds))
        if outcome.failure is not None:
            result.fail(outcome.failure)

    def still_fails(self, failure: Failure) -> Callable[[str], bool]:
        """Whether another program fails for the same reason."""

        def asked(text: str) -> bool:
            if failure.signature.startswith("load:"):
                try:
                    found = self.loader.failure(text) if self.loader is not None else None
                except Exception:  # noqa: BLE001 -- a piece of a program need not be right
                    return False
            elif failure.signature.startswith("format:"):
                found = formatted(text)
            else:
                found = compiled(text, self.kernel, typed=failure.signature.startswith("refused:")).failure
            return found is not None and found.signature == failure.signature

        return asked


_worker: _Worker


def _start(loads: bool) -> None:  # noqa: FBT001 -- an initialiser's argument
    global _worker  # noqa: PLW0603 -- a process of the pool has no other place
    os.nice(10)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setrecursionlimit(1000)
    keep_filters()
    _worker = _Worker(loads)


def _typed(seeds: Sequence[int]) -> Result:
    return _worker.typed(seeds)


def _damaged(seeds: Sequence[int]) -> Result:
    return _worker.damaged(seeds)


def _loaded(seeds: Sequence[int]) -> Result:
    return _worker.loaded(seeds)


def _shrunk(failure: Failure) -> str:
    return shrunk(failure.text, _worker.still_fails(failure), SHRINK_SECONDS)


Job = tuple[Callable[[Sequence[int]], Result], Sequence[int]]


def _jobs(what: Callable[[Sequence[int]], Result], first: int, count: int, chunk: int) -> Iterator[Job]:
    for at in range(first, first + count, chunk):
        yield what, range(at, min(at + chunk, first + count))


def tried(jobs: Sequence[Job], *, loads: bool) -> Result:
    """The sum of all jobs on all CPUs, its failures shrunk."""
    total, context = Result(), get_context("fork")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), context, _start, (loads,)) as pool:
        waiting = {pool.submit(what, seeds): seeds for what, seeds in jobs}
        try:
            for job in as_completed(waiting):
                total.add(job.result())
        except KeyboardInterrupt:
            # the figures of what was done until then
            pool.shutdown(wait=True, cancel_futures=True)
            return total
        except BrokenProcessPool:
            undone = sorted({seeds[0] for job, seeds in waiting.items() if not job.done() or job.exception()})
            total.fail(Failure("died", f"a process died at a program of one of the seeds from {undone[:4]} on", ""))
            return total
        for failure in list(total.failures.values())[:SHOWN]:
            text = pool.submit(_shrunk, failure).result()
            total.failures[failure.signature] = Failure(failure.signature, failure.words, text)
    return total


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few hundred programs, and few that are loaded")
    parser.add_argument("--seed", type=int, default=0, help="the first seed: others give other programs")
    parser.add_argument("--typed", type=int, help="how many right programs")
    parser.add_argument("--damaged", type=int, help="how many damaged ones")
    parser.add_argument("--loaded", type=int, help="how many are loaded (as root)")
    return parser.parse_args()


def _report(title: str, total: Result, count: int, seconds: float) -> int:
    """One line of figures, and each kind of failure with a program; how many kinds there are."""
    for failure in list(total.failures.values())[:SHOWN]:
        print(
            f"--- {failure.signature}\n{failure.words.rstrip()}\n--- with this program:\n{failure.text.rstrip()}\n---"
        )
    rest = f", {total.formatted:,} formatted" if total.formatted else ""
    mean = total.seconds / max(1, total.programs)
    print(
        f"{title}: {total.programs:,} of {count:,} programs, {total.accepted:,} accepted{rest}, "
        f"{len(total.failures)} kinds of failure, {seconds:.0f} s; one takes {mean * 1000:.0f} ms, "
        f"the slowest {total.slowest:.2f} s",
        flush=True,
    )
    return len(total.failures)


def main() -> int:
    """The exit status: 1 if any program fails, 3 if nothing can be loaded here."""
    options = _options()
    sizes = (QUICK_TYPED, QUICK_DAMAGED, QUICK_LOADED) if options.quick else (TYPED, DAMAGED, LOADED)
    given = (options.typed, options.damaged, options.loaded)
    typed, damaged, loaded = (size if own is None else own for own, size in zip(given, sizes, strict=True))
    if loaded and os.geteuid() != 0:
        print("fuzz: needs root: it loads BPF programs", file=sys.stderr)
        return 3
    os.environ.pop("XCAP_PATH", None)
    pcap_texts()
    failures = 0
    runs = (("damaged programs", _damaged, damaged, CHUNK), ("right programs", _typed, typed, CHUNK))
    try:
        for title, what, count, chunk in (*runs, ("into the kernel", _loaded, loaded, LOAD_CHUNK)):
            start = time.monotonic()
            jobs = list(_jobs(what, options.seed, count, chunk))
            total = tried(jobs, loads=what is _loaded) if jobs else Result()
            failures += _report(title, total, count, time.monotonic() - start) if jobs else 0
    except KernelError as error:
        print(f"fuzz: {error}", file=sys.stderr)
        return 3
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
