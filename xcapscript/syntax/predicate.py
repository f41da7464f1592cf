"""Takes a predicate apart: conditions about the kernel, and tcpdump expressions, of which nothing is parsed here.

An operand of `and`, `or`, `not` and parentheses is about the kernel if it has a string, an @map, a call, `->`, or a
name of the kernel beside an operator. What is not is tcpdump's, and stays together: `port 80 or 443` hangs on its left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from xcapscript.diagnostics import Code, Diagnostic, ScriptError
from xcapscript.source import Span
from xcapscript.syntax import ast
from xcapscript.syntax.parse import parse_condition

_TOKEN = re.compile(
    r'"(?:\\.|[^"\\\n])*"|&&|\|\||!=|==|<=|>=|<<|>>|->|[()\[\]!<>=&|+*^~,]|(?:(?!->)[^\s()\[\]!<>=&|+*^~,"])+|"'
)
_WORDS = {"and": "and", "&&": "and", "or": "or", "||": "or", "not": "not", "!": "not"}
_OPERATORS = frozenset(
    {"==", "!=", "<", "<=", ">", ">=", "in", "->", "&", "|", "+", "*", "<<", ">>", "[", "%", "^", "/", "-"}
)
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_HEAD = re.compile(r"([A-Za-z_][\w.]*)[-/%]")
"""A name with an operator behind it that may also stand within a word of tcpdump's."""

MOST_TOKENS = 5000
"""Each pair of parentheses within another is looked through again."""

INNER = "inner"


@dataclass(frozen=True, slots=True)
class Pcap:
    """A tcpdump expression; `inner`: about the packet inside a tunnel."""

    expression: ast.Predicate
    inner: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """Something about the kernel."""

    expression: ast.Expression


@dataclass(frozen=True, slots=True)
class Negated:
    """The opposite."""

    operand: Part


@dataclass(frozen=True, slots=True)
class Chain:
    """Operands, of which all (`and`) or one (`or`) must hold."""

    operator: str
    operands: tuple[Part, ...]


Part = Pcap | Condition | Negated | Chain


@dataclass(frozen=True, slots=True)
class Names:
    """What belongs to the kernel: names that stand before an operator, those of fields, and those of functions."""

    values: frozenset[str]
    fields: frozenset[str]
    functions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """`and`, `or` or `not`, however it is written; nothing for other tokens."""
        return _WORDS.get(self.text, "")


def split(predicate: ast.Predicate, names: Names) -> Part | None:
    """The parts of a predicate, None if it is empty; ScriptError where its form is wrong."""
    tokens = tokens_of(predicate)
    return _Splitter(predicate, names).whole(tokens) if tokens else None


def tokens_of(predicate: ast.Predicate) -> list[Token]:
    """Words, strings and signs; a word may hold what is tcpdump's, such as dots and slashes."""
    return [Token(match[0], match.start(), match.end()) for match in _TOKEN.finditer(predicate.text)]


