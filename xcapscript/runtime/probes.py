"""The programs of a unit in the kernel: attached, run by a timer, and given back."""

from __future__ import annotations

import heapq
import resource
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from time import monotonic_ns

from xcapscript.kernel import bpf
from xcapscript.kernel.misses import missed_by_link, missed_by_program
from xcapscript.runtime.attach.held import Held, is_gone, let_go
from xcapscript.runtime.attach.kinds import ATTACH
from xcapscript.runtime.compiler_process import Loaded
from xcapscript.unit import ENTRIES, Device, HookKind, Unit

SPARE = 1024
"""Descriptors for all else."""

FEW, WORKERS = 16, 8
"""Of links that are closed one after another, and threads that close more of them."""


@dataclass(slots=True)
class Probes:
    """Attaches the programs of a unit, runs those that user space runs, and detaches all."""

    unit: Unit
    loaded: Loaded
    _links: list[int | Held] = field(default_factory=list)
    _owners: list[int] = field(default_factory=list)
    """The numbers of the programs that the links are of."""

    _devices: list[Device | None] = field(default_factory=list)
    """The interfaces that the links are at, where they are at one."""

    _gone: set[int] = field(default_factory=set)
    """The places of links whose interfaces are not there any more."""

    _missed_before: tuple[int, ...] = ()
    _due: list[tuple[int, int]] = field(default_factory=list)

    def attach(self) -> int:
        """Attach every program to its hook; how many there are. KernelError if one is refused: then none is left."""
        count = 0
        self._make_room()
        try:
            for index, (program, loaded) in enumerate(zip(self.unit.programs, self.loaded.programs, strict=True)):
                count += program.attachment.places
                kind = program.attachment.kind
                if kind in ATTACH:
                    if loaded.entries:
                        # first: a call that was not seen to begin is not looked at when it ends
                        entered = replace(program.attachment, kind=ENTRIES[kind])
                        self._links += ATTACH[entered.kind](entered, loaded.entries, program.cookies)
                    self._links += ATTACH[kind](program.attachment, loaded.copies, program.cookies)
                self._owners += [index] * (len(self._links) - len(self._owners))
                more = len(self._links) - len(self._devices)
                self._devices += program.attachment.devices or [None] * more
        except BaseException:
            self.detach()
            raise
        return count

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user may want to know of how programs were attached."""
        return tuple(link.note for link in self._links if not isinstance(link, int) and link.note)

    def detach(self) -> None:
        """Detach every program. One that is just running on another CPU ends by itself."""
        links, self._links[:], self._owners[:], self._devices[:] = list(self._links), (), (), ()
        if len(links) > FEW:
            # each waits for the kernel
            with ThreadPoolExecutor(WORKERS) as pool:
                list(pool.map(let_go, links))
            return
        for link in reversed(links):
            let_go(link)

    def gone(self) -> list[tuple[Device, str]]:
        """The interfaces that were removed since this was asked last, each with a hook that was there."""
        found = []
        for at, device in enumerate(self._devices):
            if device is not None and at not in self._gone and is_gone(self._links[at]):
                self._gone.add(at)
                found.append((device, self.unit.programs[self._owners[at]].hook))
        return found

    @property
    def blind(self) -> bool:
        """Whether nothing is left that could be hit."""
        return bool(self._links) and len(self._gone) == len(self._links)

    def _make_room(self) -> None:
        """A descriptor for each place that is attached to; where the limit is lower, the kernel tells."""
        attachments = [program.attachment for program in self.unit.programs]
        wanted = SPARE + sum(max(one.places, len(one.sites)) for one in attachments)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))

    def begin_to_count(self) -> None:
        """What has been missed until now, before all were attached, does not count."""
        self._missed_before = self._missed()

    def missed(self) -> tuple[int, ...]:
        """The hits that each program was not run for since then, as far as this kernel counts them."""
        before = self._missed_before or [0] * len(self.loaded.programs)
        return tuple(number - first for number, first in zip(self._missed(), before, strict=True))

    def _missed(self) -> tuple[int, ...]:
        counts = [sum(map(missed_by_program, (*loaded.copies, *loaded.entries))) for loaded in self.loaded.programs]
        for owner, link in zip(self._owners, self._links, strict=True):
            # what is more than a descriptor is no kprobe
            counts[owner] += missed_by_link(link) if isinstance(link, int) else 0
        return tuple(counts)

    def start_timers(self) -> None:
        """Intervals begin to count."""
        now = monotonic_ns()
        for index, program in enumerate(self.unit.programs):
            if program.attachment.kind is HookKind.INTERVAL:
                heapq.heappush(self._due, (now + program.attachment.period, index))

    def run_due(self) -> int | None:
        """Run the intervals that are due; ns until the next, None if there is none. One missed is not made up for."""
        now = monotonic_ns()
        while self._due and self._due[0][0] <= now:
            due, index = self._due[0]
            bpf.test_run(self.loaded.programs[index].copies[0], b"")
            period = self.unit.programs[index].attachment.period
            heapq.heapreplace(self._due, (due + period * (1 + (now - due) // period), index))
        return self._due[0][0] - now if self._due else None

    def run(self, kind: HookKind) -> None:
        """Run the `begin` or the `end` programs once, in the script's order."""
        for program, loaded in zip(self.unit.programs, self.loaded.programs, strict=True):
            if program.attachment.kind is kind:
                bpf.test_run(loaded.copies[0], b"")
