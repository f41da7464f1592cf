"""Sleeping until there is something to read: programs ring once, and only while somebody sleeps."""

from __future__ import annotations

import select
from time import sleep

from xcapscript.runtime.control import Control

MILLISECOND = 1_000_000
ASLEEP = 100_000_000
"""ns of sleep at the most: signals and the end of a command are looked for in between."""


class Doorbell:
    """Waits for the ring buffer of this descriptor; without one, as for perf buffers, for the time to pass."""

    def __init__(self, control: Control, descriptor: int | None) -> None:
        self._control = control
        self._poll: select.poll | None = None
        if descriptor is not None:
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)

    def wait(self, nanoseconds: int, *, empty: bool) -> None:
        """Wait so long, or, where the buffer is empty, until something comes."""
        if self._poll is None or not empty or nanoseconds < MILLISECOND:
            sleep(max(0, nanoseconds) / 1e9)
            return
        # The kernel looks into the buffer after this: whatever came before is seen, what comes after rings.
        self._control.asleep(True)  # noqa: FBT003 -- it reads best so
        self._poll.poll(nanoseconds // MILLISECOND)
        self._control.asleep(False)  # noqa: FBT003
