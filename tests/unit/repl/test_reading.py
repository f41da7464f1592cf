from __future__ import annotations

from pathlib import Path

import pytest

from xcapscript.capture import Wishes
from xcapscript.diagnostics import Code
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.repl import reading
from xcapscript.repl.reading import UNFINISHED, WHOLE, Verdict, judge

ROOT = Path(__file__).parents[3]
KERNEL = FrozenKernel(ROOT / "tests" / "data" / "kernel" / "linux-6.18.json")
LIBRARY = default_library({})


def judged(text: str) -> Verdict:
    return judge(text, LIBRARY, KERNEL, Wishes())


@pytest.mark.parametrize(
    "text", ["", "  ", "rx", "rx;", "rx /icmp/", "rx { dump; }", ".ls", "!ls", "rx { }\ntx { dump; }"]
)
def test_what_is_whole_can_run(text: str) -> None:
    assert judged(text) == WHOLE


@pytest.mark.parametrize(
    "text",
    [
        *(
            "rx {",
            "rx { dump;",
            "rx,",
            "rx /icmp",
            "rx /icmp and",
            "rx { if pid == 1",
            "rx { @a[",
            "rx /* a",
            "fn f($a)",
        ),
        *("hook a =", "import", 'c """ int x;', "rx {\n  // }\n", "rx { $x = 1 / 2"),
    ],
)
def test_what_is_open_goes_on(text: str) -> None:
    assert judged(text) == UNFINISHED


@pytest.mark.parametrize(
    ("text", "code", "start"),
    [
        ("rx { dupm; }", Code.UNKNOWN_NAME, 5),
        ("dorp /icmp/", Code.UNKNOWN_HOOK, 0),
        ("rx }", Code.SYNTAX, 3),
        ('rx { print("a); }', Code.UNCLOSED_STRING, 11),
        ("rx /icmp { dump; }", Code.UNCLOSED_PREDICATE, 3),
        ("rx /icmp and tcp port/", Code.BAD_FILTER, 4),
        ("rawtracepoint:nothing", Code.MISSING_HOOK, 0),
        ("rx { @m = sum(comm); }", Code.TYPE_CLASH, 14),
    ],
)
def test_what_is_wrong_is_known_with_its_place(text: str, code: Code, start: int) -> None:
    verdict = judged(text)
    assert verdict.whole
    assert verdict.wrong is not None
    assert (verdict.wrong.code, verdict.wrong.span.start) == (code, start)


@pytest.mark.parametrize(
    "text", ["rx /host some.where.example/", "rawtracepoint:net* { count; }", f"rx /{'port 1 or ' * 99} port 2/"]
)
def test_what_may_take_long_is_left_to_the_clause(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "compile_program", lambda *_args: pytest.fail("it was compiled"))
    assert judged(text) == WHOLE


def test_names_of_the_kernel_are_not_taken_for_hosts() -> None:
    assert judged('rx /tcp and comm == "nginx" and reason == 3/').wrong is not None
