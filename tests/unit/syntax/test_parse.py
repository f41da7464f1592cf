"""The places of nodes, numbers, and the kept grammar; what trees look like is in tests/cases/parse."""

from __future__ import annotations

import os
import pickle
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args

import pytest

from xcapscript.diagnostics import Code, Diagnostic, ScriptError
from xcapscript.source import Source, Span
from xcapscript.syntax import ast
from xcapscript.syntax import parse as parser
from xcapscript.syntax.parse import parse, read_number

PROGRAM = '''\
#!/usr/bin/env xcap
import "drop" ;
hook d = rawtracepoint:kfree_skb | rt:consume_skb ;  // żółć
option snaplen = 64 ;
param out = "a" , "where" ;
fn f ( $a , $b ) { return $a [ 1 ] ; }
c """ int x ; """
/* before */ d , uprobe:/bin/x:f(buf=arg0) /net 10.0.0.0/8 and
  tcp/ /* between */ {
    dump ( "a.pcapng" , snaplen = 128 ) ;
    @m [ pid , - 5ms ] = sum ( ( 1 + $n ) * args . len ) ;
    if ( ! tcp ) { $v = pid ? ::1 : 10.0.0.0/8 ; } else if 1 { $v ++ ; }
    @ = aa:bb:cc:dd:ee:ff == ( struct sock * ) sk ;
    stack
}
rx'''

NODES = {
    ast.Script: [PROGRAM],
    ast.Import: ['import "drop" ;'],
    ast.Option: ["option snaplen = 64 ;"],
    ast.Param: ['param out = "a" , "where" ;'],
    ast.Function: ["fn f ( $a , $b ) { return $a [ 1 ] ; }"],
    ast.CText: [" int x ; "],
    ast.If: ["if ( ! tcp ) { $v = pid ? ::1 : 10.0.0.0/8 ; } else if 1 { $v ++ ; }", "if 1 { $v ++ ; }"],
    ast.Return: ["return $a [ 1 ]"],
    ast.Index: ["$a [ 1 ]"],
    ast.Ternary: ["pid ? ::1 : 10.0.0.0/8"],
    ast.Address: ["::1", "10.0.0.0/8"],
    ast.Mac: ["aa:bb:cc:dd:ee:ff"],
    ast.Cast: ["( struct sock * ) sk"],
    ast.TypeName: ["struct sock *"],
    ast.HookAlias: ["hook d = rawtracepoint:kfree_skb | rt:consume_skb ;"],
    ast.Attach: ["rawtracepoint:kfree_skb", "rt:consume_skb", "d", "uprobe:/bin/x:f(buf=arg0)", "rx"],
    ast.Clause: [PROGRAM[PROGRAM.index("d , uprobe") : PROGRAM.index("\nrx")], "rx"],
    ast.Predicate: ["net 10.0.0.0/8 and\n  tcp"],
    ast.Block: [
        "{ return $a [ 1 ] ; }",
        PROGRAM[PROGRAM.index("{\n") : PROGRAM.index("\nrx")],
        "{ $v = pid ? ::1 : 10.0.0.0/8 ; }",
        "if 1 { $v ++ ; }",
        "{ $v ++ ; }",
    ],
    ast.Action: ['dump ( "a.pcapng" , snaplen = 128 )', "stack"],
    ast.Keyword: ["snaplen = 128"],
    ast.Assign: [
        "@m [ pid , - 5ms ] = sum ( ( 1 + $n ) * args . len )",
        "$v = pid ? ::1 : 10.0.0.0/8",
        "$v ++",
        "@ = aa:bb:cc:dd:ee:ff == ( struct sock * ) sk",
    ],
    ast.Map: ["@m [ pid , - 5ms ]", "@"],
    ast.Unary: ["- 5ms", "! tcp"],
    ast.Call: ["sum ( ( 1 + $n ) * args . len )"],
    ast.Binary: ["( 1 + $n ) * args . len", "1 + $n", "aa:bb:cc:dd:ee:ff == ( struct sock * ) sk"],
    ast.Parameter: ["$a", "$b", "$a", "$n", "$v", "$v"],
    ast.Member: ["args . len"],
    ast.Number: ["64", "1", "128", "5ms", "1", "1", "++"],
    ast.String: ['"drop"', '"a"', '"where"', '"a.pcapng"'],
    ast.Name: ["d", "snaplen", "out", "f", "dump", "snaplen", "pid", "sum", "args", "len", "tcp", "pid", "sk", "stack"],
}


def nodes(node: object) -> Iterator[tuple[type, Span]]:
    """Every node of a tree with its place, from the top."""
    if isinstance(node, tuple):
        for child in node:
            yield from nodes(child)
    elif is_dataclass(node) and not isinstance(node, Span | type):
        yield type(node), node.span  # type: ignore[attr-defined]
        for field in fields(node):
            yield from nodes(getattr(node, field.name))


