"""Predicates: parameters are put in, and libpcap compiles the expression for Ethernet and for raw IP."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from xcapscript.builtins import BUILTINS
from xcapscript.diagnostics import Code, Diagnostic, ScriptError
from xcapscript.ir import Filter, Instructions
from xcapscript.pcap.libpcap import PcapError, RejectsAll, compile_expression
from xcapscript.source import Span
from xcapscript.syntax import ast
from xcapscript.unit import LinkType

WORD = re.compile(r"[A-Za-z0-9_.:/-]+")
PARAMETER = re.compile(r"\$(\$|\d+|#)")
KERNEL_CONDITION = re.compile(rf'"|@|\b({"|".join({*BUILTINS, "reason"} - {"len"})})\s*(==|!=|<=?|>=?)')
QUOTED = re.compile(r"'([^']+)'")


@dataclass(frozen=True, slots=True)
class Parameters:
    """The words behind the script on the command line: `$1` is the first, `$#` their number."""

    words: tuple[str, ...] = ()

    def value(self, name: str) -> str | None:
        """What `$name` stands for; None if nothing was given for it."""
        if name == "#":
            return str(len(self.words))
        return self.words[int(name) - 1] if name.isdigit() and 0 < int(name) <= len(self.words) else None

    def put_in(self, text: str, missing: Callable[[str], str]) -> str:
        """`text` with its parameters replaced; `$$` is a dollar sign; `missing(name)` stands for what was not given."""

        def replace(match: re.Match[str]) -> str:
            if match[1] == "$":
                return "$"
            value = self.value(match[1])
            return missing(match[1]) if value is None else value

        return PARAMETER.sub(replace, text)


def compile_filter(predicate: ast.Predicate, parameters: Parameters, *, resolve_names: bool) -> Filter | None:
    """The filter of a predicate, None for an empty one; ScriptError with libpcap's own words if it refuses it."""
    if match := KERNEL_CONDITION.search(predicate.text):
        start = predicate.span.start + match.start()
        span = predicate.span.source.span(start, start + len(match[0]))
        message = (
            f"kernel conditions such as '{match[0].strip()}' are not in this version; only tcpdump expressions are"
        )
        raise ScriptError([Diagnostic(Code.UNSUPPORTED, message, span)])
    text = parameters.put_in(predicate.text, partial(_missing, predicate))
    for name in PARAMETER.findall(predicate.text):
        value = parameters.value(name) or ""
        if name != "$" and not WORD.fullmatch(value):
            message = f"parameter '${name}' is not one word: '{value}'"
            raise ScriptError([Diagnostic(Code.BAD_FILTER, message, _place(predicate, f"${name}"))])
    if not text.strip():
        return None
    ethernet, refusal = _compile(text, LinkType.EN10MB, resolve_names=resolve_names)
    if refusal is not None:
        raise ScriptError([_bad_filter(predicate, refusal)])
    # An expression about link headers is refused for raw IP: no raw IP packet matches it.
    raw, _ = _compile(text, LinkType.RAW, resolve_names=resolve_names)
    return Filter(text.strip(), ethernet, raw, predicate.span)


def _compile(text: str, link: LinkType, *, resolve_names: bool) -> tuple[Instructions | None, str | None]:
    try:
        return compile_expression(text, link, resolve_names=resolve_names), None
    except RejectsAll:
        # tcpdump says so and stops; here the other link type may still match.
        return None, "expression rejects all packets" if link is LinkType.EN10MB else None
    except PcapError as error:
        return None, str(error)


def _bad_filter(predicate: ast.Predicate, refusal: str) -> Diagnostic:
    """libpcap names the word that it does not like, if any, in quotes: that word is pointed at."""
    quoted = QUOTED.search(refusal) or re.search(r'"([^"]+)"', refusal)
    return Diagnostic(Code.BAD_FILTER, refusal, _place(predicate, quoted[1] if quoted else ""))


def _place(predicate: ast.Predicate, word: str) -> Span:
    found = list(re.finditer(rf"(?<![\w.]){re.escape(word)}(?![\w.])", predicate.text)) if word else []
    if len(found) != 1 and not word.startswith("$"):
        return predicate.span
    start = predicate.span.start + (found[0].start() if found else predicate.text.find(word))
    return predicate.span.source.span(start, start + len(word))


def _missing(predicate: ast.Predicate, name: str) -> str:
    message = f"parameter '${name}' was not given"
    hint = "parameters follow the program: xcap -e '...' VALUE"
    raise ScriptError([Diagnostic(Code.UNKNOWN_PARAMETER, message, _place(predicate, f"${name}"), (hint,))])
