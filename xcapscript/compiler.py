"""From a source to a unit, one stage a line."""

from __future__ import annotations

from dataclasses import dataclass

from xcapscript import ir
from xcapscript.codegen.generate import Options, generate
from xcapscript.diagnostics import Code, Diagnostic, ScriptError
from xcapscript.kernel.facts import Kernel
from xcapscript.library import Library
from xcapscript.sema.analyse import Settings, analyse
from xcapscript.source import Source
from xcapscript.syntax import ast
from xcapscript.syntax.parse import parse
from xcapscript.unit import Unit


@dataclass(frozen=True, slots=True)
class Compiled:
    """What each stage made of a source."""

    script: ast.Script
    program: ir.Program
    unit: Unit


def compile_script(source: Source, library: Library, kernel: Kernel, settings: Settings, options: Options) -> Compiled:
    """Compile a source; ScriptError for what is wrong in it, KernelError for what the kernel cannot tell."""
    script = parse(source)
    try:
        program = analyse(script, library, kernel, settings)
        return Compiled(script, program, generate(program, options))
    except RecursionError:
        message = "the program is nested too deeply"
        raise ScriptError([Diagnostic(Code.SYNTAX, message, source.span(0, 0))]) from None
