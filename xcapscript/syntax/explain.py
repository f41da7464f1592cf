"""Why a text is not in the language, in words: what was not expected, and what may have been meant.

Each rule knows one mistake that people make, and gives nothing if it is another one. The first that knows it is told.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from xcapscript.diagnostics import Code, Diagnostic, Note, did_you_mean
from xcapscript.source import Span

TOP_LEVEL = ("import", "hook", "option", "param", "fn")
KEYWORDS = ("else", "if", "return")
LIKENESS = 0.7
"""How near to a keyword a word must be: `delete` is not `else`."""

DURATIONS = frozenset({"ns", "us", "ms", "s", "m", "h"})
LONGEST_LITERAL = 80
LOOPS = frozenset({"while", "for", "do", "unroll", "loop", "foreach"})
TYPE_WORD = r"let|var|auto|const|char|long|short|unsigned|bool|int|(u|s|u?int)(8|16|32|64)(_t)?"
ELSE_IF = frozenset({"elif", "elseif", "elsif"})
CLOSING = {"{": ("}", "RBRACE"), "(": (")", "RPAR"), "[": ("]", "RSQB")}
VALUE = frozenset({"NUMBER", "STRING", "NAME", "MAP", "PARAMETER", "LPAR"})
STATEMENT = frozenset({"SEMICOLON", "RBRACE"})

SPOKEN = {
    "ATTACH": "a hook",
    "PREDICATE": "a /filter/",
    "LBRACE": "'{'",
    "RBRACE": "'}'",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "SEMICOLON": "';'",
    "COMMA": "','",
    "EQUAL": "'='",
    "ASSIGN": "'='",
    "STEP": "'++'",
    "PLUS": "an operator",
    "PARAMETER": "a $variable",
    "C_TEXT": "C between triple quotes",
    "NAME": "a name",
    "STRING": "a string",
    "NUMBER": "a number",
    "MAP": "an @map",
    "$END": "the end",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Where parsing ended.

    What was not expected, and the terminals that were; the token before it, and the innermost bracket that is open;
    whether the text is a part of a predicate.
    """

    place: Span
    accepted: frozenset[str]
    before: Span | None
    opened: Span | None
    predicate: bool

    @property
    def found(self) -> str:
        return self.place.text

    @property
    def last(self) -> str:
        """The text of the token before."""
        return self.before.text if self.before is not None else ""

    @property
    def text_before(self) -> str:
        return self.place.source.text[: self.place.start]

    @property
    def in_statement(self) -> bool:
        """Whether a statement could end here."""
        return self.accepted >= STATEMENT

    @property
    def at_head(self) -> bool:
        """Whether it stands behind a hook."""
        return "PREDICATE" in self.accepted

    @property
    def begins(self) -> bool:
        """Whether a name, a variable or a map is what was found."""
        return re.match(r"[A-Za-z_$@]", self.found) is not None


def explain(trouble: Trouble) -> Diagnostic:
    """The mistake, in the words of the first rule that knows it."""
    return next(filter(None, (rule(trouble) for rule in RULES)), None) or _unexpected(trouble, *_expected(trouble))


def _unexpected(trouble: Trouble, *hints: str) -> Diagnostic:
    whole = "the predicate" if trouble.predicate else "the program"
    what = f"'{trouble.found}'" if trouble.found else f"the end of {whole}"
    return Diagnostic(Code.SYNTAX, f"{what} was not expected here", trouble.place, hints)


def _expected(trouble: Trouble) -> Iterator[str]:
    accepted = trouble.accepted
    wanted = {SPOKEN[name] for name in accepted - (VALUE if accepted >= VALUE else set()) if name in SPOKEN}
    if wanted or accepted >= VALUE:
        yield f"expected {', '.join([*sorted(wanted), *(['a value'] if accepted >= VALUE else [])])}"


def _syntax(place: Span, message: str, *hints: str, notes: tuple[Note, ...] = ()) -> Diagnostic:
    return Diagnostic(Code.SYNTAX, message, place, hints, notes)


