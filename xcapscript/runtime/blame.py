"""Why a unit did not load, in words for the person who wrote the script."""

from __future__ import annotations

import re
from typing import NoReturn

from xcapscript.diagnostics import Code, Diagnostic, ScriptError
from xcapscript.errors import CompilerBug, KernelError
from xcapscript.kernel.rights import capabilities, reasons_for_refusal
from xcapscript.source import Span
from xcapscript.unit import Unit

CLANG = re.compile(r"^(?P<file>[^\n]+?):(?P<line>\d+):\d+: (?:fatal )?error: (?P<message>.*)$", re.MULTILINE)
TOO_LONG = "longer than a jump can cross"
NO_MAP = re.compile(r"could not open bpf map: (?P<name>\S+), error: (?P<why>.+)$", re.MULTILINE)
BUFFER, NO_MEMORY = "xcap_events", "Cannot allocate memory"
NOT_PERMITTED = "Operation not permitted"
ABOUT_MAPS = {
    "Too many open files": "a map and a clause take a descriptor each: see ulimit -n",
    NOT_PERMITTED: "before Linux 5.11 maps are locked memory: try ulimit -l unlimited, as root; see 'xcap --doctor'",
}
STACK_LIMIT = "BPF stack limit"
VERDICT = re.compile(
    r"^(?!\d+: |;|R\d+\w*=|processed |from |\s|caller|callee|frame|func#|last_idx|regs=|parent |bpf: |$)(.+)$",
    re.MULTILINE,
)
STATES = ("cur state: ", "old state: ")
"""Not verdicts, but what registers held."""

NO_END = re.compile(r"infinite loop detected|back-edge from insn|[Pp]rogram +(is )?too large|jumps is too complex")
LOOP = re.compile(r"\b(?:while|for|do|goto)\b")
COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"', re.DOTALL)
ENDLESS = "the kernel cannot see that this loop ends, or not before a million instructions"
BOUND_IT = "bound it by a constant: for (int i = 0; i < 64 && ...; i++)"
PLACE = re.compile(r"^; .* @ (?P<file>.+):(?P<line>\d+)$", re.MULTILINE)


def blame_compiler(unit: Unit, log: str, *, died: bool) -> NoReturn:
    """Raise what explains a compilation that failed, from what clang printed."""
    if STACK_LIMIT in log:
        message = "a clause needs more than the 512 bytes of stack that BPF has"
        raise KernelError(message, advice="split its expression or its block into several clauses", log=log)
    for match in CLANG.finditer(log):
        line, message = int(match["line"]), f"clang says: {match['message']}"
        if place := _in_c(unit, match["file"], line):
            raise ScriptError([Diagnostic(Code.COMPILE, message, place)])
        spans = [program.span for program in unit.programs if program.span.source.name == match["file"]]
        if spans:
            # of the clauses that begin before the line, the last
            before = [span for span in spans if span.line <= line] or spans
            raise ScriptError([Diagnostic(Code.COMPILE, message, before[-1])])
    if refused := NO_MAP.search(log):
        if (refused["name"], refused["why"]) == (BUFFER, NO_MEMORY):
            message = "the kernel has no memory for the buffer"
            raise KernelError(message, advice="try a smaller one with --buffer-size, such as 4M", log=log)
        message = f"the kernel does not give us a map: {refused['why']}"
        raise KernelError(message, advice=ABOUT_MAPS.get(refused["why"]), log=log)
    if "No module named 'bcc'" in log:
        advice = "install them: Debian's package is python3-bpfcc, and the virtual environment must see it"
        raise KernelError("BCC's Python bindings (the module bcc) are not installed", advice=advice, log=log)
    if died:
        raise CompilerBug("the compiler's process ended without an answer", log=log)
    raise CompilerBug("the generated program does not compile", log=log)


def _in_c(unit: Unit, name: str, line: int) -> Span | None:
    """The line of the script's own C that clang complains of."""
    for text in unit.c_texts:
        lines = text.text.split("\n")
        if text.source.name == name and 0 <= line - text.line < len(lines):
            at = text.start + sum(len(before) + 1 for before in lines[: line - text.line])
            found = lines[line - text.line]
            indent = len(found) - len(found.lstrip())
            return text.source.span(at + indent, at + len(found.rstrip()))
    return None


def _endless(unit: Unit, log: str) -> Span | None:
    """The loop in the script's own C whose end the verifier did not see: elsewhere there is none."""
    if not NO_END.search(log):
        return None
    for text in unit.c_texts:
        blank = COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text.text)
        if loop := LOOP.search(blank):
            line = text.line + blank.count("\n", 0, loop.start())
            return _in_c(unit, text.source.name, line)
    return None


def blame_verifier(unit: Unit, function: str, reason: str, log: str) -> NoReturn:
    """Raise what explains a program that the kernel refused."""
    program = next(p for p in unit.programs if function in (p.function, p.entry, p.turn))
    if NOT_PERMITTED in reason:
        message = f"the kernel does not let us load the program for '{program.hook}'"
        advice = next(reasons_for_refusal(capabilities(), [program.attachment.kind]))
        raise KernelError(message, advice=f"{advice}; see 'xcap --doctor'", log=log)
    if TOO_LONG in reason:
        message = f"the program for '{program.hook}' is {reason}, of at most 32767"
        raise KernelError(message, advice="split its clause, or shorten its expression", log=log)
    verdicts = [text for text in VERDICT.findall(log) if not text.startswith(STATES)]
    if (loop := _endless(unit, log)) is not None:
        raise ScriptError([Diagnostic(Code.COMPILE, ENDLESS, loop, (BOUND_IT,))])
    places = PLACE.findall(log)
    span = program.span
    name, line = places[-1] if places and places[-1][0] == span.source.name else (span.source.name, str(span.line))
    why = f": {verdicts[-1]}" if verdicts else ""
    message = f"{name}:{line}: the kernel's verifier refused the program for '{program.hook}'{why}"
    raise KernelError(message, advice="see the whole log with -v", log=log)
