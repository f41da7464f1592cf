"""`xcap --why`: what became of every hit, clause by clause and hook by hook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xcapscript.diagnostics import escape
from xcapscript.runtime.maps import Counts
from xcapscript.unit import Program

COLUMNS = (
    ("seen", "hits"),
    ("no packet", "no_packet"),
    ("no link header", "no_link"),
    ("condition said no", "no_condition"),
    ("filter said no", "no_match"),
    ("not all read", "unread"),
    ("matched", "matched"),
    ("lost", "lost"),
)
"""What a column is called, and the counter in it. Every hit is in one of those from `no packet` to `matched`."""

BESIDE = (("bad reads", "bad_reads"), ("missed", "missed"))
"""What may be counted more than once in a hit, and hits that no program was run for."""


def why_lines(counted: Sequence[tuple[Program, Counts]]) -> Iterator[str]:
    """A table: a row for each hook of each clause."""
    names = [f"{escape(program.hook)} (line {program.span.line})" for program, _ in counted]
    width = max(map(len, names), default=0)
    columns = (*COLUMNS, *BESIDE)
    yield "  ".join([" " * width, *(title for title, _ in columns)])
    for name, (_, counts) in zip(names, counted, strict=True):
        numbers = (f"{getattr(counts, counter):>{len(title)}}" for title, counter in columns)
        yield "  ".join([f"{name:<{width}}", *numbers])
