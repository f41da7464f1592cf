"""The entry of this room: a syntax tree, a library and a kernel give the resolved program."""

from __future__ import annotations

from dataclasses import dataclass, field

from xcapscript.builtins import Needs
from xcapscript.diagnostics import Code, Diagnostic, ScriptError, did_you_mean
from xcapscript.ir import ClearMap, Dump, Hook, Line, PrintMap, Probe, Program, Statement
from xcapscript.kernel.facts import Kernel
from xcapscript.library import Library
from xcapscript.sema.check import Maps, Statements, needs_of_statement
from xcapscript.sema.expressions import Expressions
from xcapscript.sema.filter import Filters, Parameters, Rules, compile_predicate
from xcapscript.sema.hooks import Hooks
from xcapscript.sema.imports import gather
from xcapscript.source import Span
from xcapscript.syntax import ast


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says about meaning.

    The script's parameters; how expressions are read; whether packets go to a file, as they then do from
    a clause without a block; and whether the script is only checked: it may be a library, whose hooks are looked at.
    """

    parameters: Parameters = field(default_factory=Parameters)
    rules: Rules = field(default_factory=Rules)
    writes: bool = False
    checking: bool = False


def analyse(script: ast.Script, library: Library, kernel: Kernel, settings: Settings) -> Program:
    """Resolve a script; ScriptError with all mistakes found, KernelError if the kernel cannot be asked."""
    gathered = gather(script, library)
    clauses = _Clauses(Hooks(gathered.aliases, library, kernel), settings, Maps())
    probes: list[Probe] = []
    diagnostics: dict[tuple[Code, Span], Diagnostic] = {}
    for clause in gathered.clauses:
        try:
            probes += clauses.resolve(clause)
        except ScriptError as error:
            # A clause is checked at each of its hooks: the same mistake is told once.
            diagnostics |= {(d.code, d.span): d for d in error.diagnostics if (d.code, d.span) not in diagnostics}
    if settings.checking:
        diagnostics |= {(d.code, d.span): d for d in _check_definitions(script, clauses.hooks)}
    elif not gathered.clauses:
        message = "there is nothing to attach: the program has no clause"
        hint = "write for instance: drop /icmp/ { dump; }"
        diagnostics[Code.SYNTAX, script.span] = Diagnostic(Code.SYNTAX, message, _start(script.span), (hint,))
    if not diagnostics:
        diagnostics |= {(d.code, d.span): d for d in _unknown_maps(probes, clauses.maps)}
    if diagnostics:
        raise ScriptError(diagnostics.values())
    return Program(tuple(probes), tuple(clauses.maps.found.values()))


@dataclass(frozen=True, slots=True)
class _Clauses:
    hooks: Hooks
    settings: Settings
    maps: Maps

    def resolve(self, clause: ast.Clause) -> list[Probe]:
        """A probe for each hook of a clause."""
        diagnostics: list[Diagnostic] = []
        hooks: list[tuple[ast.Attach, Hook]] = []
        for attach in clause.attaches:
            try:
                hooks += [(attach, hook) for hook in self.hooks.resolve(attach)]
            except ScriptError as error:
                diagnostics += error.diagnostics
        filters = Filters()
        try:
            if clause.predicate is not None:
                filters = compile_predicate(clause.predicate, self.settings.parameters, self.settings.rules)
        except ScriptError as error:
            diagnostics += error.diagnostics
        probes = [self._probe(clause, attach, hook, filters, diagnostics) for attach, hook in hooks]
        if diagnostics:
            raise ScriptError(diagnostics)
        return probes

    def _probe(
        self, clause: ast.Clause, attach: ast.Attach, hook: Hook, filters: Filters, found: list[Diagnostic]
    ) -> Probe:
        """The clause at one hook; its mistakes go to `found`."""
        if hook.skb is None and (clause.predicate is not None or clause.block is None):
            what = "a predicate" if clause.predicate is not None else "a clause without a block"
            message = f"{what} takes a packet, and '{hook.name}' has none"
            span = clause.predicate.span if clause.predicate is not None else attach.span
            found.append(Diagnostic(Code.NO_PACKET, message, span, ("see 'xcap -l -v' for hooks with a packet",)))
        body: list[Statement] = []
        if clause.block is None:
            body.append(Dump(None, clause.span) if self.settings.writes else Line(clause.span))
        else:
            statements = Statements(Expressions(hook, self.settings.parameters), self.maps)
            for node in clause.block.statements:
                try:
                    body.append(statements.check(node))
                except ScriptError as error:
                    found += error.diagnostics
        needs = max((needs_of_statement(s) for s in body), default=Needs.NOTHING)
        if filters.outer or filters.inner:
            needs = Needs.PACKET
        return Probe(hook, filters.outer, filters.inner, tuple(body), needs, clause.span)


def _check_definitions(script: ast.Script, hooks: Hooks) -> list[Diagnostic]:
    """What is wrong with the hooks that a script defines, used or not."""
    found: list[Diagnostic] = []
    for item in script.items:
        if isinstance(item, ast.HookAlias):
            try:
                hooks.resolve(ast.Attach(item.name.name, item.name.span))
            except ScriptError as error:
                found += error.diagnostics
    return found


def _unknown_maps(probes: list[Probe], maps: Maps) -> list[Diagnostic]:
    """Maps that are printed or cleared and never filled."""
    found = []
    for probe in probes:
        for statement in probe.body:
            if isinstance(statement, PrintMap | ClearMap) and statement.map not in maps.found:
                hints = did_you_mean(statement.map, maps.found)
                message = f"nothing fills the map '{statement.map}'"
                found.append(Diagnostic(Code.UNKNOWN_NAME, message, statement.span, hints))
    return found


def _start(span: Span) -> Span:
    return Span(span.source, span.start, span.start)
