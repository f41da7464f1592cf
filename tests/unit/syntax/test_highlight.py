"""What each kind of word is highlighted as, and that every text comes back whole."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
from pygments.token import Comment, Error, Keyword, Name, Number, Operator, Punctuation, String, _TokenType

from xcapscript.syntax.highlight import XcapLexer

ROOT = Path(__file__).resolve().parents[3]
FILES = [*sorted((ROOT / "stdlib").glob("*.xcap")), *sorted((ROOT / "examples").glob("*.xcap"))]

PROGRAM = r'''#!/usr/bin/env xcap
// about it
import "drop";
hook sent = rawtracepoint:net_dev_start_xmit | t:net:net_dev_queue;
option snaplen = 0x80;
param port = 80, "which %d";
fn half($a) { return half($a) / 2; }
c """ struct key { int x; }; /* C */ """
drop, uprobe:/usr/bin/x:f(buf=arg0) /tcp port 80 and not net 10.0.0.0/8 or ether host aa:bb:cc:dd:ee:ff
    and tcp[tcpflags] & tcp-syn != 0 and host $1 and inner "udp" and pid == 7 and ip6.src in fe80::/10/ /* why */ {
    dump("a\n", snaplen=128);
    @bytes[ifname, args.len] = hist(len);
    if ((struct sock *)sk == (u32)$x) { $y++; } else { print; }
}
'''


def lexed(text: str) -> list[tuple[_TokenType, str]]:
    found = list(XcapLexer().get_tokens_unprocessed(text))
    assert "".join(piece for _, _, piece in found) == text
    assert [at for at, _, _ in found] == [sum(len(each) for *_, each in found[:n]) for n in range(len(found))]
    return [(kind, piece) for _, kind, piece in found]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Comment.Hashbang, "#!/usr/bin/env xcap"),
        (Comment.Single, "// about it"),
        (Comment.Multiline, "/* why */"),
        (Keyword.Namespace, "import"),
        (Keyword.Declaration, "hook"),
        (Keyword.Declaration, "fn"),
        (Keyword.Declaration, "c"),
        (Keyword, "if"),
        (Keyword, "return"),
        (Keyword.Type, "struct"),
        (Keyword.Type, "u32"),
        (Keyword.Type, "int"),
        (Name.Namespace, "sent"),
        (Name.Namespace, "rawtracepoint:net_dev_start_xmit"),
        (Name.Namespace, "uprobe:/usr/bin/x:f"),
        (Name.Namespace, "drop"),
        (Name.Constant, "snaplen"),
        (Name.Function, "half"),
        (Name.Function, "dump"),
        (Name.Function, "hist"),
        (Name.Variable, "$a"),
        (Name.Variable, "$1"),
        (Name.Variable.Global, "@bytes"),
        (Name.Builtin, "ifname"),
        (Name.Builtin, "pid"),
        (Name.Builtin, "args"),
        (Name.Attribute, "len"),
        (Name.Builtin, "len"),
        (Keyword.Reserved, "tcp"),
        (Keyword.Reserved, "port"),
        (Keyword.Reserved, "net"),
        (Keyword.Reserved, "inner"),
        (Keyword.Reserved, "udp"),
        (Operator.Word, "and"),
        (Operator.Word, "or"),
        (Operator.Word, "not"),
        (Operator.Word, "in"),
        (Name.Constant, "tcpflags"),
        (Name.Constant, "tcp-syn"),
        (Number.Integer, "80"),
        (Number.Hex, "0x80"),
        (Number.Other, "10.0.0.0/8"),
        (Number.Other, "aa:bb:cc:dd:ee:ff"),
        (Number.Other, "fe80::/10"),
        (String.Double, "drop"),
        (String.Escape, r"\n"),
        (String.Interpol, "%d"),
        (String.Delimiter, '"""'),
    ],
)
def test_words_have_their_kinds(kind: _TokenType, text: str) -> None:
    assert (kind, text) in lexed(PROGRAM)


def test_programs_have_no_unknown_text() -> None:
    for text in [PROGRAM, *(path.read_text() for path in FILES)]:
        assert Error not in {kind for kind, _ in lexed(text)}


def test_words_of_filters_mean_nothing_elsewhere() -> None:
    assert (Name, "tcp") in lexed("rx { if (tcp) { print; } }")
    assert (Keyword.Reserved, "tcp") not in lexed("rx { if (tcp) { print; } }")


@pytest.mark.parametrize("text", ["drop /icmp and", "drop /icmp/ and", "drop /ip[2:2]/4 > 5 and icmp/ // c\n"])
def test_a_filter_is_known_while_it_is_typed(text: str) -> None:
    assert (Keyword.Reserved, "icmp") in lexed(text) or (Keyword.Reserved, "ip") in lexed(text)


def test_a_filter_ends_at_the_last_slash_before_the_block() -> None:
    found = lexed("rx /net 10.0.0.0/8 and ip[2:2] / 4 > 5/ // c\n{ print; }")
    assert [piece for kind, piece in found if kind is Punctuation and piece == "/"] == ["/", "/"]
    assert (Operator, "/") in found
    assert (Name.Function, "print") in found


def test_what_was_not_closed_ends_at_the_block() -> None:
    for text in ("rx /tcp { print; }", 'rx /inner "tcp { print; }', "rx(a { print; }", 'rx { print("a\n); print }'):
        assert (Name.Function, "print") in lexed(text)


def test_it_is_found_by_name_and_by_file() -> None:
    assert isinstance(get_lexer_by_name("xcap"), XcapLexer)
    assert isinstance(get_lexer_for_filename("x.xcap"), XcapLexer)


@pytest.mark.parametrize(
    "text",
    [
        *("", "\n", "\0", '"', '"\\', '"\\\n', "/*", "/", "//", 'c """', 'c """"', 'c "" "', "@", "$", "\ud800", "#!"),
        *(
            "rx /",
            "rx /'",
            'rx /inner "',
            "rx (",
            "import",
            "fn f",
            "rx { if",
            "}}}",
            "é\u2028\x1b[0m",
            "rx\r\n{ }\r\n",
        ),
    ],
)
def test_odd_texts_come_back_whole(text: str) -> None:
    lexed(text)


def test_texts_at_random_come_back_whole() -> None:
    rng = random.Random(3)
    pieces = [PROGRAM[at : at + 3] for at in range(0, len(PROGRAM), 3)]
    pieces += ["/", '"', '"""', "{", "}", ";", "\\", "/*", "*/", "//", "\0", "é", "\n", "\r", "`", "'", "#", "::", "0x"]
    for _ in range(600):
        lexed("".join(rng.choice(pieces) for _ in range(rng.randrange(60))))


def test_every_beginning_of_a_program_comes_back_whole() -> None:
    for end in range(len(PROGRAM)):
        lexed(PROGRAM[:end])
