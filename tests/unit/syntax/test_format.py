"""Formatting keeps the meaning and the comments, changes nothing the second time, and looks as the docs do."""

from __future__ import annotations

import random
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from xcapscript.diagnostics import ScriptError
from xcapscript.errors import CompilerBug
from xcapscript.source import Source
from xcapscript.syntax import ast
from xcapscript.syntax import format as formatter
from xcapscript.syntax.format import WIDTH, format_text
from xcapscript.syntax.parse import lexemes, parse

ROOT = Path(__file__).resolve().parents[3]

AWKWARD = [
    "",
    "\n\n",
    ";;",
    "// alone",
    "#!/usr/bin/env xcap",
    "#!/usr/bin/env xcap\n\n\n// and then\n\n\nrx",
    "/* one */ /* two */ rx /* three */ ; /* four */",
    "rx /* a */, // b\n tx /* c */ /tcp/ // d\n /* e */ { // f\n // g\n dump /* h */ ; /* i */ // j\n /* k */ }",
    "rx {;;; dump ;;; /* c */ ; print }; ; /* d */ ;",
    "rx { /* nothing */ }",
    "rx { // nothing\n }",
    "rx\n/tcp/\n{\n\n\ndump;\n\n\n\nprint\n\n\n}\n\n\n\ntx",
    "rx / tcp\n  and udp / { dump; }",
    "rx /tcp /* not a comment */ and // nor this\n udp/;",
    "rx / /;",
    "rx / /x/;",
    "rx /x / /;",
    "rx / *x/;",
    'rx /inner " tcp "/ { dump("a // b /* c"); }',
    'c\n"""\n  int x; // { } ;\n\n\n""" c """"a" ""b"""',
    "fn f() { return } fn g($a) { return -1; } fn h($a,$b) { return ($a+$b) }",
    "rx { if tcp { dump } }",
    "rx { if (a) { dump; } else if b { print } else if (c) { $x = 1 } else { stack; } }",
    "rx { if (a) { dump; } // one\n else /* two */ { print } // three\n }",
    "rx { $x=-1; $y=- -1; $z=!!a; $w=not not a; $v=~-a*-b- -c; $u=**p; $t=x&*p }",
    "rx { $x = (u32)-a - (struct sock*)b - (struct sock * *) *c; $y = (u32)(a) + (a)-(b) }",
    "rx { $x ++; -- $y; ++@; @m[a] --; @m [ a , b ] ++ }",
    "rx { $x <<= 1; $x %= a[ 1 ] [ 2 ]->b . c->d; @a = @b [ 1 ] . c }",
    "rx { $x = a?b:c?d:e; $y = a ? ::1 : ::2/64; $z = aa:bb:cc:dd:ee:ff in 10.0.0.0/8 }",
    "rx { f ( a = 1 , b=-c , d == e ) ; g ( ) ; h(x(y=(z))) }",
    "rx { f(\na,\nb\n); g(a, // one\nb); h(a\n+b\n+c, d\n); k(a /* x */\n, b /* y */) }",
    "uprobe:/bin/x:f(a=arg0,\n  b=arg1) , u:/lib/y|z:g /tcp/ { dump; }",
    "hook a=b|c|d ; hook e = // why\n f // not\n | g;",
    'option a=1;param b;param c=1;param d,"x";param e = -1 , "y" ;',
    f"rx {{ printf({', '.join(['aaaaaaaaaaaa + bbbbbbbbbb'] * 12)}); }}",
    f"{','.join(f'rawtracepoint:{name * 20}' for name in 'abcdef')} /{' and '.join(['tcp'] * 30)}/ {{ dump; }}",
    f"rx /{' and '.join(['tcp'] * 14)}/ {{ dump; count(reason); }}",
    "/**\n* stars\n   * below\n*/\nrx {\n/*\n  plain\n*/\ndump;\n}",
    "rx { dump; }\r\n\r\n\r\n// carriage\r\ntx\r\n{\r\nprint;\r\n}\r\n",
    "rx\t{\tdump\t;\t}\f\v tx",
]


def programs() -> list[str]:
    cases = sorted((ROOT / "tests" / "cases").glob("*/*.case"))
    pieces = [piece for path in cases for piece in path.read_text().split("=== ")[1:]]
    files = [*(ROOT / "stdlib").glob("*.xcap"), *(ROOT / "examples").glob("*.xcap")]
    texts = [piece.partition("\n")[2].partition("---\n")[0] for piece in pieces] + [path.read_text() for path in files]
    return [text for text in texts if parses(text)]


def parses(text: str) -> bool:
    try:
        parse(Source("case", text))
    except ScriptError:
        return False
    return True


def formatted(text: str) -> str:
    return format_text(Source("case", text))


def bare(node: object) -> object:
    """A tree as nested tuples, without places and the ends of predicates."""
    if isinstance(node, tuple):
        return tuple(bare(part) for part in node)
    if isinstance(node, ast.Predicate):
        return node.text.strip()
    if is_dataclass(node):
        return type(node).__name__, *(bare(getattr(node, each.name)) for each in fields(node) if each.name != "span")
    return node


def comments(text: str) -> list[list[str]]:
    """The words of every comment between tokens."""
    ends = [0, *(end for lexeme in lexemes(Source("case", text)) for end in (lexeme.start, lexeme.end)), len(text)]
    gaps = [text[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True)]
    found = [re.findall(r"//[^\n]*|/\*.*?\*/|#![^\n]*", gap, re.DOTALL) for gap in gaps]
    return [comment.split() for gap in found for comment in gap]