def _not_closed(trouble: Trouble) -> Diagnostic | None:
    """Strings, comments, C and predicates without an end."""
    place, found = trouble.place, trouble.found
    if place.source.text.startswith('"""', place.start):
        return _syntax(place, "the C between triple quotes is not closed", 'end it with \'"""\'')
    if re.fullmatch(r'"[^"]*', found):
        return Diagnostic(Code.UNCLOSED_STRING, "the string is not closed on its line", place, ("end it with '\"'",))
    if found.startswith("/*"):
        return _syntax(place, "the comment is not closed", "end it with '*/'")
    if found.startswith("/") and trouble.at_head:
        hint = "a predicate ends at the '/' before '{', ';' or the end; it cannot hold '{', '}' or ';'"
        message = "the predicate is not closed: '/' is missing"
        slash = place.source.span(place.start, place.start + 1)
        followed = re.compile(r"(/[^/{};]*/)\s*(\w+)").match(place.source.text, place.start)
        braces = (f"statements stand in braces: {followed[1]} {{ {followed[2]} ... }}",) if followed else ()
        return Diagnostic(Code.UNCLOSED_PREDICATE, message, slash, (hint, *braces))
    return None


def _foreign_signs(trouble: Trouble) -> Diagnostic | None:
    """Signs that other languages have."""
    if trouble.found.startswith("'"):
        text = trouble.found.strip("'") or "text"
        return _syntax(trouble.place, "text stands in double quotes", f'write "{text}"')
    if trouble.found == "#":
        return _unexpected(trouble, 'a comment begins with //; C is written c """ ... """')
    return None


def _single_equals(trouble: Trouble) -> Diagnostic | None:
    if trouble.found != "=" or "EQUAL_OP" not in trouble.accepted:
        return None
    if trouble.predicate:
        message = "a condition compares with '==', not '='"
        return Diagnostic(Code.BAD_PREDICATE, message, trouble.place, ("write '=='",))
    message = "'=' sets a value, and none can be set here"
    return _syntax(trouble.place, message, "to compare two values, write '=='")


def _set_name(trouble: Trouble) -> Diagnostic | None:
    """`x = 1` and `x++`."""
    name = trouble.last
    if not trouble.in_statement or not name.isidentifier() or trouble.before is None:
        return None
    if trouble.found == "[":
        return _unexpected(trouble, f"a map begins with '@': @{name}[...]")
    if not re.fullmatch(r"(<<|>>|[-+*/%&|^])?=|\+\+|--", trouble.found):
        return None
    operation = trouble.found if trouble.found in ("++", "--") else f" {trouble.found} ..."
    hint = f"a variable begins with '$', a map with '@': ${name}{operation}"
    return _syntax(trouble.before, f"'{name}' is neither a variable nor a map", hint)


def _misspelt(trouble: Trouble) -> Diagnostic | None:
    """A word that is nearly a keyword, or one of another language."""
    if trouble.at_head and trouble.before is not None and trouble.last.isidentifier():
        hints = did_you_mean(trouble.last, TOP_LEVEL)
        if trouble.last in KEYWORDS:
            hint = f"statements stand in a clause: drop {{ {trouble.last} ... }}"
            return _syntax(trouble.before, f"'{trouble.last}' stands outside of a clause", hint)
        return _syntax(trouble.before, f"unknown word '{trouble.last}'", *hints) if hints else None
    head = re.search(r"[;{}]\s*([A-Za-z_]+)(?=[^;{}]*\Z)", trouble.text_before)
    if head is None or (not trouble.in_statement and head[1] not in LOOPS):
        return None
    word, place = head[1], trouble.place.source.span(head.start(1), head.end(1))
    if word in LOOPS:
        return _syntax(place, f"there is no '{word}': the language has no loops", "a clause runs once for each hit")
    if word in ELSE_IF:
        return _syntax(place, f"unknown word '{word}'", "write else if")
    if word in TOP_LEVEL and trouble.last == word:
        return _syntax(place, f"'{word}' stands within a clause", "definitions stand before the clauses")
    if word in KEYWORDS and trouble.last == word == "else":
        return _syntax(place, "'else' has no if before it", "write if ... { ... } else { ... }")
    near = difflib.get_close_matches(word, KEYWORDS, n=1, cutoff=LIKENESS)
    if near and trouble.last == word:
        return _syntax(place, f"unknown word '{word}'", f"did you mean '{near[0]}'?")
    return None


