from __future__ import annotations

import random

import pytest

from xcapscript.repl.place import Part, Place, place_of


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", Place(Part.HEAD, (), "")),
        ("dr", Place(Part.HEAD, (), "dr")),
        ("drop ", Place(Part.HEAD, ("drop",), "")),
        ("drop, rawtracepoint:kf", Place(Part.HEAD, ("drop",), "rawtracepoint:kf")),
        ("uprobe:/usr/bin/x:ma", Place(Part.HEAD, (), "uprobe:/usr/bin/x:ma")),
        ("kprobe:f(sk", Place(Part.BINDING, ("kprobe:f",), "sk")),
        ("rx, kprobe:f(skb=arg1, sk=", Place(Part.BINDING, ("rx", "kprobe:f"), "skb=arg1, sk=")),
        ("kprobe:f(skb=arg1)", Place(Part.HEAD, ("kprobe:f",), "")),
        ("kprobe:f(skb=arg1) /ic", Place(Part.PREDICATE, ("kprobe:f",), "ic")),
        ("uprobe:/x:f(buf=arg0, len=arg1) { co", Place(Part.BLOCK, ("uprobe:/x:f",), " co")),
        ("drop /ic", Place(Part.PREDICATE, ("drop",), "ic")),
        ("drop /net 10.0.0.0/8 and ic", Place(Part.PREDICATE, ("drop",), "net 10.0.0.0/8 and ic")),
        ("drop /icmp/", Place(Part.HEAD, ("drop",), "")),
        ('drop /comm == "a', Place(Part.STRING, ("drop",), "a", "comm == ")),
        ("drop /icmp/ { co", Place(Part.BLOCK, ("drop",), " co")),
        ("drop { dump; co", Place(Part.BLOCK, ("drop",), " co")),
        ("drop { if pid > 1 { co", Place(Part.BLOCK, ("drop",), " co")),
        ("drop { if pid > 1 { dump; } co", Place(Part.BLOCK, ("drop",), " co")),
        ("drop { dump; } rx { co", Place(Part.BLOCK, ("rx",), " co")),
        ("drop; tx { co", Place(Part.BLOCK, ("tx",), " co")),
        ("drop { print(1/2); co", Place(Part.BLOCK, ("drop",), " co")),
        ('drop { dump("f', Place(Part.STRING, ("drop",), "f", " dump(")),
        ('drop { dump("f"); co', Place(Part.BLOCK, ("drop",), " co")),
        ("drop { // co", Place(Part.COMMENT, ("drop",), "")),
        ("drop /* co", Place(Part.COMMENT, ("drop",), "")),
        ("drop { /* x */ co", Place(Part.BLOCK, ("drop",), " /* x */ co")),
        ("// x\ndr", Place(Part.HEAD, (), "dr")),
        ('import "dr', Place(Part.STRING, ("import",), "dr", " ")),
        ("option sn", Place(Part.DEFINITION, ("option",), " sn")),
        ("option snaplen = 1; dr", Place(Part.HEAD, (), "dr")),
        ("hook x = rawt", Place(Part.DEFINITION, ("hook",), " x = rawt")),
        ("fn f($a) { ret", Place(Part.BLOCK, (), " ret")),
        ("fn f($a) { return 1; } dr", Place(Part.HEAD, (), "dr")),
        ('c """ int x; """ dr', Place(Part.HEAD, (), "dr")),
        ('c """ int x;', Place(Part.HEAD, (), "")),
    ],
)
def test_the_place_is_known(text: str, place: Place) -> None:
    assert place_of(text) == place


def test_every_text_has_a_place() -> None:
    numbers = random.Random(7)
    words = [
        "drop",
        " ",
        "/",
        "{",
        "}",
        ";",
        '"',
        "//",
        "/*",
        "*/",
        "\n",
        "@m",
        "$x",
        ",",
        "(",
        ")",
        "fn",
        "c",
        '"""',
        "\\",
    ]
    for _ in range(2000):
        text = "".join(numbers.choice(words) for _ in range(numbers.randint(0, 12)))
        assert isinstance(place_of(text), Place), text