def mistakes(text: str) -> list[Diagnostic]:
    with pytest.raises(ScriptError) as caught:
        parse(Source("x", text))
    return list(caught.value.diagnostics)


@pytest.mark.parametrize("kind", NODES, ids=lambda kind: kind.__name__)
def test_the_place_of_a_node_is_its_own_text(kind: type) -> None:
    found = [span.text for node, span in nodes(parse(Source("x", PROGRAM))) if node is kind]
    assert found == NODES[kind]


def test_the_places_of_all_kinds_of_nodes_are_tested() -> None:
    unions = (ast.Item, ast.Statement, ast.Expression, ast.Argument)
    assert {kind for union in unions for kind in get_args(union)} <= set(NODES)


def test_every_place_is_in_the_source_that_was_parsed() -> None:
    source = Source("x", PROGRAM)
    assert {id(span.source) for _, span in nodes(parse(source))} == {id(source)}


def test_a_node_lies_within_the_one_above_it() -> None:
    def check(node: object, outer: Span) -> None:
        if isinstance(node, tuple):
            for child in node:
                check(child, outer)
        elif is_dataclass(node) and not isinstance(node, Span | type):
            span: Span = node.span  # type: ignore[attr-defined]
            assert outer.start <= span.start <= span.end <= outer.end
            for field in fields(node):
                check(getattr(node, field.name), span)

    script = parse(Source("x", PROGRAM))
    check(script, script.span)


def test_carriage_returns_count_as_characters() -> None:
    source = Source("x", "rx;\r\ntx {\r\n  dump;\r\n}\r\n")
    assert [(span.text, span.line, span.column) for node, span in nodes(parse(source)) if node is ast.Action] == [
        ("dump", 3, 3)
    ]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('rx { printf("%d\\q\\n"); }', "\\q"),
        ("rx { exit(1x); }", "1x"),
        ("rx { dump }}", "}"),
        ("rx { $x == 1; }", "=="),
        ("rx { é }", "é"),
        ('rx { dump("a" }', "}"),
        ('rx { printf("abc', '"abc'),
    ],
)
def test_the_place_of_a_mistake_is_what_is_wrong(text: str, wrong: str) -> None:
    (mistake,) = mistakes(text)
    assert mistake.span.text == wrong


@pytest.mark.parametrize("text", ["rx {", "rx { print(1,", "hook", "import", "rx,", "rx {\n\n\n"])
def test_a_text_that_ends_too_early_is_wrong_at_its_end(text: str) -> None:
    (mistake,) = mistakes(text)
    assert (mistake.code, mistake.span.text) == (Code.SYNTAX, "")
    assert mistake.span.start == len(text.rstrip())


def test_all_mistakes_in_literals_are_told() -> None:
    found = mistakes('rx { print(1x, "\\q", 2y); }')
    assert [(mistake.code, mistake.span.text) for mistake in found] == [
        (Code.BAD_LITERAL, "1x"),
        (Code.BAD_LITERAL, "\\q"),
        (Code.BAD_LITERAL, "2y"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "rx { dump; /* all }",
        "/* all",
    ],
)
def test_a_comment_that_is_not_closed_is_called_so(text: str) -> None:
    (mistake,) = mistakes(text)
    assert mistake.message == "the comment is not closed"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("7", 7),
        ("0010", 10),
        ("1_000", 1000),
        ("1_", 1),
        ("0x1f", 31),
        ("0X1F", 31),
        ("0xff_ff", 65535),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 2**64),
        ("1ns", 1),
        ("2us", 2_000),
        ("5ms", 5_000_000),
        ("1_0s", 10_000_000_000),
        ("3m", 180_000_000_000),
        ("1h", 3_600_000_000_000),
        ("0s", 0),
    ],
)
def test_numbers_and_durations_are_read(text: str, value: int) -> None:
    assert read_number(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "-1", " 1", "1\n", "0x", "0x_1", "0xg", "_1", "1.5s", "s", "1d", "1S", "0x1s", "1e3", "0b1", "٣", "²", "1\0"],
)
def test_what_is_no_number_is_none(text: str) -> None:
    assert read_number(text) is None


def test_every_decimal_and_hexadecimal_number_is_read_back() -> None:
    rng = random.Random(1)
    for bits in range(65):
        value = rng.getrandbits(bits)
        assert read_number(str(value)) == read_number(f"{value:_}") == read_number(f"{value:#x}") == value


def test_a_number_of_very_many_digits_does_not_fit() -> None:
    (mistake,) = mistakes(f"rx {{ exit({'9' * 5000}); }}")
    assert mistake.code is Code.BAD_LITERAL


