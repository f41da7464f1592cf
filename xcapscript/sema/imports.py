"""Imports: every file that a script means is read once, and its definitions and clauses are gathered."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TypeVar

from xcapscript.builtins import BUILTINS, FLOW, LAYERS, REASON, RETVAL
from xcapscript.diagnostics import Code, Diagnostic, Note, ScriptError, did_you_mean
from xcapscript.library import Library
from xcapscript.sema.check import ACTIONS
from xcapscript.sema.expressions import FUNCTIONS
from xcapscript.sema.maps import AGGREGATIONS
from xcapscript.source import Source, Span
from xcapscript.syntax import ast
from xcapscript.syntax.parse import parse
from xcapscript.unit import HookKind

Definition = TypeVar("Definition", ast.HookAlias, ast.Function, ast.Param)

OWN_WORDS = frozenset(BUILTINS) | {
    *ACTIONS,
    *FUNCTIONS,
    *AGGREGATIONS,
    REASON,
    RETVAL,
    FLOW,
    *(layer for layer in LAYERS),
}
"""What a function cannot be called: it would never be reached, or stand in the way."""

RESERVED = frozenset({kind.value for kind in HookKind})


@dataclass(frozen=True, slots=True)
class Gathered:
    """The clauses in order, those of imported files first, and what the files define, by name."""

    clauses: tuple[ast.Clause, ...]
    aliases: dict[str, ast.HookAlias]
    functions: dict[str, ast.Function]
    options: tuple[ast.Option, ...]
    params: dict[str, ast.Param]
    c_texts: tuple[ast.CText, ...]


@dataclass(slots=True)
class _Gatherer:
    library: Library
    seen: set[str] = field(default_factory=set)
    clauses: list[ast.Clause] = field(default_factory=list)
    aliases: dict[str, ast.HookAlias] = field(default_factory=dict)
    functions: dict[str, ast.Function] = field(default_factory=dict)
    options: list[ast.Option] = field(default_factory=list)
    params: dict[str, ast.Param] = field(default_factory=dict)
    c_texts: list[ast.CText] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def first_time(self, source: Source) -> bool:
        """Whether this file, by whatever path, has not been read before."""
        path = os.path.realpath(source.name)
        known = path in self.seen
        self.seen.add(path)
        return not known

    def add(self, script: ast.Script) -> None:
        for item in script.items:
            match item:
                case ast.Import(name):
                    self._import(name)
                case ast.HookAlias():
                    self._define_hook(item)
                case ast.Clause():
                    self.clauses.append(item)
                case ast.Option():
                    self.options.append(item)
                case ast.CText():
                    self.c_texts.append(item)
                case ast.Param():
                    self._define("parameter", item, self.params)
                case ast.Function():
                    self._define_function(item)

    def _define_hook(self, alias: ast.HookAlias) -> None:
        if alias.name.name.lower() in RESERVED:
            message = f"'{alias.name.name}' is the language's own word for a hook"
            self.diagnostics.append(Diagnostic(Code.REDEFINED, message, alias.name.span))
        self._define("hook", alias, self.aliases)

    def _define_function(self, function: ast.Function) -> None:
        name = function.name
        if name.name in OWN_WORDS:
            message = f"'{name.name}' is a word of the language"
            hint = f"give the function another name, such as my_{name.name}"
            self.diagnostics.append(Diagnostic(Code.REDEFINED, message, name.span, (hint,)))
        seen: dict[str, Span] = {}
        for parameter in function.parameters:
            if seen.setdefault(parameter.name, parameter.span) is not parameter.span:
                note = Note("it is named here first", seen[parameter.name])
                message = f"'{name.name}' has two parameters '${parameter.name}'"
                self.diagnostics.append(Diagnostic(Code.REDEFINED, message, parameter.span, notes=(note,)))
        self._define("function", function, self.functions)

    def _define(self, what: str, item: Definition, known: dict[str, Definition]) -> None:
        before = known.setdefault(item.name.name, item)
        if before is not item:
            note = Note("it is defined here first", before.name.span)
            message = f"{what} '{item.name.name}' is defined twice"
            self.diagnostics.append(Diagnostic(Code.REDEFINED, message, item.name.span, notes=(note,)))

    def _import(self, name: ast.String) -> None:
        source = self._read(name.value, name.span)
        if source is None or not self.first_time(source):
            return
        try:
            self.add(parse(source))
        except ScriptError as error:
            self.diagnostics.extend(error.diagnostics)

    def _read(self, name: str, span: Span) -> Source | None:
        try:
            source = self.library.find(name, span.source, span)
        except (OSError, UnicodeDecodeError) as error:
            self.diagnostics.append(Diagnostic(Code.UNKNOWN_IMPORT, f"cannot read '{name}': {error}", span))
            return None
        if source is None:
            tried = ", ".join(str(path) for path in self.library.candidates(name, span.source))
            hints = (*did_you_mean(name, self.library.standard_names()), f"looked for {tried}")
            message = f"there is no library '{name}'"
            self.diagnostics.append(Diagnostic(Code.UNKNOWN_IMPORT, message, span, hints))
        return source


def gather(script: ast.Script, library: Library) -> Gathered:
    """Read all that `script` imports; ScriptError with what is wrong in any of the files."""
    gatherer = _Gatherer(library)
    gatherer.first_time(script.span.source)
    gatherer.add(script)
    if gatherer.diagnostics:
        raise ScriptError(gatherer.diagnostics)
    return Gathered(
        tuple(gatherer.clauses),
        gatherer.aliases,
        gatherer.functions,
        tuple(gatherer.options),
        gatherer.params,
        tuple(gatherer.c_texts),
    )
