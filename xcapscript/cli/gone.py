"""The warning when an interface is removed whose packets are looked at: else nothing would come, without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from xcapscript.diagnostics import escape
from xcapscript.session import Session
from xcapscript.unit import Device, Unit

BETWEEN = 1
"""Seconds between two looks."""


class Gone:
    """Tells which interfaces are not there any more, once of each."""

    def __init__(
        self,
        unit: Unit,
        tell: Callable[[str], None],
        *,
        ends: str = "Ctrl-C",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._several = {program.hook for program in unit.programs if program.attachment.places > 1}
        self._tell = tell
        self._ends = ends
        self._clock = clock
        self._due = clock() + BETWEEN
        self._told = not any(program.attachment.devices for program in unit.programs)
        """Whether there is nothing more to be told."""

    def look(self, session: Session) -> None:
        """Warn, if it is time to and an interface was removed since."""
        if self._told or self._clock() < self._due:
            return
        self._due = self._clock() + BETWEEN
        found = session.gone()
        for line in self._lines(found):
            self._tell(line)
        if found and session.blind:
            self._told = True
            self._tell(f"no interface of the program is left: there will be no more packets, and {self._ends} ends it")

    def _lines(self, found: Sequence[tuple[Device, str]]) -> Iterator[str]:
        hooks: dict[Device, list[str]] = {}
        for device, hook in found:
            hooks.setdefault(device, []).append(hook)
        for device, names in hooks.items():
            see = "sees" if len(names) == 1 else "see"
            rest = " of it" if self._several & set(names) else ""
            yield f"{escape(str(device))} is gone: {escape(', '.join(names))} {see} no more packets{rest}"
