"""Diagnostics as a person sees them."""

from __future__ import annotations

import unicodedata

import pytest

from xcapscript.diagnostics import Code, Diagnostic, Note, ScriptError, Severity, did_you_mean, escape, render
from xcapscript.source import Source, Span


def find(text: str, word: str, name: str = "x.xcap", imported_at: Span | None = None) -> Span:
    """The place of a word in a source of that text."""
    start = text.index(word)
    return Source(name, text, imported_at).span(start, start + len(word))


def shown(span: Span) -> list[str]:
    """The excerpt of a diagnostic at the span, without its indentation."""
    return [line.removeprefix("    ") for line in render(Diagnostic(Code.SYNTAX, "bad", span)).splitlines()[1:]]


def test_a_diagnostic_has_its_place_its_sentence_its_code_and_its_line() -> None:
    span = find('import "drop";\ndrop { dupm; }\n', "dupm", "drops.xcap")
    diagnostic = Diagnostic(Code.UNKNOWN_NAME, "unknown action 'dupm'", span, ("did you mean 'dump'?",))
    assert render(diagnostic) == (
        "drops.xcap:2:8: error: unknown action 'dupm' [unknown-name]\n"
        "    drop { dupm; }\n"
        "           ^~~~\n"
        "    hint: did you mean 'dump'?"
    )


def test_notes_have_places_of_their_own_and_come_before_the_hints() -> None:
    text = "rx { @a = count(); }\ntx { @a = sum(len); }"
    first, second = find(text, "@a = count()"), find(text, "@a = sum(len)")
    note = Note("it is first used here", first)
    diagnostic = Diagnostic(Code.MAP_CLASH, "'@a' clashes", second, ("one", "two"), (note,))
    assert render(diagnostic) == (
        "x.xcap:2:6: error: '@a' clashes [map-clash]\n"
        "    tx { @a = sum(len); }\n"
        "         ^~~~~~~~~~~~~\n"
        "x.xcap:1:6: note: it is first used here\n"
        "    rx { @a = count(); }\n"
        "         ^~~~~~~~~~~~\n"
        "    hint: one\n"
        "    hint: two"
    )


def test_the_files_that_imported_the_wrong_one_are_named_innermost_first() -> None:
    main = find('rx;\nimport "lib";', '"lib"', "main.xcap")
    middle = find('import "deep";', '"deep"', "lib.xcap", main)
    inner = find("dorp;", "dorp", "deep.xcap", middle)
    assert render(Diagnostic(Code.UNKNOWN_HOOK, "unknown hook 'dorp'", inner)) == (
        "deep.xcap:1:1: error: unknown hook 'dorp' [unknown-hook]\n"
        "    dorp;\n"
        "    ^~~~\n"
        "    imported at lib.xcap:1:8\n"
        "    imported at main.xcap:2:8"
    )


def test_a_warning_is_called_one() -> None:
    diagnostic = Diagnostic(Code.SYNTAX, "odd", find("rx", "rx"), severity=Severity.WARNING)
    assert render(diagnostic).startswith("x.xcap:1:1: warning: odd [syntax]\n")


def test_tabs_before_the_place_are_expanded_as_a_terminal_does() -> None:
    assert shown(find("\tab\tdupm;", "dupm")) == [
        "        ab      dupm;",
        "                ^~~~",
    ]


def test_tabs_behind_the_beginning_of_the_place_are_one_blank() -> None:
    assert shown(find("rx\t{ a\tb\tc }", "a\tb")) == [
        "rx      { a b c }",
        "          ^~~",
    ]


def test_a_place_of_several_lines_shows_its_first() -> None:
    assert shown(find("rx {\n  dump;\n}", "{\n  dump;\n}")) == ["rx {", "   ^"]


def test_a_place_that_begins_with_a_line_end_is_behind_the_line() -> None:
    assert shown(find("rx {\n}", "\n}")) == ["rx {", "    ^"]


@pytest.mark.parametrize(
    ("text", "excerpt"),
    [("rx {", ["rx {", "    ^"]), ("rx {\n", ["", "^"]), ("", ["", "^"])],
)
def test_the_end_of_the_text_has_a_mark_of_its_own(text: str, excerpt: list[str]) -> None:
    assert shown(Source("x", text).span(len(text), len(text))) == excerpt


