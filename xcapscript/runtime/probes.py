"""The programs of a unit in the kernel: attached, run by a timer, and given back."""

from __future__ import annotations

import heapq
import os
from dataclasses import dataclass, field
from time import monotonic_ns

from xcapscript.errors import KernelError
from xcapscript.kernel import bpf
from xcapscript.runtime.attach.kinds import ATTACH
from xcapscript.runtime.compiler_process import Loaded
from xcapscript.unit import HookKind, Program, Unit


@dataclass(slots=True)
class Probes:
    """Attaches the programs of a unit, runs those that user space runs, and detaches all."""

    unit: Unit
    loaded: Loaded
    _links: list[int] = field(default_factory=list)
    _due: list[tuple[int, int]] = field(default_factory=list)

    def attach(self) -> int:
        """Attach every program to its hook; how many there are. KernelError if one is refused: then none is left."""
        for program, descriptor in self._programs():
            if program.attachment.kind in ATTACH:
                try:
                    self._links.append(ATTACH[program.attachment.kind](program.attachment, descriptor))
                except KernelError:
                    self.detach()
                    raise
        return len(self.unit.programs)

    def detach(self) -> None:
        """Detach every program. One that is just running on another CPU ends by itself."""
        while self._links:
            os.close(self._links.pop())

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
            bpf.test_run(self.loaded.programs[index], b"")
            period = self.unit.programs[index].attachment.period
            heapq.heapreplace(self._due, (due + period * (1 + (now - due) // period), index))
        return self._due[0][0] - now if self._due else None

    def run(self, kind: HookKind) -> None:
        """Run the `begin` or the `end` programs once, in the script's order."""
        for program, descriptor in self._programs():
            if program.attachment.kind is kind:
                bpf.test_run(descriptor, b"")

    def _programs(self) -> list[tuple[Program, int]]:
        return list(zip(self.unit.programs, self.loaded.programs, strict=True))
