"""Parameters in attach points: in `uprobe:$program:$function` the words stand that the command line gives for them.
Within quotes there are none.
"""

from __future__ import annotations

import re
from dataclasses import replace

from xcapscript.diagnostics import Code
from xcapscript.quotes import STRING, quoted
from xcapscript.sema.filter import PARAMETER, Parameters
from xcapscript.sema.refusal import refuse
from xcapscript.syntax import ast

WORD = re.compile(r'[^\s,;|(){}"\x00-\x1f\x7f]+')
"""What could be written in an attach point as it is."""


def with_parameters(attach: ast.Attach, parameters: Parameters) -> ast.Attach:
    """The attach point as it is meant, at the place where it was written; ScriptError for a parameter that is none."""

    def meant(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0]
        if name == "$":
            return "$"
        value = parameters.value(name)
        if value is None:
            hints = parameters.like(name) or ("parameters follow the program: xcap -e '...' VALUE",)
            refuse(Code.UNKNOWN_PARAMETER, attach, f"parameter '${name}' was not given", *hints)
        if not value:
            refuse(Code.BAD_HOOK, attach, f"parameter '${name}' is empty, and cannot stand in a hook")
        return value if WORD.fullmatch(value) else quoted(value)

    return replace(attach, text=re.sub(rf"{STRING}|{PARAMETER.pattern}", meant, attach.text))
