"""The entry of this room: a syntax tree, a library and a kernel give the resolved program."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from xcapscript.builtins import Needs
from xcapscript.diagnostics import Code, Diagnostic, ScriptError, did_you_mean
from xcapscript.ir import CText, Hook, Probe, Program
from xcapscript.kernel.facts import Kernel
from xcapscript.library import Library
from xcapscript.needs import needs_of
from xcapscript.nodes.hook import Filter
from xcapscript.nodes.statements import ClearMap, Commit, DeleteKey, Dump, Line, PrintMap, Ring, Statement, ZeroMap
from xcapscript.nodes.walk import walk
from xcapscript.sema.advice import meant
from xcapscript.sema.check import Definitions, Statements
from xcapscript.sema.filter import Parameters, Rules, compile_expression
from xcapscript.sema.hooks.functions import MOST_FUNCTIONS
from xcapscript.sema.hooks.resolve import Hooks
from xcapscript.sema.imports import Gathered, gather
from xcapscript.sema.maps import Maps
from xcapscript.sema.options import script_options, with_defaults
from xcapscript.sema.predicate import Predicate, names_of_the_kernel, resolve
from xcapscript.sema.refusal import where_packets_are
from xcapscript.sema.scope import Scope
from xcapscript.sema.structures import Structures
from xcapscript.source import Span
from xcapscript.syntax import ast
from xcapscript.syntax.predicate import Part, Pcap, each, split
from xcapscript.unit import Device, HookKind

C_FUNCTION = re.compile(r"\b([A-Za-z_]\w*)\s*\([^;{}()]*\)\s*\{")
C_KEYWORDS = frozenset({"if", "for", "while", "switch"})


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
    options, wrong = script_options(gathered.options)
    parameters = with_defaults(settings.parameters, gathered.params, _start(script.span))
    hooks = Hooks(gathered.aliases, library, kernel, options.max_probes or MOST_FUNCTIONS, parameters)
    definitions = Definitions(gathered.functions, frozenset(_c_functions(gathered.c_texts)))
    clauses = _Clauses(hooks, settings, parameters, Structures(kernel), definitions, Maps(provisional=True))
    probes, diagnostics = clauses.all(gathered)
    if clauses.maps.unmet:
        # what is read may be filled by a later clause: now all that are filled are known
        clauses = clauses.again()
        probes, diagnostics = clauses.all(gathered)
    if settings.checking:
        diagnostics |= _by_place(_check_definitions(script, hooks))
    elif not gathered.clauses:
        message = "there is nothing to attach: the program has no clause"
        hint = "write for instance: drop /icmp/ { dump; }"
        diagnostics[Code.SYNTAX, script.span] = Diagnostic(Code.SYNTAX, message, _start(script.span), (hint,))
    diagnostics = _by_place(wrong) | diagnostics
    if not diagnostics:
        found = (_unknown_maps(probes, clauses.maps), _unknown_rings(probes), _xdp_twice(probes))
        diagnostics |= _by_place(one for some in found for one in some)
    if diagnostics:
        raise ScriptError(diagnostics.values())
    c_texts = tuple(CText(text.text, text.span) for text in gathered.c_texts)
    return Program(tuple(probes), tuple(clauses.maps.found.values()), c_texts, options)


def _by_place(diagnostics: Iterable[Diagnostic]) -> dict[tuple[Code, Span], Diagnostic]:
    """A clause is checked at each of its hooks: the same mistake is told once."""
    found: dict[tuple[Code, Span], Diagnostic] = {}
    for diagnostic in diagnostics:
        found.setdefault((diagnostic.code, diagnostic.span), diagnostic)
    return found


def _c_functions(texts: Iterable[ast.CText]) -> Iterator[str]:
    """The names of the functions that C texts define."""
    for text in texts:
        yield from (name for name in C_FUNCTION.findall(text.text) if name not in C_KEYWORDS)


@dataclass(frozen=True, slots=True)
class _Clauses:
    hooks: Hooks
    settings: Settings
    parameters: Parameters
    structures: Structures
    definitions: Definitions
    maps: Maps
    compiled: dict[ast.Predicate, Filter | None] = field(default_factory=dict)

    def again(self) -> _Clauses:
        """The same once more, with what is known of the maps."""
        maps = Maps(dict(self.maps.found))
        parts = self.hooks, self.settings, self.parameters, self.structures, self.definitions
        return _Clauses(*parts, maps, self.compiled)

    def all(self, gathered: Gathered) -> tuple[list[Probe], dict[tuple[Code, Span], Diagnostic]]:
        """The probes of all clauses, and what is wrong with them."""
        probes: list[Probe] = []
        diagnostics: list[Diagnostic] = []
        for clause in gathered.clauses:
            try:
                probes += self._resolve(clause)
            except ScriptError as error:
                diagnostics += error.diagnostics
        return probes, _by_place(diagnostics)

    def _resolve(self, clause: ast.Clause) -> list[Probe]:
        """A probe for each hook of a clause."""
        diagnostics: list[Diagnostic] = []
        hooks: list[tuple[ast.Attach, Hook]] = []
        for attach in clause.attaches:
            try:
                hooks += [(attach, hook) for hook in self.hooks.resolve(attach)]
            except ScriptError as error:
                diagnostics += error.diagnostics
        part = None
        try:
            part = self._split(clause.predicate) if clause.predicate is not None else None
        except ScriptError as error:
            diagnostics += error.diagnostics
        probes = []
        for attach, hook in hooks:
            try:
                probes.append(self._probe(clause, attach, hook, part))
            except ScriptError as error:
                diagnostics += error.diagnostics
        if diagnostics:
            raise ScriptError(diagnostics)
        return probes

    def _split(self, predicate: ast.Predicate) -> Part | None:
        """The predicate's parts, its tcpdump expressions compiled."""
        names = names_of_the_kernel(self.definitions)
        part = split(predicate, names)
        diagnostics: list[Diagnostic] = []
        for one in each(part) if part is not None else ():
            try:
                if isinstance(one, Pcap):
                    self._compile(one.expression)
            except ScriptError as error:
                likelier = meant(one.expression, names) if isinstance(one, Pcap) else None
                diagnostics += error.diagnostics if likelier is None else [likelier]
        if diagnostics:
            raise ScriptError(diagnostics)
        return part

    def _compile(self, expression: ast.Predicate) -> Filter | None:
        """The filter of an expression, which libpcap is asked for once."""
        if expression not in self.compiled:
            self.compiled[expression] = compile_expression(expression, self.parameters, self.settings.rules)
        return self.compiled[expression]

    def _probe(self, clause: ast.Clause, attach: ast.Attach, hook: Hook, part: Part | None) -> Probe:
        """The clause at one hook."""
        found: list[Diagnostic] = []
        asks_packet = part is not None and any(isinstance(one, Pcap) for one in each(part))
        if not hook.has_packet and (asks_packet or clause.block is None):
            what = "a tcpdump expression" if asks_packet else "a clause without a block"
            message = f"{what} takes a packet, and '{hook.name}' has none"
            span = clause.predicate.span if asks_packet and clause.predicate is not None else attach.span
            found.append(Diagnostic(Code.NO_PACKET, message, span, (where_packets_are(hook),)))
        signed: set[int] = set()
        maps = dict(self.maps.found)
        predicate, body, wrong = self._checked(clause, hook, part, signed)
        known = 0
        while known < len(signed):
            # a variable that was taken for unsigned is given what may be negative further down
            known = len(signed)
            self.maps.found = dict(maps)
            predicate, body, wrong = self._checked(clause, hook, part, signed)
        if found or wrong:
            raise ScriptError([*found, *wrong])
        needs = max((needs_of(node) for node in walk((*predicate.conditions, *body))), default=Needs.NOTHING)
        if predicate.outer or predicate.inner:
            needs = max(needs, Needs.PACKET)
        return Probe(hook, predicate.conditions, predicate.outer, predicate.inner, body, needs, clause.span)

    def _checked(
        self, clause: ast.Clause, hook: Hook, part: Part | None, signed: set[int]
    ) -> tuple[Predicate, tuple[Statement, ...], list[Diagnostic]]:
        """The predicate and the statements, and what is wrong; `signed` are variables, and grows by those met."""
        wrong: list[Diagnostic] = []
        scope = Scope(signed=signed)
        statements = Statements(hook, self.parameters, self.structures, self.maps, self.definitions, scope)
        predicate = Predicate()
        try:
            predicate = resolve(part, self._compile, statements.expressions) if part is not None else predicate
        except ScriptError as error:
            wrong += error.diagnostics
        body: tuple[Statement, ...] = (Dump(None, clause.span) if self.settings.writes else Line(clause.span),)
        try:
            body = statements.block(clause.block.statements) if clause.block is not None else body
        except ScriptError as error:
            wrong += error.diagnostics
        return predicate, body, wrong


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
    """Maps that are printed or emptied and never filled."""
    found = []
    for probe in probes:
        for statement in walk(probe.body):
            if isinstance(statement, PrintMap | ClearMap | ZeroMap | DeleteKey) and statement.map not in maps.found:
                hints = did_you_mean(statement.map, maps.found)
                message = f"nothing fills the map '{statement.map}'"
                found.append(Diagnostic(Code.UNKNOWN_NAME, message, statement.span, hints))
    return found


