"""`xcap SCRIPT --help`: what a script says of itself, and the parameters that it takes."""

from __future__ import annotations

from collections.abc import Iterator

from xcapscript.diagnostics import escape
from xcapscript.source import Source
from xcapscript.syntax import ast
from xcapscript.syntax.parse import parse


def script_help(source: Source) -> str:
    """The comment at the script's beginning, and a line for each parameter; ScriptError if it does not parse."""
    params = [item for item in parse(source).items if isinstance(item, ast.Param)]
    lines = [f"usage: xcap {escape(source.name)}{' [--NAME=VALUE ...]' if params else ''} [ARGUMENT ...]", ""]
    lines += [escape(line) for line in doc_comment(source.text)]
    if params:
        width = max(len(param.name.name) for param in params)
        lines += ["", "parameters:", *(_line(param, width) for param in params)]
    return "\n".join(lines).rstrip()


def doc_comment(text: str) -> Iterator[str]:
    """The lines of the `//` comment that a script begins with, behind `#!`."""
    for line in text.splitlines():
        if line.startswith("//"):
            yield line.removeprefix("//").removeprefix(" ")
        elif not line.startswith("#!"):
            return


def _line(param: ast.Param, width: int) -> str:
    name = f"--{param.name.name}".ljust(width + 2)
    doc = escape(param.doc.value) if param.doc is not None else ""
    default = f"({escape(param.default.span.text)})" if param.default is not None else "(must be given)"
    return f"  {name}  {doc} {default}".rstrip()
