"""The conformance run: every expression on packets in every state, the generated program against libpcap.

No traffic is needed: the packets are sk_buffs made by hand, which the programs are given by BPF_PROG_TEST_RUN.
"""

# ruff: noqa: T201 -- it prints figures
from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.queues import Queue

from tests.conformance.arena import Arena
from tests.conformance.expressions import expressions
from tests.conformance.judges import Libpcap, Programs, Verdict, translate
from tests.conformance.states import Case, Paged, edges, frame_cases, raw_cases
from tests.packets import ethernet_samples, raw_samples
from xcapscript.diagnostics import ScriptError
from xcapscript.errors import KernelError
from xcapscript.kernel.btf import Btf
from xcapscript.kernel.headers import header_tree

FRAMES, RAW_PACKETS = 1400, 900
A_UNIT = 16
"""Expressions compiled at once."""

STRIDE = 3
"""The run takes one of so many cases for each expression, others for the next one."""

QUICK_CASES, QUICK_STRIDE = 24_000, 19
"""The quick run has a sample of the cases only."""

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A packet on which the two judges differ."""

    expression: str
    case: Case
    given: Verdict
    wanted: Verdict

    def __str__(self) -> str:
        skb = self.case.skb
        return (
            f"{self.expression}\n    {self.case.state}: {self.given.name}, libpcap: {self.wanted.name}\n"
            f"    mac {skb.mac} network {skb.network} data {skb.data} len {skb.length} data_len {skb.paged} "
            f"tag {skb.tag}\n    {skb.linear.hex()}\n    {_shown(skb.pages)}"
        )


def _shown(pages: Paged) -> str:
    """The pieces' lengths, and whether each can be read."""
    words = [[f"{piece.size}{'' if piece.source is not None else '!'}" for piece in pages.frags]]
    words += [[f"{piece.size}" for piece in (one.linear, *one.frags)] for one in pages.listed]
    return " | ".join(map(" ".join, words))


@dataclass(slots=True)
class Result:
    """What came out for some expressions."""

    runs: int = 0
    mixed: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    verdicts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))

    def add(self, other: Result) -> None:
        self.runs += other.runs
        self.mixed += other.mixed
        self.disagreements += other.disagreements
        self.failures += other.failures
        for verdict, count in other.verdicts.items():
            self.verdicts[verdict] += count


@dataclass(frozen=True, slots=True)
class Suite:
    """All cases, in an order without order, and how many of them an expression leaves out between two."""

    packets: int
    cases: tuple[Case, ...]
    stride: int

    def chosen(self, number: int) -> range:
        """The cases of expression `number`: others for each."""
        return range(number % self.stride, len(self.cases), self.stride)


class _Worker:
    """A process that compiles and judges, on a CPU of its own."""

    def __init__(self, suite: Suite) -> None:
        from bcc import BPF  # noqa: PLC0415 -- in a process of its own only: BCC's compiler may exit

        self._bpf_class, self._suite = BPF, suite
        self._arena = Arena(BPF, Btf(), (case.skb for case in suite.cases))

    def judge(self, numbered: Sequence[tuple[int, str]]) -> Result:
        """Try some expressions, which are compiled together."""
        result = Result()
        try:
            programs = Programs(self._bpf_class, translate([text for _, text in numbered]))
        except ScriptError as error:
            result.failures += [f"{d.span.text}: {d.message}" for d in error.diagnostics]
            return result
        except Exception as error:  # noqa: BLE001 -- bcc raises nothing else
            result.failures.append(f"{' / '.join(text for _, text in numbered)}: {error}")
            return result
        for place, (number, text) in enumerate(numbered):
            try:
                self._try(programs, place, number, text, result)
            except Exception as error:  # noqa: BLE001
                result.failures.append(f"{text}: {error}")
        programs.close()
        return result

    def _try(self, programs: Programs, place: int, number: int, text: str, result: Result) -> None:
        libpcap, wanted = Libpcap(text), {}
        chosen = self._suite.chosen(number)
        given = programs.verdicts(place, [self._arena.addresses[at] for at in chosen])
        for at, verdict in zip(chosen, given, strict=True):
            case = self._suite.cases[at]
            if case.view not in wanted:
                wanted[case.view] = libpcap.verdict(case.view)
            if verdict is not wanted[case.view]:
                result.disagreements.append(Disagreement(text, case, verdict, wanted[case.view]))
            result.verdicts[verdict] += 1
        result.runs += len(chosen)
        seen = set(wanted.values())
        result.mixed += Verdict.MATCHED in seen and not seen.isdisjoint({Verdict.NO_MATCH, Verdict.UNREAD})


