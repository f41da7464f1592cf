"""What a terminal shows of more events than a person can read: some of each moment, and how many the others were."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic_ns

from xcapscript.event import Event
from xcapscript.unit import EventKind, HookKind

MOMENT = 100_000_000
"""ns."""

BUDGET, LAST = 20, 5
"""Lines that are shown of a moment, and events of those that came behind them: a run's last words are among these."""

_OF_THEIR_OWN_TIME = frozenset({HookKind.BEGIN, HookKind.END, HookKind.INTERVAL})


class Flood:
    """Tells the printer which events to show; the others it holds back until the moment is over."""

    def __init__(self, clock: Callable[[], int] = monotonic_ns) -> None:
        self._clock = clock
        self._end = 0
        self._left = BUDGET
        self._held: deque[Event] = deque(maxlen=LAST)
        self._number = 0

    def shows(self, event: Event, *, continued: bool) -> bool:
        """Whether to show it at once; `continued` says that it may go on with a line that is shown in part.

        What `begin`, `end` and intervals print is not many, and is always shown.
        """
        if event.spec.attachment.kind in _OF_THEIR_OWN_TIME:
            return True
        room = BUDGET if continued and event.spec.kind is EventKind.PRINTF else 0
        if not self._held and self._left + room > 0:
            return True
        self._held.append(event)
        self._number += 1
        return False

    def spend(self, lines: int) -> None:
        """So many were shown."""
        self._left -= lines

    def release(self, *, now: bool = False) -> tuple[int, list[Event]]:
        """If the moment is over, or `now`: how many events stay unseen, and those that are to be shown after all."""
        time = self._clock()
        if time < self._end and not now:
            return 0, []
        if time >= self._end:
            self._end, self._left = time + MOMENT, BUDGET
        unseen, shown = self._number - len(self._held), list(self._held)
        self._held.clear()
        self._number = 0
        return unseen, shown
