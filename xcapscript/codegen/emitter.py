"""C text line by line: the Emitter alone knows about indentation, blocks and labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Emitter:
    """Collects lines of C, indented by tabs as deep as the open blocks."""

    def __init__(self, depth: int = 0) -> None:
        self._lines: list[str] = []
        self._depth = depth

    def line(self, text: str = "") -> None:
        """One line at the present depth; an empty one without blanks."""
        self._lines.append("\t" * self._depth + text if text else "")

    def lines(self, text: str) -> None:
        """Several lines, each indented further by the present depth."""
        for line in text.splitlines():
            self.line(line)

    def comment(self, text: str) -> None:
        """A comment of one line."""
        self.line(f"/* {' '.join(text.replace('*/', '* /').split(chr(10)))} */")

    def directive(self, text: str) -> None:
        """A line that begins at the margin, for the preprocessor."""
        self._lines.append(text)

    def label(self, name: str) -> None:
        """A target of `goto`, one step to the left."""
        self._lines.append("\t" * (self._depth - 1) + f"{name}:")

    @contextmanager
    def block(self, head: str = "", tail: str = "") -> Iterator[None]:
        """`head {`, what is emitted meanwhile one step deeper, `}` and `tail`."""
        self.line(f"{head} {{" if head else "{")
        self._depth += 1
        yield
        self._depth -= 1
        self.line(f"}}{tail}")

    @contextmanager
    def function(self, head: str) -> Iterator[None]:
        """A function: as a block, the brace on a line of its own."""
        self.line(head)
        with self.block():
            yield

    def text(self) -> str:
        """All lines, each with its end."""
        return "".join(f"{line}\n" for line in self._lines)
