"""What may have been meant by an expression that libpcap refuses: a condition about the kernel, misspelt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from xcapscript.builtins import BUILTINS
from xcapscript.diagnostics import Code, Diagnostic, did_you_mean
from xcapscript.pcap.worker import may_ask
from xcapscript.syntax import ast
from xcapscript.syntax.predicate import INNER, Names, Token, tokens_of
from xcapscript.types import InternedType, StringType

COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})


def meant(expression: ast.Predicate, names: Names) -> Diagnostic | None:
    """A mistake that is likelier than what libpcap says; None if there is none."""
    return next(_Reader(expression, names).guesses(), None)


class _Reader:
    def __init__(self, expression: ast.Predicate, names: Names) -> None:
        self._expression = expression
        self._names = names

    def guesses(self) -> Iterator[Diagnostic]:
        tokens = tokens_of(self._expression)
        for token in tokens:
            if token.text == INNER:
                message = "'inner' takes a tcpdump expression in quotes"
                yield self._told(Code.BAD_PREDICATE, message, [token], 'write inner "tcp port 80"')
        for one, other in pairwise(tokens):
            if one.text in self._names.values or one.text in self._names.fields:
                yield from self._without_operator(one, other)
            elif (one.text.isidentifier() or "." in one.text) and may_ask(one.text):
                yield from self._unknown(one, other)

    def _without_operator(self, name: Token, value: Token) -> Iterator[Diagnostic]:
        """`pid = 1`, `pid 1`: a name of the kernel, and no operator behind it."""
        if value.text == "=":
            hint = f"write {name.text} == ..."
            yield self._told(Code.BAD_PREDICATE, "a condition compares with '==', not '='", [value], hint)
        elif not value.word and (value.text[0].isalnum() or value.text[0] in "$:'"):
            hint = f"write {name.text} == {self._quoted(name.text, value.text)}"
            yield self._told(Code.BAD_PREDICATE, f"'{name.text}' has no operator behind it", [name, value], hint)

    def _unknown(self, name: Token, following: Token) -> Iterator[Diagnostic]:
        """A word that nobody knows, where one about the kernel may stand."""
        group, dot, field = name.text.partition(".")
        if dot and following.text in COMPARISONS | {"=", "in"}:
            known = [known for known in self._names.fields if known.startswith(f"{group}.")]
            hints = did_you_mean(name.text, known) or (f"its fields: {' '.join(sorted(known))}",)
            if known:
                message = f"'{group}' has no field '{field}'"
                yield self._told(Code.UNKNOWN_FIELD, message, [name], *hints)
        elif following.text in COMPARISONS and (hints := did_you_mean(name.text, self._names.values)):
            yield self._told(Code.UNKNOWN_NAME, f"unknown name '{name.text}'", [name], *hints)
        elif following.text == "(" and (hints := did_you_mean(name.text, self._names.functions)):
            yield self._told(Code.UNKNOWN_NAME, f"unknown function '{name.text}'", [name], *hints)

    def _quoted(self, name: str, value: str) -> str:
        text = name in BUILTINS and isinstance(BUILTINS[name].type, StringType | InternedType)
        plain = value.strip("'")
        return f'"{plain}"' if text and not plain.startswith("$") else plain

    def _told(self, code: Code, message: str, tokens: Sequence[Token], *hints: str) -> Diagnostic:
        span = self._expression.span
        place = span.source.span(span.start + tokens[0].start, span.start + tokens[-1].end)
        return Diagnostic(code, message, place, hints)