def test_a_place_past_the_end_is_shown_at_the_end() -> None:
    assert shown(Source("x", "rx").span(9, 12)) == ["rx", "  ^"]


def test_characters_of_other_languages_are_shown_as_they_are() -> None:
    assert shown(find('begin { printf("żółć"); dupm }', "dupm")) == [
        'begin { printf("żółć"); dupm }',
        "                        ^~~~",
    ]


def test_the_mark_stands_under_the_place_behind_escaped_characters() -> None:
    assert shown(find("rx\x1b[2J { dupm; }", "dupm")) == [
        "rx\\x1b[2J { dupm; }",
        "            ^~~~",
    ]


def test_the_mark_is_as_wide_as_the_escaped_place() -> None:
    assert shown(find("rx { \x07\u202e }", "\x07\u202e")) == [
        "rx { \\x07\\u202e }",
        "     ^~~~~~~~~~",
    ]


def test_a_line_of_dos_is_shown_without_its_carriage_return() -> None:
    assert shown(find("rx {\r\n dupm;\r\n}\r\n", "dupm")) == [" dupm;", " ^~~~"]


def test_nothing_that_came_from_outside_can_steer_the_terminal() -> None:
    bad = "\x1b]0;owned\x07\n"
    importer = find(f'import "{bad}";', "import", f"main{bad}")
    span = Source(f"x{bad}", f"rx {bad} {{", importer).span(0, 2)
    text = render(Diagnostic(Code.SYNTAX, f"what is {bad}?", span, (f"try {bad}",), (Note(f"see {bad}", span),)))
    assert all(char.isprintable() for char in text.replace("\n", ""))
    # a line end of theirs would begin a line of ours
    assert len(text.splitlines()) == 8
    assert text.count("\\x1b]0;owned\\x07") == 8


def test_what_is_printable_is_not_escaped() -> None:
    text = "A z~ ~ é ż 漢 \U0001f600 \\"
    assert escape(text) == text


@pytest.mark.parametrize(
    ("char", "escaped"),
    [
        ("\0", "\\x00"),
        ("\n", "\\x0a"),
        ("\x1b", "\\x1b"),
        ("\x7f", "\\x7f"),
        ("\x9b", "\\x9b"),
        ("\u202e", "\\u202e"),
        ("\u2066", "\\u2066"),
        ("\ufeff", "\\ufeff"),
        ("\udcff", "\\xff"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_could_steer_a_terminal_is_escaped(char: str, escaped: str) -> None:
    assert escape(f"a{char}b") == f"a{escaped}b"


def test_no_control_or_format_character_is_left_by_escaping() -> None:
    chars = "".join(map(chr, range(0x11000)))
    assert {unicodedata.category(char) for char in escape(chars)}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})


def test_the_nearest_known_word_is_guessed() -> None:
    assert did_you_mean("dorp", ["rx", "drop", "tx"]) == ("did you mean 'drop'?",)


@pytest.mark.parametrize("known", [[], ["rx", "tx"]])
def test_nothing_is_guessed_when_nothing_is_near(known: list[str]) -> None:
    assert did_you_mean("something", known) == ()


@pytest.mark.parametrize(
    ("codes", "of_the_machine"),
    [
        ([Code.MISSING_HOOK], True),
        ([Code.MISSING_HOOK, Code.MISSING_HOOK], True),
        ([Code.MISSING_HOOK, Code.SYNTAX], False),
        ([Code.UNKNOWN_HOOK], False),
    ],
)
def test_only_what_another_machine_may_have_is_of_the_machine(codes: list[Code], *, of_the_machine: bool) -> None:
    span = find("rx", "rx")
    assert ScriptError([Diagnostic(code, "bad", span) for code in codes]).of_the_machine is of_the_machine


def test_a_script_error_names_all_its_mistakes() -> None:
    span = find("rx", "rx")
    error = ScriptError(iter([Diagnostic(Code.SYNTAX, "one", span), Diagnostic(Code.BAD_CALL, "two", span)]))
    assert str(error) == "one; two"
    assert [d.code for d in error.diagnostics] == [Code.SYNTAX, Code.BAD_CALL]
