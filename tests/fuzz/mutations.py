"""The programs that there are (cases, libraries, examples, docs), and what becomes of them when they are damaged."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|\w+|\s+|[^\w\s]')
BLOCK = re.compile(r"^```xcap\n(.*?)^```", re.MULTILINE | re.DOTALL)
ONE_LINER = re.compile(r"-e '([^']+)'")
ODD = (
    *(
        "\0",
        "\n",
        "\t",
        "\r",
        "é",
        "\udcff",
        "\u2028",
        "\x1b[31m",
        "//",
        "/*",
        "*/",
        "#!",
        "rt:",
        "t:",
        "i:",
        "*",
        "->",
    ),
    *(".", "args.", "reason", "comm", "kstack(", "import ", "hook ", "ip[", "18446744073709551616", "9" * 30, "0x"),
    *("/", "{", "}", ";", '"', "$1", "$#", "$x", "$$", "@", "@m[", "(", ")", ",", "=", "0", "-", "%", "%d", "\\", "|"),
    *(
        "not ",
        "and ",
        "or ",
        "in ",
        "inner ",
        "struct sk_buff *",
        "(u8)",
        "fn f() {",
        'c """',
        '"""',
        "?",
        ":",
        "~",
        "!",
    ),
)


@cache
def corpus() -> tuple[str, ...]:
    """Every program of the tree, right or wrong."""
    cases = (path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("tests/cases/*/*.case")))
    texts = [piece.partition("\n")[2].partition("---\n")[0] for case in cases for piece in case.split("=== ")[1:]]
    texts += [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("*/*.xcap"))]
    for path in sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md"]):
        words = path.read_text(encoding="utf-8")
        texts += [*BLOCK.findall(words), *ONE_LINER.findall(words)]
    return tuple(dict.fromkeys(text for text in texts if text.strip()))


def mutated(rng: random.Random, text: str, others: Sequence[str]) -> str:
    """The program with one to six pieces removed, doubled, swapped or replaced."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        cut: Callable[[str], list[str]] = rng.choice([list, TOKEN.findall, TOKEN.findall, _lines])
        text = "".join(_changed(rng, cut(text), cut(rng.choice(others))))
    return text


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _changed(rng: random.Random, pieces: list[str], others: list[str]) -> list[str]:
    if not pieces:
        return [rng.choice(ODD)]
    at, other = rng.randrange(len(pieces)), rng.randrange(len(pieces))
    end = min(len(pieces), at + rng.choice([1, 1, 1, 2, 5]))
    match rng.randrange(6):
        case 0:
            return pieces[:at] + pieces[end:]
        case 1:
            return pieces[:end] + pieces[at:]
        case 2:
            pieces[at], pieces[other] = pieces[other], pieces[at]
            return pieces
        case 3:
            start = rng.randrange(len(others) + 1)
            return pieces[:at] + others[start : start + rng.choice([1, 2, 5])] + pieces[end:]
        case 4:
            return [*pieces[:at], rng.choice(ODD), *pieces[end:]]
        case _:
            return [*pieces[:at], rng.choice(ODD), *pieces[at:]]
