"""The warning while events are being lost: how many so far, at which hooks, and what helps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from xcapscript.builtins import OPTIONS
from xcapscript.codegen.generate import DEFAULT_BUFFER_SIZE
from xcapscript.diagnostics import escape
from xcapscript.runtime.maps import Counts
from xcapscript.unit import EventKind, Unit

BETWEEN = 1
"""Seconds between two looks, and so between two warnings."""

NAMED = 3
"""Hooks, at the most."""

LARGER = 4
"""How many times the buffer that was too small the next one to be tried holds."""

_MARKS = frozenset({EventKind.LIMIT, EventKind.EXIT})
_PACKETS = frozenset({EventKind.DUMP, EventKind.LINE, EventKind.STACK, EventKind.HEX, EventKind.RING})


@dataclass(frozen=True, slots=True)
class Remedies:
    """What helps, as it is written: a larger buffer, in front of its size; packets cut shorter; what else is to do."""

    larger: str
    shorter: str
    then: str = ""


BY_OPTIONS = Remedies("--buffer-size", "a shorter -s")


class Losses:
    """Tells what has been lost, when that is more than was told before; the buffer has `size` bytes."""

    def __init__(
        self,
        unit: Unit,
        size: int,
        tell: Callable[[str], None],
        clock: Callable[[], float] = monotonic,
        remedies: Remedies = BY_OPTIONS,
    ) -> None:
        self._unit = unit
        self._tell = tell
        self._clock = clock
        self._due = clock() + BETWEEN
        self._told = 0
        kinds = {spec.kind for spec in unit.events} - _MARKS
        self._noun = "packet" if kinds <= _PACKETS else "event"
        larger = [f"{remedies.larger} {wanted}" for wanted in _larger(size)]
        self._help = f"{', '.join([*larger, remedies.shorter])} or a narrower filter{remedies.then}"

    def look(self, counts: Callable[[], Sequence[Counts]]) -> None:
        """Warn, if it is time to and something has been lost since."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + BETWEEN
        pairs = list(zip(self._unit.programs, counts(), strict=True))
        lost = sum(count.lost for _, count in pairs)
        if lost > self._told:
            self._told = lost
            hooks = list(dict.fromkeys(escape(program.hook) for program, count in pairs if count.lost))
            where = ", ".join(hooks if len(hooks) <= NAMED else [*hooks[:NAMED], "..."])
            self._tell(f"lost {lost:,} {self._noun}{'s' * (lost != 1)} so far ({where}): try {self._help}")


def _larger(size: int) -> list[str]:
    """The size of a buffer that holds more, if there can be one."""
    wanted = min(max(size * LARGER, DEFAULT_BUFFER_SIZE), OPTIONS["buffer_size"].high)
    if wanted <= size:
        return []
    power, unit = (30, "G") if wanted >> 30 else (20, "M")
    return [f"{wanted >> power}{unit}"]
