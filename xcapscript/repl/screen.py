"""What running clauses show above the prompt: as many lines as a person can read; the others are counted."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from xcapscript.unit import EventSpec, HookKind

MOMENT = 0.1
"""Seconds."""

BUDGET = 20
"""Lines that are shown of a moment."""

LARGEST = 1 << 18
"""Characters that wait to be shown, at the most."""

_OF_THEIR_OWN_TIME = frozenset({HookKind.BEGIN, HookKind.END, HookKind.INTERVAL})


class Screen:
    """Collects text from all threads; `take` gives what one moment shows. `wake` is called when there is some."""

    def __init__(self) -> None:
        self.wake: Callable[[], None] = _nobody
        self._lock = Lock()
        self._pending: list[str] = []
        self._size = 0
        self._left = BUDGET
        self._rung = False
        self._voices: list[Voice] = []
        self.held = False
        """Whether the lines of clauses are only counted."""

    def voice(self) -> Voice:
        """A way to the screen for one clause."""
        made = Voice(self)
        self._voices.append(made)
        return made

    def say(self, text: str) -> None:
        """Show a message, whatever else is shown; a line end is put behind it."""
        self._add(f"{text}\n")

    def take(self) -> str:
        """What there is to be shown; the next moment begins."""
        with self._lock:
            self._rung = False
            text = "".join(self._pending)
            self._pending.clear()
            self._size = 0
            self._left = BUDGET
        unseen = sum(voice.untold() for voice in self._voices)
        return text if not unseen or self.held else f"{text}... {unseen:,} more\n"

    @property
    def has_room(self) -> bool:
        return self._left > 0 and not self.held

    def spend(self, text: str) -> None:
        """Show lines of a clause."""
        with self._lock:
            self._left -= max(1, text.count("\n"))
        self._add(text)

    def _add(self, text: str) -> None:
        with self._lock:
            if self._size < LARGEST:
                self._pending.append(text)
                self._size += len(text)
        self.ring()

    def ring(self) -> None:
        """Have `take` called."""
        if not self._rung:
            self._rung = True
            self.wake()


def _nobody() -> None:
    """Nobody waits yet."""


class Voice:
    """One clause's way to the screen. It is used by the clause's thread, but for `untold`."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._told = 0
        self.unseen = 0
        """Events that were not shown."""

    def wanted(self, spec: EventSpec) -> bool:
        """Whether an event is to be shown. What begin, end and intervals print is not many."""
        screen = self._screen
        if screen.has_room or (spec.attachment.kind in _OF_THEIR_OWN_TIME and not screen.held):
            return True
        self.unseen += 1
        screen.ring()
        return False

    def show(self, text: str) -> None:
        """Show lines of an event."""
        self._screen.spend(text)

    def untold(self) -> int:
        """How many events were not shown since this was last asked."""
        now = self.unseen
        untold, self._told = now - self._told, now
        return untold
