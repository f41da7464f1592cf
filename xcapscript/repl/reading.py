"""What a typed text is: a command, a program that can run, one that goes on, or one that is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from xcapscript.capture import Wishes, compile_program
from xcapscript.diagnostics import Diagnostic, ScriptError
from xcapscript.errors import CompilerBug, KernelError
from xcapscript.kernel.facts import Kernel
from xcapscript.library import Library
from xcapscript.pcap.worker import is_quick
from xcapscript.sema.check import Definitions
from xcapscript.sema.predicate import names_of_the_kernel
from xcapscript.source import Source
from xcapscript.syntax import ast
from xcapscript.syntax.parse import goes_on, parse
from xcapscript.syntax.predicate import Pcap, each, split

NAME = "prompt"
"""What diagnostics call what is being typed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a text is whole, and what is wrong with it."""

    whole: bool
    wrong: Diagnostic | None = None


WHOLE, UNFINISHED = Verdict(whole=True), Verdict(whole=False)


def is_command(text: str) -> bool:
    """Whether it is one for the prompt itself: `.name` or `!command`."""
    return text.lstrip().startswith((".", "!"))


def _is_quick(script: ast.Script) -> bool:
    """Whether its hooks and its tcpdump expressions are looked up in no time."""
    names = names_of_the_kernel(Definitions({}, frozenset()))
    clauses = [item for item in script.items if isinstance(item, ast.Clause)]
    parts = [split(clause.predicate, names) for clause in clauses if clause.predicate is not None]
    expressions = [
        one.expression.text for part in parts if part is not None for one in each(part) if isinstance(one, Pcap)
    ]
    return all(map(is_quick, expressions)) and not any("*" in a.text for clause in clauses for a in clause.attaches)


def judge(text: str, library: Library, kernel: Kernel, wishes: Wishes) -> Verdict:
    """Read a text as far as that is quick: what libpcap or wildcards may take long for is left to its clause."""
    if not text.strip() or is_command(text):
        return WHOLE
    source = Source(NAME, text)
    if goes_on(source):
        return UNFINISHED
    try:
        if _is_quick(parse(source)):
            compile_program(source, library, kernel, wishes, lambda _seconds: None)
    except ScriptError as error:
        return Verdict(whole=True, wrong=error.diagnostics[0])
    except (KernelError, CompilerBug):
        # it is told when the clause is started
        return WHOLE
    return WHOLE
