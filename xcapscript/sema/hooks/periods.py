"""The period of an interval."""

from __future__ import annotations

import re

from xcapscript.diagnostics import Code
from xcapscript.sema.refusal import refuse
from xcapscript.syntax import ast
from xcapscript.syntax.parse import read_number

PERIOD = re.compile(r"[0-9][0-9_]*(ns|us|ms|s|m|h)")
MINIMAL_PERIOD = 1_000_000


def period(attach: ast.Attach, target: str) -> int:
    """In ns: `10s`, `hz:4`, or as bpftrace has it, `s:10`."""
    unit, _, number = target.partition(":")
    if target.startswith("hz:"):
        rate = read_number(number) if number.isdecimal() else None
        value = 10**9 // rate if rate else None
    elif PERIOD.fullmatch(target):
        value = read_number(target)
    else:
        value = read_number(number + unit) if PERIOD.fullmatch(number + unit) and unit.isalpha() else None
    if not value:
        hint = "write interval:10s, interval:500ms or interval:hz:4"
        refuse(Code.BAD_HOOK, attach, f"'{attach.text}' has no period", hint)
    if value < MINIMAL_PERIOD:
        refuse(Code.BAD_HOOK, attach, f"'{attach.text}' is too often", "the shortest period is 1ms")
    return value
