"""What a reader hands the sinks."""

from __future__ import annotations

from dataclasses import dataclass

from xcapscript.layout import Value
from xcapscript.unit import EventSpec


@dataclass(frozen=True, slots=True)
class Event:
    """One event: which statement sent it, when (ns since 1970), on which CPU, its values, and its packet if any."""

    spec: EventSpec
    time: int
    cpu: int
    values: tuple[Value, ...]
    packet: bytes | None = None