def check(text: str) -> None:
    once = formatted(text)
    assert formatted(once) == once
    assert bare(parse(Source("case", once))) == bare(parse(Source("case", text)))
    assert comments(once) == comments(text)
    assert once == "" or once.endswith("\n")


@pytest.mark.parametrize("text", [pytest.param(text, id=str(number)) for number, text in enumerate(AWKWARD)])
def test_awkward_programs_keep_meaning_and_comments(text: str) -> None:
    check(text)


def test_every_program_keeps_meaning_and_comments() -> None:
    found = programs()
    assert len(found) > 50
    for text in found:
        check(text)


GAPS = ["\n", "\n\n\n", " // x\n", "/* y */", " /* y */ ", "\n/* z */", "\n\n  // w\n\n\n", "\n/* a\n   b */\n", "\t"]


def scattered(text: str, rng: random.Random) -> str:
    """The program with blanks, line ends and comments put between its tokens."""
    result, at = "", 0
    for lexeme in lexemes(Source("case", text)):
        gap = text[at : lexeme.start]
        if rng.random() < 0.3:
            gap += rng.choice(GAPS)
        result += gap + lexeme.text
        at = lexeme.end
    return result + text[at:] + rng.choice(["", *GAPS])


def test_comments_and_line_ends_may_stand_anywhere() -> None:
    rng = random.Random(11)
    tried = 0
    for text in [*AWKWARD, *programs()]:
        for _ in range(6):
            other = scattered(text, rng)
            if parses(other):
                tried += 1
                check(other)
    assert tried > 400


def test_the_style_is_that_of_the_docs() -> None:
    text = """\
#!/usr/bin/env xcap
import   "drop" ;


hook d=rawtracepoint:kfree_skb|rt:consume_skb; // the first of them
option snaplen=64;   // bytes
fn half($a){return $a/2;}
drop,rx/ icmp /{dump;count(reason);}
tx { @m[a,b]=count();$x+=1;if(ip.src in 10.0.0.0/8){dump}else{$y=a?b:c} }
rx
"""
    assert (
        formatted(text)
        == """\
#!/usr/bin/env xcap
import "drop";

hook d = rawtracepoint:kfree_skb | rt:consume_skb;  // the first of them
option snaplen = 64;                                // bytes
fn half($a) { return $a / 2; }
drop, rx /icmp/ { dump; count(reason); }
tx {
    @m[a, b] = count();
    $x += 1;
    if (ip.src in 10.0.0.0/8) {
        dump;
    } else {
        $y = a ? b : c;
    }
}
rx;
"""
    )


def test_the_shipped_programs_are_in_style() -> None:
    for path in [*(ROOT / "stdlib").glob("*.xcap"), *(ROOT / "examples").glob("*.xcap")]:
        assert formatted(path.read_text()) == path.read_text(), path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rx { dump }", "rx { dump; }\n"),
        ("rx { dump; print; stack }", "rx {\n    dump;\n    print;\n    stack;\n}\n"),
        ("rx {\ndump }", "rx {\n    dump;\n}\n"),
        ("rx { if a { dump } }", "rx {\n    if a { dump; }\n}\n"),
        ("rx {\n\n}", "rx {}\n"),
        ("rx { /* nothing */ }", "rx { /* nothing */ }\n"),
        ("rx {\ndump; /* nothing */ }", "rx {\n    dump; /* nothing */\n}\n"),
        ("rx { /* why */ dump }", "rx { /* why */ dump; }\n"),
    ],
)
def test_a_short_block_stays_on_its_line(text: str, expected: str) -> None:
    assert formatted(text) == expected


def test_a_block_that_is_too_wide_is_opened() -> None:
    name = "x" * (WIDTH - len("rx { (); }"))
    assert formatted(f"rx {{ {name}(); }}") == f"rx {{ {name}(); }}\n"
    assert formatted(f"rx {{ {name}x(); }}") == f"rx {{\n    {name}x();\n}}\n"


def test_attach_points_stay_on_their_lines_and_wide_ones_are_wrapped() -> None:
    assert formatted("rx,\ntx,drop\n/tcp/\n{ dump; }") == "rx,\ntx, drop /tcp/ { dump; }\n"
    wide = formatted(", ".join(["rawtracepoint:netif_receive_skb"] * 8) + "/tcp/;")
    assert wide.count("\n") == 3
    assert max(len(line) for line in wide.splitlines()) <= WIDTH


def test_wide_statements_are_wrapped() -> None:
    lines = formatted(f"rx {{ printf({', '.join(['args.value'] * 30)}); }}").splitlines()
    assert max(len(line) for line in lines) <= WIDTH
    assert lines[1].startswith("    printf(")
    assert all(line.startswith("        args") for line in lines[2:-1])


def test_comments_at_the_ends_of_lines_in_a_row_are_aligned() -> None:
    assert formatted("rx {\ndump; // a\nprint(pid);// b\n\nstack; // c\n}") == (
        "rx {\n    dump;        // a\n    print(pid);  // b\n\n    stack;  // c\n}\n"
    )


def test_a_wrong_program_is_refused() -> None:
    with pytest.raises(ScriptError):
        formatted("rx { dump")


def test_a_text_that_would_mean_something_else_is_never_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formatter._Printer, "text", lambda _: "tx;\n")
    with pytest.raises(CompilerBug):
        formatted("rx")
    monkeypatch.setattr(formatter._Printer, "text", lambda _: "rx {\n")
    with pytest.raises(CompilerBug):
        formatted("rx")
