"""Predicates: parameters are put in, and libpcap compiles the expression for Ethernet and for raw IP."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from xcapscript.builtins import BUILTINS
from xcapscript.diagnostics import Code, Diagnostic, ScriptError
from xcapscript.ir import Filter, Instructions
from xcapscript.pcap.libpcap import PcapError
from xcapscript.pcap.worker import compile_bounded
from xcapscript.source import Span
from xcapscript.syntax import ast
from xcapscript.syntax.predicate import split
from xcapscript.unit import LinkType

WORD = re.compile(r"[A-Za-z0-9_.:/-]+")
PARAMETER = re.compile(r"\$(\$|\d+|#)")
KERNEL_CONDITION = re.compile(rf'"|@|\b({"|".join({*BUILTINS, "reason"} - {"len"})})\s*(==|!=|<=?|>=?)')
LINK_ACCESS = re.compile(r"\b(ether|link|fddi|tr|wlan|ppp|slip)\s*\[")
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


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides how an expression is read: whether host names may be looked up, and the mask of `ip broadcast`."""

    resolve_names: bool = True
    netmask: int | None = None


@dataclass(frozen=True, slots=True)
class Filters:
    """A predicate's filters, of which all must match: on the packet, and on the one inside a tunnel."""

    outer: Filter | None = None
    inner: tuple[Filter, ...] = ()


def compile_predicate(predicate: ast.Predicate, parameters: Parameters, rules: Rules) -> Filters:
    """The filters of a predicate; ScriptError with libpcap's own words if it refuses an expression."""
    parts = split(predicate)
    outer = _compile_expression(parts.outer, parameters, rules) if parts.outer is not None else None
    inner = (_compile_expression(part, parameters, rules) for part in parts.inner)
    return Filters(outer, tuple(found for found in inner if found is not None))


def _compile_expression(predicate: ast.Predicate, parameters: Parameters, rules: Rules) -> Filter | None:
    """The filter of a tcpdump expression, None for an empty one."""
    if match := KERNEL_CONDITION.search(predicate.text):
        start = predicate.span.start + match.start()
        span = predicate.span.source.span(start, start + len(match[0]))
        what = f"kernel conditions such as '{match[0].strip()}' are not in this version; only tcpdump expressions are"
        raise ScriptError([Diagnostic(Code.UNSUPPORTED, what, span)])
    text = parameters.put_in(predicate.text, partial(_missing, predicate))
    for name in PARAMETER.findall(predicate.text):
        value = parameters.value(name) or ""
        if name != "$" and not WORD.fullmatch(value):
            message = f"parameter '${name}' is not one word: '{value}'"
            raise ScriptError([Diagnostic(Code.BAD_FILTER, message, _place(predicate, f"${name}"))])
    if not text.strip():
        return None
    try:
        ethernet = compile_bounded(text, LinkType.EN10MB, resolve_names=rules.resolve_names, netmask=rules.netmask)
    except PcapError as error:
        raise ScriptError([_bad_filter(predicate, str(error))]) from None
    return Filter(text.strip(), ethernet, _compile_raw(text, rules), predicate.span)


def _compile_raw(text: str, rules: Rules) -> Instructions | None:
    """For packets without a link header, None where none of them matches.

    libpcap refuses what needs a link header, but for `ether[...]`, which would read the IP header.
    """
    if LINK_ACCESS.search(text):
        return None
    try:
        return compile_bounded(text, LinkType.RAW, resolve_names=rules.resolve_names, netmask=rules.netmask)
    except PcapError:
        return None


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