@dataclass(frozen=True, slots=True)
class _Splitter:
    predicate: ast.Predicate
    names: Names

    def whole(self, tokens: Sequence[Token]) -> Part:
        """What a predicate is, whose parentheses must be even if it has anything about the kernel."""
        opened: list[Token] = []
        if len(tokens) > MOST_TOKENS and self._has_kernel(tokens):
            message = f"a predicate with conditions about the kernel has at most {MOST_TOKENS:,} words and signs"
            self._refuse(tokens[0], message)
        for token in tokens if self._has_kernel(tokens) else ():
            if token.text == "(":
                opened.append(token)
            elif token.text == ")" and opened:
                opened.pop()
            elif token.text == ")":
                self._refuse(token, "this ')' closes nothing", "'(' is missing before it")
        if opened:
            self._refuse(opened[-1], "this '(' is not closed", "')' is missing behind it")
        return self.part(tokens)

    def part(self, tokens: Sequence[Token]) -> Part:
        """What some tokens are: a chain, or one operand."""
        if not self._has_kernel(tokens):
            return self._pcap(tokens)
        operands, joints = _at_top(tokens)
        if len(operands) == 1:
            return self._operand(tokens)
        for one, other in pairwise(joints):
            if one.word != other.word:
                hint = "put parentheses around what belongs together"
                message = f"'{one.text}' and '{other.text}' in one chain with conditions about the kernel"
                self._refuse(other, message, hint)
        for joint, operand in zip((None, *joints), operands, strict=True):
            if not operand and joint is None:
                self._refuse(joints[0], f"'{joints[0].text}' has nothing before it")
            elif not operand and joint is not None:
                self._refuse(joint, f"'{joint.text}' has nothing behind it")
        return self._chain(operands, joints)

    def _chain(self, operands: list[Sequence[Token]], joints: list[Token]) -> Part:
        """The operands in order, but those of tcpdump are one."""
        found: list[Part] = []
        joined: list[tuple[Token | None, Sequence[Token]]] = []
        diagnostics: list[Diagnostic] = []
        place = 0
        for joint, operand in zip((None, *joints), operands, strict=True):
            if not self._has_kernel(operand):
                place = place if joined else len(found)
                joined.append((joint, operand))
                continue
            try:
                found.append(self.part(operand))
            except ScriptError as error:
                diagnostics += error.diagnostics
        if diagnostics:
            raise ScriptError(diagnostics)
        if joined:
            found.insert(place, Pcap(self._joined(joined)))
        return found[0] if len(found) == 1 else Chain(joints[0].word, tuple(found))

    def _joined(self, operands: list[tuple[Token | None, Sequence[Token]]]) -> ast.Predicate:
        """The operands with what joins them, each character at its own place; blanks between."""
        first, last = operands[0][1][0].start, operands[-1][1][-1].end
        text = [" "] * (last - first)
        for number, (joint, tokens) in enumerate(operands):
            start = joint.start if number and joint else tokens[0].start
            # what stands between the joint and its operand is no more than blanks
            text[start - first : tokens[-1].end - first] = self.predicate.text[start : tokens[-1].end]
        return ast.Predicate("".join(text), self._span(first, last))

    def _operand(self, tokens: Sequence[Token]) -> Part:
        """One operand that has something of the kernel's in it."""
        if tokens[0].word == "not":
            if len(tokens) == 1:
                self._refuse(tokens[0], "'not' has nothing behind it")
            return Negated(self.part(tokens[1:]))
        if tokens[0].text == "(" and _closing(tokens) == len(tokens) - 1:
            if len(tokens) == 2:
                self._refuse(tokens[0], "the parentheses are empty")
            if self._is_compound(tokens[1:-1]):
                return self.part(tokens[1:-1])
        if tokens[0].text == INNER:
            return self._inner(tokens)
        if len(tokens) == 1 and tokens[0].text in self.names.values:
            hint = f"compare it: {tokens[0].text} == ..."
            self._refuse(tokens[0], f"'{tokens[0].text}' alone is no condition", hint)
        return Condition(parse_condition(self._span(tokens[0].start, tokens[-1].end)))

    def _is_compound(self, tokens: Sequence[Token]) -> bool:
        """Whether it is more than one condition, or one that is tcpdump's or negated."""
        return any(token.word or token.text == INNER for token in tokens)

    def _inner(self, tokens: Sequence[Token]) -> Part:
        text = tokens[1] if len(tokens) > 1 else None
        if len(tokens) != 2 or text is None or not text.text.startswith('"'):
            self._refuse(tokens[0], "'inner' takes a tcpdump expression in quotes", 'write inner "tcp port 80"')
        span = self._span(text.start + 1, text.end - 1)
        return Pcap(ast.Predicate(span.text, span), inner=True)

    def _pcap(self, tokens: Sequence[Token]) -> Part:
        start, end = tokens[0].start, tokens[-1].end
        return Pcap(ast.Predicate(self.predicate.text[start:end], self._span(start, end)))

    def _has_kernel(self, tokens: Sequence[Token]) -> bool:
        return any(self._is_kernel(tokens, at) for at in range(len(tokens)))

    def _is_kernel(self, tokens: Sequence[Token], at: int) -> bool:
        """Whether a token makes its operand one about the kernel."""
        text = tokens[at].text
        following = tokens[at + 1].text if at + 1 < len(tokens) else ""
        if text.startswith(('"', "@")) or text == "->":
            return True
        if text in self.names.functions and following == "(":
            return True
        root, dot, _ = text.partition(".")
        if root in self.names.values and dot:
            return True
        if text in self.names.fields:
            return True
        head = _HEAD.match(text)
        if head and following in _COMPARISONS and (head[1] in self.names.values or head[1] in self.names.fields):
            return True
        if root not in self.names.values:
            return False
        before = tokens[at - 1] if at else None
        first = before is None or bool(before.word) or before.text == "("
        last = at + 1 == len(tokens) or bool(tokens[at + 1].word) or following == ")"
        compared = before is not None and before.text in _OPERATORS
        return following in _OPERATORS or compared or (first and last)

    def _span(self, start: int, end: int) -> Span:
        at = self.predicate.span.start
        return self.predicate.span.source.span(at + start, at + end)

    def _refuse(self, token: Token, message: str, *hints: str) -> NoReturn:
        raise ScriptError([Diagnostic(Code.BAD_PREDICATE, message, self._span(token.start, token.end), hints)])


def _at_top(tokens: Sequence[Token]) -> tuple[list[Sequence[Token]], list[Token]]:
    """The operands of the chain that is not within parentheses, and what joins them."""
    operands: list[Sequence[Token]] = []
    joints: list[Token] = []
    depth, start = 0, 0
    for at, token in enumerate(tokens):
        depth += (token.text in "([") - (token.text in ")]")
        if depth == 0 and token.word in ("and", "or"):
            operands.append(tokens[start:at])
            joints.append(token)
            start = at + 1
    return [*operands, tokens[start:]], joints


def _closing(tokens: Sequence[Token]) -> int:
    """Where the parenthesis closes that the tokens begin with; -1 if nowhere."""
    depth = 0
    for at, token in enumerate(tokens):
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0:
            return at
    return -1


def each(part: Part) -> Iterator[Part]:
    """All parts at and below one."""
    yield part
    match part:
        case Negated(operand):
            yield from each(operand)
        case Chain(_, operands):
            for operand in operands:
                yield from each(operand)
