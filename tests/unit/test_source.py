"""Places in texts, checked against counting the lines by hand."""

from __future__ import annotations

import pytest

from xcapscript.source import Source, Span

TEXTS = [
    "",
    "\n",
    "one line",
    "two\nlines",
    "ends with its end\n",
    "\n\nempty lines\n\n\n",
    "dos\r\nlines\r\n",
    "tabs\tand\nönïcödé \U0001f600\n\u2028is no line end\x0c\x85 nor are these\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_offset_has_the_line_and_column_that_counting_gives(text: str) -> None:
    source = Source("x", text)
    for offset in range(len(text) + 1):
        before = text[:offset]
        assert source.position(offset) == (before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


@pytest.mark.parametrize("text", TEXTS)
def test_an_offset_past_the_end_is_the_end(text: str) -> None:
    source = Source("x", text)
    assert source.position(len(text) + 7) == source.position(len(text))


@pytest.mark.parametrize("text", TEXTS)
def test_a_line_is_without_its_end(text: str) -> None:
    source = Source("x", text)
    for number, line in enumerate(text.split("\n"), 1):
        assert source.line(number) == line.rstrip("\r")


def test_a_span_knows_its_text_and_where_it_begins() -> None:
    source = Source("x", "rx;\n tx /arp/;\n")
    span = source.span(5, 7)
    assert (span.text, span.line, span.column) == ("tx", 2, 2)


def test_an_empty_span_at_the_end_of_the_text_has_a_place() -> None:
    span = Source("x", "rx\n").span(3, 3)
    assert (span.text, span.line, span.column) == ("", 2, 1)


def test_a_span_is_extended_to_the_end_of_another() -> None:
    source = Source("x", "one two three")
    assert source.span(0, 3).to(source.span(8, 13)) == source.span(0, 13)


def test_where_a_source_was_imported_does_not_make_it_another_one() -> None:
    importer = Source("main.xcap", 'import "x";')
    plain, imported = Source("x", "rx"), Source("x", "rx", importer.span(7, 10))
    assert plain == imported
    assert hash(plain) == hash(imported)
    assert Span(plain, 0, 2) == Span(imported, 0, 2)


def test_sources_of_another_name_or_text_differ() -> None:
    assert len({Source("x", "rx"), Source("y", "rx"), Source("x", "tx")}) == 3


def test_a_source_is_shown_without_its_text() -> None:
    assert "secret" not in repr(Source("x", "secret").span(0, 3))