def _behind_hook(trouble: Trouble) -> Diagnostic | None:
    """What stands behind a hook and is no predicate."""
    if not trouble.at_head or not re.match(r'[\w"]', trouble.found) or trouble.place.source.text.startswith('"""'):
        return None
    word = trouble.found.strip('"')
    expression = f"a tcpdump expression stands between slashes: {trouble.last} /{word} .../"
    return _unexpected(trouble, expression, f"hooks are joined by ',': {trouble.last}, {word}")


def _odd_literal(trouble: Trouble) -> Diagnostic | None:
    """Numbers with a point, and addresses that are none: the lexer takes their beginnings for something else."""
    text, at = trouble.place.source.text, trouble.place.start
    if trouble.before is not None and trouble.last.isdecimal() and trouble.found in DURATIONS:
        whole = trouble.before.to(trouble.place)
        hint = f"write {trouble.last}{trouble.found}"
        return Diagnostic(Code.BAD_LITERAL, f"'{whole.text}' is not a number", whole, (hint,))
    found = re.search(r"(?<![\w.:])[0-9a-fA-F][\w.:]*\Z", text[:at])
    end = re.compile(r"[\w.:]*").match(text, at)
    if found is None or end is None or (trouble.predicate and trouble.found == "/"):
        return None
    place = trouble.place.source.span(found.start(), end.end())
    if len(place.text) > LONGEST_LITERAL:
        return None
    if re.fullmatch(r"[0-9][\w.]*", place.text) and "." in place.text and place.text.count(".") != 3:
        hint = "numbers are whole: 1500ms, not 1.5s; an IPv4 address has four of them"
        return Diagnostic(Code.BAD_LITERAL, f"'{place.text}' is not a number", place, (hint,))
    if place.text.count(":") > 1 and "?" not in trouble.text_before.rpartition(";")[2]:
        message = f"'{place.text}' is neither an IPv6 address nor a hardware address"
        return Diagnostic(Code.BAD_LITERAL, message, place, ("write fe80::1 or aa:bb:cc:dd:ee:ff",))
    return None


def _missing_joint(trouble: Trouble) -> Diagnostic | None:
    """Two things in a condition with nothing between them."""
    value = re.match(r'["0-9]', trouble.found)
    if not trouble.predicate or "PLUS" not in trouble.accepted or not (trouble.begins or value):
        return None
    name = re.search(r"[A-Za-z_][\w.]*\s*\Z", trouble.text_before)
    if value and name is not None:
        place = trouble.place.source.span(name.start(), trouble.place.end)
        message, hint = f"'{name[0].strip()}' has no operator behind it", f"write {name[0].strip()} == {trouble.found}"
        return Diagnostic(Code.BAD_PREDICATE, message, place, (hint,))
    message = f"'and' or 'or' is missing before '{trouble.found}'"
    return Diagnostic(Code.BAD_PREDICATE, message, trouble.place)


def _cast(trouble: Trouble) -> Diagnostic | None:
    """`(int)x`: the type is not one of the language's."""
    wanted = re.search(r"\(\s*([A-Za-z_]\w*(?:\s+[A-Za-z_]\w*)*)[\s*]*\)\s*\Z", trouble.text_before)
    # a call's parentheses stand behind its name
    behind_name = wanted is not None and re.search(r"\w\Z", trouble.text_before[: wanted.start()])
    if wanted is None or behind_name or "PLUS" not in trouble.accepted or not re.match(r"[\w$@]", trouble.found):
        return None
    hint = f"if '{wanted[1]}' is meant as a type: there are uint8 to uint64, int8 to int64, struct NAME *, enum NAME"
    return _unexpected(trouble, hint) if "LBRACE" not in trouble.accepted else None


