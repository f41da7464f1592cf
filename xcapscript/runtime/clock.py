"""The kernel's clock against the wall's."""

from __future__ import annotations

from time import CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime_ns

SAMPLES = 9
STEP = 1_000_000
"""ns: a smaller difference is the noise of reading two clocks, a larger one means that the wall clock was set."""


class Clock:
    """Turns CLOCK_MONOTONIC into ns since 1970; packets stay in order because the difference changes by steps only."""

    def __init__(self) -> None:
        self.offset = _measure()

    def follow(self) -> None:
        """Take over a step of the wall clock; to be called now and then."""
        offset = _measure()
        if abs(offset - self.offset) > STEP:
            self.offset = offset


def _measure() -> int:
    """The wall clock minus the kernel's, from the reading that was interrupted least."""
    best = None
    for _ in range(SAMPLES):
        before = clock_gettime_ns(CLOCK_MONOTONIC)
        wall = clock_gettime_ns(CLOCK_REALTIME)
        after = clock_gettime_ns(CLOCK_MONOTONIC)
        if best is None or after - before < best[0]:
            best = (after - before, wall - (before + after) // 2)
    assert best is not None
    return best[1]
