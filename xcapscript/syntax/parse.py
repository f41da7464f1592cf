"""Script text to `ast.Script`. The only file that imports lark."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from lark import Lark, Token, Transformer, Tree
from lark.exceptions import UnexpectedInput, UnexpectedToken

from xcapscript.diagnostics import Code, Diagnostic, ScriptError
from xcapscript.errors import KernelError
from xcapscript.quotes import ESCAPES, STRING, partition
from xcapscript.resources import cache_directory
from xcapscript.source import Source, Span
from xcapscript.syntax import ast
from xcapscript.syntax.explain import CLOSING, Trouble, explain

DURATIONS = {"": 1, "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
LONGEST_NUMBER = 80
"""Characters: many more than 64 bits need, and fewer than what int() refuses."""

WORDS = {"and": "&&", "or": "||", "not": "!"}
ALL_BITS = (1 << 128) - 1
MAPPED = 0xFFFF << 32
"""What stands before an IPv4 address in 128 bits: RFC 4291, 2.5.5.2."""

OPEN = re.compile(r'"""(?!.*""")|/\*(?!.*\*/)|/[^{};]*\Z', re.DOTALL)
"""C, a comment and a predicate that have no end."""


class Lexeme(NamedTuple):
    """A token: the name of its terminal, and where it stands; blanks and comments are none."""

    kind: str
    text: str
    start: int
    end: int


def parse(source: Source) -> ast.Script:
    """The tree of a script; ScriptError if it is not in the language."""
    script: ast.Script = _parse(source, source.text, "start")
    return script


def goes_on(source: Source) -> bool:
    """Whether what is wrong with a script is only that it has not ended: something is open, or a part is missing."""
    try:
        _grammar().parse(source.text, start="start")
    except UnexpectedInput as error:
        ended = isinstance(error, UnexpectedToken) and error.token.type == "$END"
        return ended or OPEN.match(source.text, _where(error, source.text)[0]) is not None
    except RecursionError:
        return False
    return False


def parse_condition(span: Span) -> ast.Expression:
    """The tree of an expression that is part of a predicate; ScriptError if it is none."""
    # blanks in place of what stands before keep every offset
    expression: ast.Expression = _parse(span.source, " " * span.start + span.text, "condition")
    return expression


def lexemes(source: Source) -> list[Lexeme]:
    """The tokens of a script that `parse` takes."""
    tokens = _grammar().parse_interactive(source.text, start="start").iter_parse()
    return [Lexeme(token.type, str(token), token.start_pos or 0, token.end_pos or 0) for token in tokens]


def _parse(source: Source, text: str, rule: str) -> Any:
    builder = _Builder(source)
    try:
        tree = builder.transform(_grammar().parse(text, start=rule))
    except UnexpectedInput as error:
        raise ScriptError([_explain(error, source, text, rule)]) from None
    except RecursionError:
        message = "the program is nested too deeply"
        raise ScriptError([Diagnostic(Code.SYNTAX, message, source.span(0, 0))]) from None
    if builder.diagnostics:
        raise ScriptError(builder.diagnostics)
    return tree


@cache
def _grammar() -> Lark:
    path = Path(__file__).with_name("xcap.lark")
    try:
        directory = cache_directory()
    except KernelError:
        # a directory that others can write to: what would be read from it is not to be trusted
        directory = None
    return Lark(
        path.read_text(encoding="utf-8"),
        parser="lalr",
        lexer="contextual",
        start=["start", "condition"],
        propagate_positions=True,
        maybe_placeholders=True,
        cache=str(directory / "grammar.pickle") if directory else False,
    )


class _Builder(Transformer[Token, Any]):
    """Builds nodes from the bottom up. Mistakes are collected: an exception in here would arrive as another one."""

    def __init__(self, source: Source) -> None:
        super().__init__(visit_tokens=False)
        self.source = source
        self.diagnostics: list[Diagnostic] = []

    def _call_userfunc(self, tree: Tree[Token], new_children: list[Any] | None = None) -> Any:
        children = tree.children if new_children is None else new_children
        meta = tree.meta
        span = self.source.span(0, 0) if meta.empty else self.source.span(meta.start_pos, meta.end_pos)
        build: Callable[[list[Any], Span], Any] = getattr(self, tree.data)
        return build(children, span)

    def _token_span(self, token: Token) -> Span:
        start = token.start_pos or 0
        return self.source.span(start, start + len(token))

    def _name(self, token: Token) -> ast.Name:
        return ast.Name(str(token), self._token_span(token))

    def start(self, children: list[Any], _span: Span) -> ast.Script:
        return ast.Script(tuple(children), self.source.span(0, len(self.source.text)))

    def import_(self, children: list[Any], span: Span) -> ast.Import:
        return ast.Import(self.string(children, self._token_span(children[0])), span)

    def condition(self, children: list[Any], _span: Span) -> Any:
        return children[0]

    def option(self, children: list[Any], span: Span) -> ast.Option:
        return ast.Option(self._name(children[0]), children[1], span)

    def param(self, children: list[Any], span: Span) -> ast.Param:
        name, default, doc = children
        said = self.string([doc], self._token_span(doc)) if doc is not None else None
        return ast.Param(self._name(name), default, said, span)

    def function(self, children: list[Any], span: Span) -> ast.Function:
        name, *parameters, body = children
        found = tuple(ast.Parameter(str(token)[1:], self._token_span(token)) for token in _present(parameters))
        return ast.Function(self._name(name), found, body, span)

    def c_text(self, children: list[Any], _span: Span) -> ast.CText:
        where, before = self._token_span(children[0]), children[0].index('"') + 3
        return ast.CText(str(children[0])[before:-3], self.source.span(where.start + before, where.end - 3))

    def hook_alias(self, children: list[Any], span: Span) -> ast.HookAlias:
        name, *alternatives = children
        return ast.HookAlias(self._name(name), tuple(alternatives), span)

    def clause(self, children: list[Any], span: Span) -> ast.Clause:
        attaches = tuple(child for child in children if isinstance(child, ast.Attach))
        predicate = next((child for child in children if isinstance(child, ast.Predicate)), None)
        block = next((child for child in children if isinstance(child, ast.Block)), None)
        return ast.Clause(attaches, predicate, block, span)

    unfinished = clause

    def attach(self, children: list[Any], span: Span) -> ast.Attach:
        for match in re.finditer(STRING, children[0]):
            self._resolved(match[0][1:-1], span.start + match.start() + 1)
        return ast.Attach(str(children[0]), span)

    def predicate(self, children: list[Any], span: Span) -> ast.Predicate:
        return ast.Predicate(str(children[0])[1:-1], self.source.span(span.start + 1, span.end - 1))

    def block(self, children: list[Any], span: Span) -> ast.Block:
        return ast.Block(tuple(child for child in children if child is not None), span)

    def action(self, children: list[Any], span: Span) -> ast.Action:
        name, *arguments = children
        return ast.Action(self._name(name), _present(arguments), span)

    def assign(self, children: list[Any], span: Span) -> ast.Assign:
        target, operator, value = children
        return ast.Assign(target, str(operator), value, span)

    def step(self, children: list[Any], span: Span) -> ast.Assign:
        sign, target = sorted(children, key=lambda child: not isinstance(child, Token))
        return ast.Assign(target, f"{sign[0]}=", ast.Number(1, self._token_span(sign)), span)

    def if_(self, children: list[Any], span: Span) -> ast.If:
        condition, then, otherwise = children
        if isinstance(otherwise, ast.If):
            otherwise = ast.Block((otherwise,), otherwise.span)
        return ast.If(condition, then, otherwise, span)

    def return_(self, children: list[Any], span: Span) -> ast.Return:
        return ast.Return(children[0], span)

    def keyword(self, children: list[Any], span: Span) -> ast.Keyword:
        return ast.Keyword(self._name(children[0]), children[1], span)

    def map(self, children: list[Any], span: Span) -> ast.Map:
        name, *keys = children
        return ast.Map(str(name), _present(keys), span)

    def binary(self, children: list[Any], span: Span) -> ast.Binary:
        left, operator, right = children
        return ast.Binary(WORDS.get(str(operator), str(operator)), left, right, span)

    def unary(self, children: list[Any], span: Span) -> ast.Unary:
        operator, operand = children
        return ast.Unary(WORDS.get(str(operator), str(operator)), operand, span)

    def ternary(self, children: list[Any], span: Span) -> ast.Ternary:
        condition, yes, no = children
        return ast.Ternary(condition, yes, no, span)

    def cast(self, children: list[Any], span: Span) -> ast.Cast:
        return ast.Cast(children[0], children[1], span)

    def type(self, children: list[Any], span: Span) -> ast.TypeName:
        words = [str(token) for token in children]
        return ast.TypeName(" ".join(word for word in words if word != "*"), words.count("*"), span)

    def index(self, children: list[Any], span: Span) -> ast.Index:
        return ast.Index(children[0], children[1], span)

    def address(self, children: list[Any], span: Span) -> ast.Address:
        text = str(children[0])
        found = read_address(text)
        if found is None:
            hint = "write 10.0.0.1, 10.0.0.0/8, fe80::1 or fe80::/10"
            self.diagnostics.append(Diagnostic(Code.BAD_LITERAL, f"'{text}' is not an address", span, (hint,)))
        return ast.Address(*(found or (0, 0)), span)

    def mac(self, children: list[Any], span: Span) -> ast.Mac:
        return ast.Mac(int(str(children[0]).replace(":", ""), 16), span)

    def group(self, children: list[Any], _span: Span) -> Any:
        return children[0]

    def name(self, children: list[Any], _span: Span) -> ast.Name:
        return self._name(children[0])

    def parameter(self, children: list[Any], span: Span) -> ast.Parameter:
        return ast.Parameter(str(children[0])[1:], span)

    def call(self, children: list[Any], span: Span) -> ast.Call:
        name, *arguments = children
        return ast.Call(self._name(name), _present(arguments), span)

    def member(self, children: list[Any], span: Span) -> ast.Member:
        return ast.Member(children[0], self._name(children[1]), span)

    def number(self, children: list[Any], span: Span) -> ast.Number:
        text = str(children[0])
        value = read_number(text)
        if value is None or value >= 2**64:
            hint = "write 10, 1_000, 0x1f, or a duration such as 5ms (ns us ms s m h)"
            problem = "is not a number" if value is None else "does not fit in 64 bits"
            self.diagnostics.append(Diagnostic(Code.BAD_LITERAL, f"'{text}' {problem}", span, (hint,)))
        return ast.Number(value or 0, span)

    def string(self, children: list[Any], span: Span) -> ast.String:
        return ast.String(self._resolved(str(children[0])[1:-1], span.start + 1), span)

    def _resolved(self, body: str, start: int) -> str:
        """What stands between quotes, without its escapes."""

        def resolve(match: re.Match[str]) -> str:
            if match[1]:
                return chr(int(match[1], 16))
            if match[2] not in ESCAPES:
                at = start + match.start()
                where = self.source.span(at, at + 2)
                hint = f"the escapes are {' '.join(chr(92) + known for known in ESCAPES)} \\xNN"
                message = f"'{match[0]}' is not an escape"
                self.diagnostics.append(Diagnostic(Code.BAD_LITERAL, message, where, (hint,)))
            return ESCAPES.get(match[2], "")

        return re.sub(r"\\(?:x([0-9a-fA-F]{2})|(.))", resolve, body)


def _present(children: list[Any]) -> tuple[Any, ...]:
    """Without the placeholders of what was left out."""
    return tuple(child for child in children if child is not None)


def read_address(text: str) -> tuple[int, int] | None:
    """The 128 bits of an address, an IPv4 one mapped into IPv6, and its mask; None if it is none."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    address = int(ipaddress.ip_address(text.partition("/")[0]))
    mapped = MAPPED if network.version == 4 else 0
    host_bits = (1 << network.max_prefixlen - network.prefixlen) - 1
    return mapped | address, ALL_BITS ^ host_bits


def read_number(text: str) -> int | None:
    """The value of a number or duration (in ns) as the language writes it; None if it is none."""
    if len(text) > LONGEST_NUMBER:
        return None
    if match := re.fullmatch(r"0[xX]([0-9a-fA-F][0-9a-fA-F_]*)", text):
        return int(match[1].replace("_", ""), 16)
    if match := re.fullmatch(r"([0-9][0-9_]*)(ns|us|ms|s|m|h)?", text):
        return int(match[1].replace("_", "")) * DURATIONS[match[2] or ""]
    return None


def _explain(error: UnexpectedInput, source: Source, text: str, rule: str) -> Diagnostic:
    """The mistake at which parsing ended: it is done once more, for what stands before it."""
    at, length = _where(error, text)
    parser = _grammar().parse_interactive(text, start=rule)
    before: Token | None = None
    with suppress(UnexpectedInput):
        for token in parser.iter_parse():
            before = token if (token.start_pos or 0) < at else before
    opened = [token for token in parser.parser_state.value_stack if isinstance(token, Token) and token in CLOSING]
    accepted = frozenset(parser.accepts())  # type: ignore[no-untyped-call]

    def span(token: Token | None) -> Span | None:
        return None if token is None else source.span(token.start_pos or 0, token.end_pos or 0)

    place = source.span(at, at + length)
    return explain(Trouble(place, accepted, span(before), span(opened[-1] if opened else None), rule == "condition"))


def _where(error: UnexpectedInput, text: str) -> tuple[int, int]:
    """Offset and length of what was not expected; at the end of the text lark gives the token before it."""
    if isinstance(error, UnexpectedToken):
        token = error.token
        if token.type == "$END":
            return len(text.rstrip()), 0
        start = token.start_pos or 0
        # what looks like a hook outside of its place is a word and its parentheses
        word = partition(token, "(")[0] if token.type == "ATTACH" else token
        return start, 2 if text.startswith("/*", start) else len(word)
    at = error.pos_in_stream or 0
    match = re.compile(r"""\w+|"[^"\n]*"?|'[^'\n]*'?|/\*|.""", re.DOTALL).match(text, at)
    return at, len(match[0]) if match else 0
