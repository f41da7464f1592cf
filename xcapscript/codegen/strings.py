"""The string constants of a program."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Strings:
    """The string constants of a program; in the kernel each is its index. That of no text is 0, as what is not set."""

    found: dict[str, int] = field(default_factory=lambda: {"": 0})

    def index(self, text: str) -> int:
        """The index of a string, given at first use."""
        return self.found.setdefault(text, len(self.found))
