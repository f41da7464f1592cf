"""What an attachment hangs on, where that is more than a descriptor."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol


class Held(Protocol):
    """Attached until it is closed; `note` is what a user may want to know of it."""

    @property
    def note(self) -> str: ...

    def close(self) -> None:
        """Detach it."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A descriptor that the kernel drops with us."""

    descriptor: int
    note: str

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


def let_go(one: int | Held) -> None:
    """Detach what a descriptor, or more, holds."""
    if isinstance(one, int):
        os.close(one)
    else:
        one.close()