def _xdp_twice(probes: list[Probe]) -> list[Diagnostic]:
    """Interfaces that have an XDP program of two clauses: they take one."""
    taken: set[Device] = set()
    found = []
    for probe in probes:
        attachment = probe.hook.attachment
        if attachment.kind is HookKind.XDP:
            if taken.intersection(attachment.devices):
                message = f"an interface takes one XDP program, and '{probe.hook.name}' has one already"
                hint = "put all into one clause: xdp:eth0 { if (has(udp)) { ... } }; or use tc:eth0:ingress"
                found.append(Diagnostic(Code.BAD_HOOK, message, probe.span, (hint,)))
            taken.update(attachment.devices)
    return found


def _unknown_rings(probes: list[Probe]) -> list[Diagnostic]:
    """Rings that are committed and never filled."""
    statements = [statement for probe in probes for statement in walk(probe.body)]
    filled = {statement.path for statement in statements if isinstance(statement, Ring)}
    return [
        Diagnostic(
            Code.UNKNOWN_NAME,
            f"nothing fills the ring '{statement.path}'",
            statement.span,
            did_you_mean(statement.path, filled) or ('a ring is filled by ring("f.pcapng", 1000)',),
        )
        for statement in statements
        if isinstance(statement, Commit) and statement.path not in filled
    ]


def _start(span: Span) -> Span:
    return Span(span.source, span.start, span.start)
