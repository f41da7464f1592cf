"""What is wrong with a script, where, and what to write instead; and how that is shown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from xcapscript.source import Span

TAB_STOP = 8
UNDECODED = 0xDC80
"""Python's stand-in for the byte 0x80 of a word that is no UTF-8."""
LONGEST_EXCERPT = 240
LONGEST_MESSAGE = 600
MARGIN = 80
"""Characters shown of a long line, and those of them before what is wrong."""


class Code(StrEnum):
    """The stable name of each kind of mistake; shown in brackets behind the message."""

    SYNTAX = "syntax"
    UNCLOSED_PREDICATE = "unclosed-predicate"
    BAD_PREDICATE = "bad-predicate"
    UNCLOSED_STRING = "unclosed-string"
    BAD_LITERAL = "bad-literal"
    BAD_HOOK = "bad-hook"
    UNKNOWN_HOOK = "unknown-hook"
    MISSING_HOOK = "missing-hook"
    UNKNOWN_NAME = "unknown-name"
    UNKNOWN_FIELD = "unknown-field"
    UNKNOWN_ARGUMENT = "unknown-argument"
    UNKNOWN_OPTION = "unknown-option"
    UNKNOWN_PARAMETER = "unknown-parameter"
    UNKNOWN_IMPORT = "unknown-import"
    REDEFINED = "redefined"
    NO_PACKET = "no-packet"
    NOT_HERE = "not-here"
    BAD_FILTER = "bad-filter"
    BAD_CALL = "bad-call"
    BAD_FORMAT = "bad-format"
    TYPE_CLASH = "type-clash"
    MAP_CLASH = "map-clash"
    UNSUPPORTED = "unsupported"
    COMPILE = "compile"


OF_THE_MACHINE = frozenset({Code.MISSING_HOOK})
"""Mistakes that are none on another kernel."""


class Severity(StrEnum):
    """How bad it is: an error stops the run, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Note:
    """A further place that matters to a diagnostic."""

    message: str
    span: Span


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake: a sentence that names the thing in quotes, its place, and hints where we can guess."""

    code: Code
    message: str
    span: Span
    hints: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    severity: Severity = Severity.ERROR


class ScriptError(Exception):
    """The script is wrong (exit status 1), or only wrong for this machine (3)."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("; ".join(d.message for d in self.diagnostics))

    @property
    def of_the_machine(self) -> bool:
        """Whether the script would be right on another machine."""
        return all(d.code in OF_THE_MACHINE for d in self.diagnostics)


def did_you_mean(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """A hint naming the known word nearest to `word`, or no hint."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return (f"did you mean '{near[0]}'?",) if near else ()


def render(diagnostic: Diagnostic) -> str:
    """The diagnostic as text of several lines, without a newline at the end; control characters are escaped."""
    lines = [
        f"{_place(diagnostic.span)}: {diagnostic.severity}: {_shortened(diagnostic.message)} [{diagnostic.code}]",
        *_excerpt(diagnostic.span),
    ]
    for note in diagnostic.notes:
        lines += [f"{_place(note.span)}: note: {_shortened(note.message)}", *_excerpt(note.span)]
    lines += [f"    hint: {_shortened(hint)}" for hint in diagnostic.hints]
    place = diagnostic.span.source.imported_at
    while place is not None:
        lines.append(f"    imported at {_place(place)}")
        place = place.source.imported_at
    return "\n".join(lines)


def _shortened(text: str) -> str:
    """What quotes the script may be as long as it."""
    if len(text) > LONGEST_MESSAGE:
        text = f"{text[: LONGEST_MESSAGE // 2]} ... {text[-LONGEST_MESSAGE // 2 :]}"
    return escape(text)


def escape(text: str) -> str:
    """`text` with every control character, and whatever else could steer a terminal, as a backslash escape."""
    return "".join(c if c.isprintable() else _escape_char(c) for c in text)


def _escape_char(char: str) -> str:
    code = ord(char)
    if UNDECODED <= code <= UNDECODED + 0x7F:
        return f"\\x{code - UNDECODED + 0x80:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _place(span: Span) -> str:
    line, column = span.source.position(span.start)
    return f"{escape(span.source.name)}:{line}:{column}"


def _excerpt(span: Span) -> list[str]:
    """The line and a mark below the span; of a long line, the part around the span's beginning."""
    line, column = span.source.position(span.start)
    text = span.source.line(line)
    before = escape(text[: column - 1].expandtabs(TAB_STOP))
    marked = escape(text[column - 1 : column - 1 + span.end - span.start].replace("\t", " "))
    rest = escape(text[column - 1 + span.end - span.start :].replace("\t", " "))
    if len(before) + len(marked) + len(rest) > LONGEST_EXCERPT:
        before = before if len(before) <= MARGIN else f"...{before[-MARGIN:]}"
        room = LONGEST_EXCERPT - len(before)
        marked, rest = marked[:room], f"{rest[: max(0, room - len(marked))]}..."
    return [f"    {before}{marked}{rest}", f"    {' ' * len(before)}^{'~' * (len(marked) - 1)}"]
