"""The variables of a probe: block by block, each with one type."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from xcapscript.nodes.expressions import Variable
from xcapscript.types import S64, U64, Type


@dataclass(slots=True)
class Scope:
    """The names that can be seen; numbers are given once in a probe, and so are those of the functions put in.

    `signed` are the variables that hold what may be negative; which these are is known after a first look at the probe.
    """

    numbers: Iterator[int] = field(default_factory=count)
    calls: Iterator[int] = field(default_factory=count)
    signed: set[int] = field(default_factory=set)
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
        number = next(self.numbers)
        return Variable(number, S64 if number in self.signed and kind == U64 else kind)

    def names(self) -> list[str]:
        """All names that can be seen."""
        return [name for block in self._blocks for name in block]

    def function(self) -> Scope:
        """What the body of a function sees: nothing from outside."""
        return Scope(self.numbers, self.calls, self.signed)

    def becomes(self, variable: Variable, kind: Type) -> None:
        """Note that a variable is also given values of another type of number."""
        if variable.type == U64 and kind == S64:
            self.signed.add(variable.number)

    @contextmanager
    def block(self) -> Iterator[None]:
        """Names given meanwhile are gone afterwards."""
        self._blocks.append({})
        yield
        self._blocks.pop()