_worker: _Worker


def _start(suite: Suite, cpus: Queue[int]) -> None:
    global _worker  # noqa: PLW0603 -- a process of the pool has no other place
    os.sched_setaffinity(0, {cpus.get()})
    _worker = _Worker(suite)


def _judge(numbered: Sequence[tuple[int, str]]) -> Result:
    return _worker.judge(numbered)


def make_suite(*, quick: bool) -> Suite:
    """The packets in all their states."""
    short_frames, short_packets = edges()
    frames, packets = ethernet_samples(FRAMES) + short_frames, raw_samples(RAW_PACKETS) + short_packets
    cases = [*frame_cases(frames, 21), *raw_cases(packets, 22)]
    random.Random(23).shuffle(cases)
    if quick:
        return Suite(len(frames) + len(packets), tuple(cases[:QUICK_CASES]), QUICK_STRIDE)
    return Suite(len(frames) + len(packets), tuple(cases), STRIDE)


def results(suite: Suite, texts: Sequence[str]) -> Iterator[Result]:
    """What comes out for each few expressions; RuntimeError when a process dies of one."""
    context = get_context("fork")
    cpus = context.Queue()
    allowed = sorted(os.sched_getaffinity(0))
    for cpu in allowed:
        cpus.put(cpu)
    numbered = list(enumerate(texts))
    with ProcessPoolExecutor(len(allowed), context, _start, (suite, cpus)) as pool:
        jobs = [pool.submit(_judge, numbered[at : at + A_UNIT]) for at in range(0, len(numbered), A_UNIT)]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BrokenProcessPool:
            raise RuntimeError("a process died while it compiled") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a sample of the cases for each expression")
    parser.add_argument("--first", action="store_true", help="end at the first disagreement")
    parser.add_argument("-e", dest="texts", action="append", help="try this expression only")
    return parser.parse_args()


def _report(total: Result, suite: Suite, expressions_tried: int, seconds: float) -> None:
    counts = ", ".join(f"{count:,} {verdict.name.lower()}" for verdict, count in total.verdicts.items() if count)
    print(f"{expressions_tried} expressions, of which {total.mixed} matched some packets and not others")
    print(f"{suite.packets:,} packets in {len(suite.cases):,} states of an sk_buff")
    print(f"{total.runs:,} runs: {counts}")
    print(f"{len(total.disagreements)} disagreements with libpcap")
    print(f"{seconds:.0f} seconds")


def main() -> int:
    """The exit status: 1 if there is any disagreement, 3 if nothing can be tried here."""
    options = _options()
    start = time.monotonic()
    if os.geteuid() != 0:
        print("conformance: needs root: it loads BPF programs", file=sys.stderr)
        return 3
    try:
        if tree := header_tree():
            os.environ["BCC_KERNEL_SOURCE"] = str(tree)
    except KernelError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 3
    suite, total = make_suite(quick=options.quick), Result()
    texts = options.texts or expressions(quick=options.quick)
    try:
        for result in results(suite, texts):
            total.add(result)
            if options.first and (total.disagreements or total.failures):
                break
    except RuntimeError as error:
        total.failures.append(str(error))
    for failure in total.failures:
        print(f"not loaded: {failure}")
    for disagreement in total.disagreements[:SHOWN]:
        print(disagreement)
    _report(total, suite, len(texts), time.monotonic() - start)
    return 1 if total.disagreements or total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
