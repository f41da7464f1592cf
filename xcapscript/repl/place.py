"""What is being typed where the cursor is: a hook, what is bound there, a predicate, a statement, a command."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

TYPED = r'"(?:\\.|[^"\\\n])*"?'
"""A string that may still be open."""

ATTACH = re.compile(
    rf'(?:uprobe|uretprobe|usdt|ur?|U):(?:{TYPED}|[^\s,{{}};("])*|[A-Za-z_]\w*(?::(?:{TYPED}|[^\s,{{}};/(|"])*)*'
)
CLOSES = re.compile(r"\s*(?:[{;]|\Z)")
WORD = re.compile(r"[\w-]*\Z")
DEFINITIONS = frozenset({"import", "option", "param", "fn", "hook", "c"})


class Part(Enum):
    """The part of a program that the cursor is in."""

    HEAD = auto()
    BINDING = auto()
    PREDICATE = auto()
    BLOCK = auto()
    DEFINITION = auto()
    STRING = auto()
    COMMENT = auto()


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a program.

    The hooks of the clause that it is in, in a binding group the last of which is the group's, or the first word of a
    definition; the text of the part up to the cursor, from the last thing that ended. In a string, `opened` is what
    stands before its quote.
    """

    part: Part
    hooks: tuple[str, ...]
    text: str
    opened: str = ""


def place_of(text: str) -> Place:
    """The place at the end of a text."""
    return _Scan(text).place()


@dataclass(slots=True)
class _Scan:
    text: str
    at: int = 0

    def place(self) -> Place:
        hooks: list[str] = []
        while self.at < len(self.text):
            start = self.at
            if (skipped := self._skip()) is not None:
                if skipped:
                    return Place(Part.COMMENT, tuple(hooks), "")
                continue
            char = self.text[self.at]
            if char == "/":
                if (found := self._predicate(tuple(hooks))) is not None:
                    return found
            elif char == "{":
                if (found := self._block(tuple(hooks))) is not None:
                    return found
                hooks = []
            elif char == ";":
                self.at += 1
                hooks = []
            elif match := ATTACH.match(self.text, self.at):
                self.at = match.end()
                if self.at == len(self.text):
                    return Place(Part.HEAD, tuple(hooks), self.text[start:])
                if match[0] in DEFINITIONS and (found := self._definition(match[0])) is not None:
                    return found
                if match[0] not in DEFINITIONS:
                    hooks.append(match[0])
                    if (found := self._group(tuple(hooks))) is not None:
                        return found
            else:
                self.at += 1
        return Place(Part.HEAD, tuple(hooks), "")

    def _skip(self) -> bool | None:
        """Past blanks and a comment; None if there is none, True if one of them is not closed."""
        if self.text.startswith("//", self.at):
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end
            return end < 0
        if self.text.startswith("/*", self.at):
            end = self.text.find("*/", self.at + 2)
            self.at = len(self.text) if end < 0 else end + 2
            return end < 0
        if self.text[self.at].isspace():
            self.at += 1
            return False
        return None

    def _string(self, start: int, hooks: tuple[str, ...]) -> Place | None:
        """Past a string; the place if the cursor is in it."""
        match = re.compile(r'"(?:\\.|[^"\\\n])*(?P<end>"?)', re.DOTALL).match(self.text, self.at)
        assert match is not None
        opened, content = self.text[start : self.at], match[0][1:]
        self.at = match.end()
        inside = not match["end"] and self.at == len(self.text)
        return Place(Part.STRING, hooks, content, opened) if inside else None

    def _group(self, hooks: tuple[str, ...]) -> Place | None:
        """Past a binding group behind the last hook, if there is one; the place if the cursor is in it."""
        if not self.text.startswith("(", self.at):
            return None
        start, end = self.at + 1, self.text.find(")", self.at)
        self.at = len(self.text) if end < 0 else end + 1
        return Place(Part.BINDING, hooks, self.text[start:]) if end < 0 else None

    def _predicate(self, hooks: tuple[str, ...]) -> Place | None:
        """Past a predicate; the place if the cursor is in it."""
        start = self.at = self.at + 1
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == '"':
                if (found := self._string(start, hooks)) is not None:
                    return found
                continue
            if char in "{};":
                return None
            self.at += 1
            if char == "/" and CLOSES.match(self.text, self.at):
                return None
        return Place(Part.PREDICATE, hooks, self.text[start:])

    def _block(self, hooks: tuple[str, ...]) -> Place | None:
        """Past a block; the place if the cursor is in it."""
        start, depth = self.at, 0
        while self.at < len(self.text):
            if (skipped := self._skip()) is not None:
                if skipped:
                    return Place(Part.COMMENT, hooks, "")
                continue
            char = self.text[self.at]
            if char == '"':
                if (found := self._string(start, hooks)) is not None:
                    return found
                continue
            depth += (char == "{") - (char == "}")
            self.at += 1
            if depth == 0:
                return None
            if char in "{};":
                start = self.at
        return Place(Part.BLOCK, hooks, self.text[start:])

    def _definition(self, word: str) -> Place | None:
        """Past a definition; the place if the cursor is in it. Of a function, its block is one without hooks."""
        start = self.at
        while self.at < len(self.text):
            char = self.text[self.at]
            if self.text.startswith('"""', self.at):
                end = self.text.find('"""', self.at + 3)
                self.at = len(self.text) if end < 0 else end + 3
                return None
            if char == '"':
                if (found := self._string(start, (word,))) is not None:
                    return found
                continue
            if char == "{":
                return self._block(())
            self.at += 1
            if char == ";":
                return None
        return Place(Part.DEFINITION, (word,), self.text[start:])
