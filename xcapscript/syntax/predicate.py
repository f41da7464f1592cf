"""What stands in a predicate besides the tcpdump expression; nothing of pcap-filter(7) itself is parsed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from xcapscript.diagnostics import Code, Diagnostic, ScriptError
from xcapscript.source import Span
from xcapscript.syntax import ast

_INNER = re.compile(r'\binner\s*"(?P<text>[^"]*)"')
_TOKEN = re.compile(r"\[[^\]]*\]|[()]|&&|\|\||!|[^\s()&|!\[]+")
_AND, _OR, _NOT = frozenset({"and", "&&"}), frozenset({"or", "||"}), frozenset({"not", "!"})


@dataclass(frozen=True, slots=True)
class Parts:
    """A predicate taken apart: the packet's own expression, and those about the packet inside a tunnel.

    All of them have to match. An expression is text with the place that it was written at.
    """

    outer: ast.Predicate | None
    inner: tuple[ast.Predicate, ...]


def split(predicate: ast.Predicate) -> Parts:
    """Take a predicate apart; ScriptError where `inner "..."` is not an operand of a plain chain of `and`."""
    found = list(_INNER.finditer(predicate.text))
    if not found:
        return Parts(predicate, ())
    inner = tuple(_part(predicate, match.start("text"), match.end("text")) for match in found)
    for match in found:
        _check_place(predicate, match)
    # What is taken out leaves blanks, so that every character keeps its place; "and" has nothing to join then.
    text = _INNER.sub(lambda match: " " * len(match[0]), predicate.text)
    text = _drop_joints(text)
    return Parts(ast.Predicate(text, predicate.span) if text.strip() else None, inner)


def _part(predicate: ast.Predicate, start: int, end: int) -> ast.Predicate:
    at = predicate.span.start
    return ast.Predicate(predicate.text[start:end], predicate.span.source.span(at + start, at + end))


def _check_place(predicate: ast.Predicate, match: re.Match[str]) -> None:
    """The operand must stand at the top, in a chain that has no `or`, and without a `not` of its own."""
    blanked = _INNER.sub(lambda other: "x" * len(other[0]), predicate.text)
    depth, before = 0, ""
    at_top = False
    for token in _TOKEN.finditer(blanked):
        word = token[0]
        if token.start() == match.start():
            at_top = depth == 0
            if before in _NOT:
                _refuse(predicate, match, "'not inner' is not in this version", 'negate within: inner "not tcp"')
        depth += (word == "(") - (word == ")")
        if depth == 0 and word in _OR:
            _refuse(predicate, match, "'inner' and 'or' in one chain need parentheses around the rest")
        before = word
    if not at_top:
        _refuse(predicate, match, "'inner' within parentheses is not in this version", "join it with 'and' at the top")


def _refuse(predicate: ast.Predicate, match: re.Match[str], message: str, *hints: str) -> None:
    at = predicate.span.start
    span: Span = predicate.span.source.span(at + match.start(), at + match.start() + len("inner"))
    raise ScriptError([Diagnostic(Code.BAD_FILTER, message, span, hints)])


def _drop_joints(text: str) -> str:
    """Without the `and`s that have nothing on one side: at the ends, and of two in a row one."""
    result = list(text)
    pending = True
    last: re.Match[str] | None = None
    for token in _TOKEN.finditer(text):
        joint = token[0] in _AND
        if joint and pending:
            result[token.start() : token.end()] = " " * len(token[0])
        elif joint:
            last = token
        else:
            last = None
        pending = joint
    if last is not None:
        result[last.start() : last.end()] = " " * len(last[0])
    return "".join(result)
