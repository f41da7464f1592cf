"""The variables of a probe: block by block, each with one type."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from xcapscript.nodes import Variable
from xcapscript.types import Type


@dataclass(slots=True)
class Scope:
    """The names that can be seen; numbers are given once in a probe."""

    numbers: Iterator[int] = field(default_factory=count)
    _blocks: list[dict[str, Variable]] = field(default_factory=lambda: [{}])

    def find(self, name: str) -> Variable | None:
        """The variable of that name in the nearest block."""
        return next((block[name] for block in reversed(self._blocks) if name in block), None)

    def declare(self, name: str, kind: Type) -> Variable:
        """Make a variable in the innermost block."""
        made = self.unnamed(kind)
        self._blocks[-1][name] = made
        return made

    def unnamed(self, kind: Type) -> Variable:
        """Make a variable that no name stands for."""
        return Variable(next(self.numbers), kind)

    def names(self) -> list[str]:
        """All names that can be seen."""
        return [name for block in self._blocks for name in block]

    def function(self) -> Scope:
        """What the body of a function sees: nothing from outside."""
        return Scope(self.numbers)

    @contextmanager
    def block(self) -> Iterator[None]:
        """Names given meanwhile are gone afterwards."""
        self._blocks.append({})
        yield
        self._blocks.pop()