@pytest.mark.parametrize("value", [2**64 - 1, 2**64], ids=["fits", "does not"])
def test_numbers_fit_in_64_bits(value: int) -> None:
    text = f"rx {{ exit({value}); }}"
    if value < 2**64:
        parse(Source("x", text))
    else:
        assert [mistake.code for mistake in mistakes(text)] == [Code.BAD_LITERAL]


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        (r'"\n\t\r\0\a\b\e\"\\"', '\n\t\r\0\a\b\x1b"\\'),
        (r'"\x41\xfF"', "Aÿ"),
        (r'"\\n"', "\\n"),
        (r'"\\\n"', "\\\n"),
        ('"it\'s żółć / { } ;"', "it's żółć / { } ;"),
        ('""', ""),
    ],
)
def test_escapes_are_resolved(literal: str, value: str) -> None:
    (found,) = (node for node in parse(Source("x", f"import {literal};")).items if isinstance(node, ast.Import))
    assert found.name.value == value


@pytest.mark.parametrize("depth", [5000])
def test_nesting_too_deep_is_a_mistake_of_the_script(depth: int) -> None:
    assert mistakes(f"rx {{ print({'(' * depth}1{')' * depth}); }}")


@contextmanager
def hang_guard(seconds: int) -> Iterator[None]:
    """Fails what would go on for years."""

    def fail(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_line_of_slashes_behind_a_predicate_does_not_hang() -> None:
    with hang_guard(2):
        assert mistakes(f"drop /icmp/\n{'/' * 70}\nrx {{ count; }}")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the grammar is kept, by a parser that has not been made yet."""
    monkeypatch.setattr(parser, "cache_directory", lambda: tmp_path)
    monkeypatch.setattr(parser, "_grammar", parser._grammar.__wrapped__)
    return tmp_path / "grammar.pickle"


@pytest.fixture
def good(kept: Path) -> bytes:
    """What is kept by a parser that was well."""
    parse(Source("x", PROGRAM))
    return kept.read_bytes()


@pytest.fixture
def never_made(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes it a failure to make the grammar from its text."""

    def fail(*_: object) -> None:
        raise AssertionError

    return lambda: monkeypatch.setattr("lark.lark.load_grammar", fail)


def test_the_grammar_is_kept(good: bytes, never_made: Callable[[], None]) -> None:
    assert good
    expected = parse(Source("x", PROGRAM))
    never_made()
    assert parse(Source("x", PROGRAM)) == expected


def test_without_a_place_to_keep_it_the_grammar_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser, "cache_directory", lambda: None)
    monkeypatch.setattr(parser, "_grammar", parser._grammar.__wrapped__)
    assert len(parse(Source("x", PROGRAM)).items) == 8


def spoilt(good: bytes) -> Iterator[tuple[str, bytes]]:
    head = good[: good.index(b"\n") + 1]
    yield "empty", b""
    yield "no pickle", b"\xff" * 100
    yield "another grammar", b"0" * len(head.rstrip()) + good[len(head) - 1 :]
    yield "nothing behind the digest", head
    yield "not a grammar", head + pickle.dumps(()) + pickle.dumps({"data": 1, "memo": {}})
    yield "files that it was made from and that are gone", head + pickle.dumps(("/nowhere",))
    for end in range(len(head), len(good), 1999):
        yield f"cut at {end}", good[:end]


def test_a_grammar_that_was_spoilt_on_disk_is_made_again(
    good: bytes, kept: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = parse(Source("x", PROGRAM))
    for damage, data in spoilt(good):
        kept.write_bytes(data)
        assert parse(Source("x", PROGRAM)) == expected, damage
    assert capfd.readouterr() == ("", "")


def test_a_grammar_that_was_cut_short_is_written_anew(good: bytes, kept: Path, never_made: Callable[[], None]) -> None:
    kept.write_bytes(good[:1000])
    expected = parse(Source("x", PROGRAM))
    never_made()
    assert parse(Source("x", PROGRAM)) == expected


def test_a_kept_grammar_that_cannot_be_opened_is_done_without(kept: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kept.mkdir()
    assert len(parse(Source("x", PROGRAM)).items) == 8
    assert capfd.readouterr() == ("", "")


def test_a_place_that_went_away_is_done_without(kept: Path) -> None:
    kept.parent.rmdir()
    assert len(parse(Source("x", PROGRAM)).items) == 8


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads and writes whatever its mode is")
def test_a_kept_grammar_that_may_not_be_read_is_done_without(good: bytes, kept: Path) -> None:
    assert good
    kept.chmod(0)
    assert len(parse(Source("x", PROGRAM)).items) == 8
