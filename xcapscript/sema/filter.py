"""Tcpdump expressions: parameters are put in, and libpcap compiles them for Ethernet and for raw IP."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from xcapscript.diagnostics import Code, Diagnostic, ScriptError, did_you_mean
from xcapscript.nodes.hook import Filter
from xcapscript.pcap.libpcap import PcapError
from xcapscript.pcap.worker import Progress, compile_bounded
from xcapscript.source import Span
from xcapscript.syntax import ast
from xcapscript.unit import LinkType

WORD = re.compile(r"[A-Za-z0-9_.:/-]+")
PARAMETER = re.compile(r"\$(\$|[0-9]+|#|[A-Za-z_][A-Za-z0-9_]*)")
LINK_ACCESS = re.compile(r"\b(ether|link|fddi|tr|wlan|ppp|slip)\s*\[")
SYNTAX_HINT = "it is read as tcpdump reads it: see pcap-filter(7)"
NETMASK_HINT = "give -i with an interface that has an IPv4 address in the namespace that xcap runs in"
QUOTED = re.compile(r"'([^']+)'")


@dataclass(frozen=True, slots=True)
class Parameters:
    """The words behind the script on the command line: `$1` is the first, `$#` their number; and those with a name."""

    words: tuple[str, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> str | None:
        """What `$name` stands for; None if nothing was given for it."""
        if name == "#":
            return str(len(self.words))
        by_name = {str(number): word for number, word in enumerate(self.words, 1)}
        return by_name.get(name, self.named.get(name))

    def like(self, name: str, others: Iterable[str] = ()) -> tuple[str, ...]:
        """A hint at what may have been meant by `$name`: a parameter or one of the others; or no hint."""
        return did_you_mean(f"${name}", [f"${known}" for known in (*self.named, *others)])

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
    """How an expression is read.

    Whether host names may be looked up, the mask of `ip broadcast`, and who is told when libpcap takes long.
    """

    resolve_names: bool = True
    netmask: int | None = None
    progress: Progress = lambda _seconds: None


def compile_expression(predicate: ast.Predicate, parameters: Parameters, rules: Rules) -> Filter | None:
    """The filter of a tcpdump expression, None for an empty one; ScriptError with libpcap's own words."""
    text = parameters.put_in(predicate.text, partial(_missing, predicate, parameters))
    for name in PARAMETER.findall(predicate.text):
        value = parameters.value(name) or ""
        if name != "$" and not WORD.fullmatch(value):
            message = f"parameter '${name}' is not one word: '{value}'"
            raise ScriptError([Diagnostic(Code.BAD_FILTER, message, _place(predicate, f"${name}"))])
    if not text.strip():
        return None
    links = [LinkType.EN10MB, LinkType.RAW]
    try:
        ethernet, raw = compile_bounded(
            text, links, netmask=rules.netmask, resolve_names=rules.resolve_names, progress=rules.progress
        )
    except PcapError as error:
        raise ScriptError([_bad_filter(predicate, parameters, str(error))]) from None
    if isinstance(ethernet, PcapError):
        raise ScriptError([_bad_filter(predicate, parameters, str(ethernet))])
    # Without a link header: libpcap refuses what needs one, but for `ether[...]`, which would read the IP header.
    unlinked = None if isinstance(raw, PcapError) or LINK_ACCESS.search(text) else raw
    return Filter(text.strip(), ethernet, unlinked, predicate.span)


def _bad_filter(predicate: ast.Predicate, parameters: Parameters, refusal: str) -> Diagnostic:
    """libpcap names the word that it does not like, if any, in quotes: that word, or its parameter, is pointed at."""
    quoted = QUOTED.search(refusal) or re.search(r'"([^"]+)"', refusal)
    word = quoted[1] if quoted else ""
    place = _place(predicate, word)
    names = [name for name in dict.fromkeys(PARAMETER.findall(predicate.text)) if name != "$"]
    guilty = [name for name in names if word and word in (parameters.value(name) or "")]
    if place == predicate.span and guilty:
        names, place = guilty[:1], _place(predicate, f"${guilty[0]}")
    hints = [f"'${name}' is '{parameters.value(name)}'" for name in names]
    if refusal.startswith("netmask not known"):
        hints.append(NETMASK_HINT)
    elif not quoted and "syntax error" in refusal:
        hints.append(SYNTAX_HINT)
        if re.search(r"/\s+\w[\w:]*\s*/", predicate.text):
            hints.append("if these are two clauses, end the first with ';'")
        if re.search(r"/\s*,", predicate.text):
            hints.append("all hooks of a clause stand before its predicate, joined by ','")
    return Diagnostic(Code.BAD_FILTER, refusal, place, tuple(hints))


def _place(predicate: ast.Predicate, word: str) -> Span:
    found = list(re.finditer(rf"(?<![\w.]){re.escape(word)}(?![\w.])", predicate.text)) if word else []
    if len(found) != 1 and not word.startswith("$"):
        return predicate.span
    start = predicate.span.start + (found[0].start() if found else predicate.text.find(word))
    return predicate.span.source.span(start, start + len(word))


def _missing(predicate: ast.Predicate, parameters: Parameters, name: str) -> str:
    message = f"parameter '${name}' was not given"
    hints = parameters.like(name) or ("parameters follow the program: xcap -e '...' VALUE",)
    raise ScriptError([Diagnostic(Code.UNKNOWN_PARAMETER, message, _place(predicate, f"${name}"), hints)])
