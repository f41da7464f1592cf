"""What can be typed in quotes, and that what is quoted is read again as it was."""

from __future__ import annotations

import random
from fnmatch import fnmatchcase

import pytest

from xcapscript.quotes import begun, has_wildcard, partition, pattern, quoted, split, unquoted
from xcapscript.source import Source
from xcapscript.syntax.parse import parse

SIGNS = " ab\":;\\(){}[]*?|,/@$%'\t\n\x1b\x7f\x85\xf6\u2028\U0001f600\udc80\udcff#"


def some_names() -> list[str]:
    chance = random.Random(7)
    return ["".join(chance.choices(SIGNS, k=chance.randint(1, 9))) for _ in range(500)]


def test_what_is_quoted_is_read_again() -> None:
    for name in some_names():
        for path in (False, True):
            text = quoted(name, path=path)
            # half a character and half a character may be a whole one
            assert unquoted(text).encode("utf-8", "surrogateescape") == name.encode("utf-8", "surrogateescape"), text
            assert text.isprintable()
            assert not has_wildcard(text)
            assert fnmatchcase(unquoted(text), pattern(text))
            for hook in (f"uprobe:{text}:main", *(() if path else (f"tc:{text}:egress",))):
                (clause,) = parse(Source("t", f"{hook} /icmp/ {{ dump; }}")).items
                assert clause.attaches[0].text == hook  # type: ignore[union-attr]
                assert split(hook.partition(":")[2], ":", 1)[0] == text


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("eth0.100", "eth0.100"),
        ("br-lan", "br-lan"),
        ("größe", "größe"),
        ("eth0@x", '"eth0@x"'),
        ("a b", '"a b"'),
        ('say "x"', '"say \\"x\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("\udcff\x1b", '"\\xff\\x1b"'),
        ("", '""'),
    ],
)
def test_as_it_is_typed(text: str, typed: str) -> None:
    assert quoted(text) == typed
    assert unquoted(typed) == text


def test_separators_within_quotes_part_nothing() -> None:
    assert split('"a:b":c:d', ":", 1) == ['"a:b":c', "d"]
    assert split('"a:b"', ":", 1) == ['"a:b"']
    assert split("a:b:c", ":") == ["a", "b", "c"]
    assert partition('x:"(a)"(b)', "(") == ('x:"(a)"', "(", "b)")
    assert partition("x", "(") == ("x", "", "")


def test_wildcards_outside_of_quotes() -> None:
    assert has_wildcard('"a"*')
    assert fnmatchcase("[x]yz", pattern('"[x]"*'))
    assert not fnmatchcase("xyz", pattern('"[x]"*'))


def test_what_is_still_being_typed() -> None:
    assert begun('"/a b') == "/a b"
    assert begun('"/a b"') == "/a b"
    assert begun("/a") == "/a"
