"""Parameters in attach points: in `uprobe:$program:$function` the words stand that the command line gives for them."""

from __future__ import annotations

import re
from dataclasses import replace

from xcapscript.diagnostics import Code
from xcapscript.sema.filter import PARAMETER, Parameters
from xcapscript.sema.refusal import refuse
from xcapscript.syntax import ast

WORD = re.compile(r"[^\s,;|(){}\x00-\x1f\x7f]+")
"""What could be written in an attach point as it is."""


def with_parameters(attach: ast.Attach, parameters: Parameters) -> ast.Attach:
    """The attach point as it is meant, at the place where it was written; ScriptError for a parameter that is none."""

    def missing(name: str) -> str:
        hints = parameters.like(name) or ("parameters follow the program: xcap -e '...' VALUE",)
        refuse(Code.UNKNOWN_PARAMETER, attach, f"parameter '${name}' was not given", *hints)

    text = parameters.put_in(attach.text, missing)
    for name in PARAMETER.findall(attach.text):
        value = parameters.value(name) or ""
        if name != "$" and not WORD.fullmatch(value):
            hint = "a hook has no spaces, commas, semicolons, parentheses, braces and bars"
            refuse(Code.BAD_HOOK, attach, f"parameter '${name}' cannot stand in a hook: '{value}'", hint)
    return replace(attach, text=text)
