"""What an attachment hangs on, where that is more than a descriptor."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Protocol

from xcapscript.kernel import links
from xcapscript.kernel.sockets import bound_index


class Held(Protocol):
    """Attached until it is closed; `note` is what a user may want to know of it."""

    @property
    def note(self) -> str: ...

    def is_gone(self) -> bool:
        """Whether what it was attached to is not there any more."""

    def close(self) -> None:
        """Detach it."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A descriptor that the kernel drops with us."""

    descriptor: int
    note: str

    def is_gone(self) -> bool:
        """As the kernel tells of a link."""
        return links.is_gone(self.descriptor)

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


def let_go(one: int | Held) -> None:
    """Detach what a descriptor, or more, holds."""
    if isinstance(one, int):
        os.close(one)
    else:
        one.close()


def is_gone(one: int | Held) -> bool:
    """Whether the interface that something is attached to is not there any more."""
    if not isinstance(one, int):
        return one.is_gone()
    return bound_index(one) < 0 if stat.S_ISSOCK(os.fstat(one).st_mode) else links.is_gone(one)