def _missing_stop(trouble: Trouble) -> Diagnostic | None:
    """Two statements, or a definition and what follows it, without ';' between them."""
    accepted, before = trouble.accepted, trouble.before
    if "SEMICOLON" not in accepted or before is None or trouble.at_head or "ATTACH" in accepted:
        return None
    ended = before.source.span(before.end, before.end)
    if not trouble.in_statement:
        expects = trouble.begins or not trouble.found
        return _syntax(ended, f"';' is missing behind '{trouble.last}'") if expects else None
    if re.fullmatch(TYPE_WORD, trouble.last) and trouble.begins:
        hint = f"a variable is set without a type: ${trouble.found.lstrip('$@')} = ..."
        return _syntax(before, f"unknown word '{trouble.last}'", hint)
    if trouble.begins and trouble.last not in ";{":
        one_line = "\n" not in trouble.text_before[before.end :]
        hints = (f"if '{trouble.found}' is a value of it, write {trouble.last}({trouble.found})",)
        message = f"';' is missing between '{trouble.last}' and '{trouble.found}'"
        return _syntax(ended, message, *(hints if one_line and trouble.last.isidentifier() else ()))
    if trouble.last.isidentifier() and re.match(r'["0-9]', trouble.found):
        return _unexpected(trouble, f"values stand in parentheses: {trouble.last}({trouble.found})")
    return None


def _no_statement(trouble: Trouble) -> Diagnostic | None:
    """A value where a statement should be."""
    alone = trouble.accepted >= {"RBRACE", "NAME", "MAP"} and re.match(r'["0-9(!~]', trouble.found)
    operated = trouble.in_statement and "LPAR" in trouble.accepted and re.match(r"[.<>=!+*/%&|^-]", trouble.found)
    if alone or operated:
        return _unexpected(trouble, "a value alone is no statement: print(...) shows it")
    return None


def _missing_brace(trouble: Trouble) -> Diagnostic | None:
    if "LBRACE" not in trouble.accepted or trouble.at_head or not trouble.begins:
        return None
    hint = "what belongs to if, else or fn stands in braces: if pid == 1 { dump; }"
    return _syntax(trouble.place, f"'{{' is missing before '{trouble.found}'", hint)


def _open_bracket(trouble: Trouble) -> Diagnostic | None:
    if trouble.opened is None or trouble.found not in ("", ";", "{", "}"):
        return None
    closing, terminal = CLOSING[trouble.opened.text]
    if terminal not in trouble.accepted or (trouble.found == "{" and closing == "}"):
        return None
    note = Note(f"this '{trouble.opened.text}' is not closed", trouble.opened)
    return _syntax(trouble.place, f"'{closing}' is missing here", notes=(note,))


def _sigils(trouble: Trouble) -> Diagnostic | None:
    """Names with '$' or quotes where there should be none, and the other way round."""
    accepted, found = trouble.accepted, trouble.found
    if found.isidentifier() and "NAME" not in accepted and "PARAMETER" in accepted:
        return _unexpected(trouble, f"a function's parameter begins with '$': ${found}")
    if found.startswith("$") and accepted == {"NAME"}:
        return _unexpected(trouble, f"it is named without '$': {found[1:]}")
    if found.isidentifier() and accepted == {"STRING"}:
        return _unexpected(trouble, f'it stands in quotes: "{found}"')
    return None


RULES: tuple[Callable[[Trouble], Diagnostic | None], ...] = (
    _not_closed,
    _foreign_signs,
    _misspelt,
    _single_equals,
    _set_name,
    _behind_hook,
    _odd_literal,
    _cast,
    _missing_joint,
    _no_statement,
    _missing_brace,
    _missing_stop,
    _open_bracket,
    _sigils,
)
