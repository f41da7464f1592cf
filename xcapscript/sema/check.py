"""Statements to what codegen writes, at one hook; functions of the script are put in where they are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from xcapscript.builtins import BUILTINS
from xcapscript.diagnostics import Code, Diagnostic, Note, ScriptError, did_you_mean
from xcapscript.errors import CompilerBug
from xcapscript.ir import Hook
from xcapscript.nodes.expressions import CallC, Expression, Inlined, Number, Variable
from xcapscript.nodes.statements import (
    ClearMap,
    Commit,
    Dump,
    Evaluate,
    Exit,
    Hex,
    If,
    Line,
    Print,
    Printf,
    PrintMap,
    PrintStack,
    Return,
    Ring,
    SetVariable,
    Statement,
    ZeroMap,
)
from xcapscript.printf_format import FormatError, conversions, parse_format
from xcapscript.sema.expressions import Expressions
from xcapscript.sema.filter import Parameters
from xcapscript.sema.kinds import a, common_type, numbered, widened
from xcapscript.sema.maps import Maps, Updates, map_keys
from xcapscript.sema.refusal import Placed, refuse, where_packets_are
from xcapscript.sema.scope import Scope
from xcapscript.sema.structures import Structures
from xcapscript.syntax import ast
from xcapscript.types import U64, IntType, StackType, Type

ACTIONS = ("dump", "count", "stack", "print", "printf", "hex", "exit", "clear", "zero", "delete", "ring", "commit")
MAXIMAL_TOP = 10**9
DEEPEST_CALL = 32
TAKEN = re.compile(
    "[kptv][0-9]+|access|amount|call|cap|control|counters|ctx|dynptr|full|hit|inner|layers|link|lost|kept|missed|name|nothing|place|program|"
    "answer|record|saved|scratch|skb|ticket|value|view|zero"
)
"""What the C of a clause calls its variables: a function of that name could not be called from it."""

MOST_CALLS = 1000
"""Functions are put in where they are called: two calls in each of 30 would be a thousand million."""

LONGEST_RING = 1_000_000
LONGEST_TIME = 24 * 3600 * 10**9
LARGEST_SNAPLEN = 1 << 31


@dataclass(frozen=True, slots=True)
class Definitions:
    """What a script defines for all its clauses."""

    functions: Mapping[str, ast.Function] = field(default_factory=dict)
    c_functions: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Frame:
    """A function that is being put in: what it returns."""

    name: str
    result: Variable | None = None


class Statements:
    """Checks the statements of a clause at one of its hooks."""

    def __init__(
        self,
        hook: Hook,
        parameters: Parameters,
        structures: Structures,
        maps: Maps,
        definitions: Definitions,
        scope: Scope | None = None,
        frames: tuple[_Frame, ...] = (),
    ) -> None:
        self._given = hook, parameters, structures, maps, definitions
        self._hook = hook
        self._maps = maps
        self._definitions = definitions
        self._scope = scope or Scope()
        self._frames = frames
        self.expressions = Expressions(
            hook,
            parameters,
            structures,
            self._scope,
            lambda node: maps.read(self.expressions, node),
            self._call,
            definitions.c_functions,
            definitions.functions,
        )
        self._updates = Updates(self.expressions, maps)

    def block(self, nodes: tuple[ast.Statement, ...]) -> tuple[Statement, ...]:
        """The statements of a block; ScriptError with all that is wrong in it."""
        found: list[Statement] = []
        diagnostics: list[Diagnostic] = []
        with self._scope.block():
            for node in nodes:
                try:
                    found += self._check(node)
                except ScriptError as error:
                    diagnostics += error.diagnostics
        if diagnostics:
            raise ScriptError(diagnostics)
        return tuple(found)

    def _check(self, node: ast.Statement) -> list[Statement]:
        match node:
            case ast.Assign(ast.Map() as target):
                return [self._updates.assign(node, target)]
            case ast.Assign(ast.Parameter() as target):
                return [self._set(node, target)]
            case ast.Assign():
                raise CompilerBug("a value is assigned to what is neither a map nor a variable")
            case ast.If():
                return [self._if(node)]
            case ast.Return():
                return self._return(node)
            case ast.Action():
                return [self._action(node)]
            case _:
                assert_never(node)

    def _if(self, node: ast.If) -> Statement:
        diagnostics: list[Diagnostic] = []
        condition: Expression = Number(0, U64)
        try:
            condition = self.expressions.truth(node.condition)
        except ScriptError as error:
            diagnostics += error.diagnostics
        known = self.expressions.known(node.condition)
        bodies: list[tuple[Statement, ...]] = []
        for body, taken in ((node.then, known is not False), (node.otherwise, known is not True)):
            try:
                bodies.append(self.block(body.statements) if body and taken else ())
            except ScriptError as error:
                diagnostics += error.diagnostics
        if diagnostics:
            raise ScriptError(diagnostics)
        return If(condition, bodies[0], bodies[1], node.span)

    def _return(self, node: ast.Return) -> list[Statement]:
        if node.value is None:
            return [Return(node.span)]
        if not self._frames:
            refuse(Code.BAD_CALL, node, "a clause returns no value", "write return; alone, or exit(1) to end the run")
        frame, value = self._frames[-1], self.expressions.value(node.value)
        kind = widened(value.type)
        _refuse_stack(kind, node.value)
        if frame.result is None:
            frame.result = self._scope.unnamed(kind)
        elif not (isinstance(kind, IntType) and isinstance(frame.result.type, IntType)) and kind != frame.result.type:
            message = f"'{frame.name}' returns {a(kind)} here and {a(frame.result.type)} before"
            refuse(Code.TYPE_CLASH, node, message)
        self._scope.becomes(frame.result, kind)
        return [SetVariable(frame.result, value, node.span), Return(node.span)]

    def _set(self, node: ast.Assign, target: ast.Parameter) -> Statement:
        known = self._scope.find(target.name)
        operator = node.operator.removesuffix("=")
        if operator:
            binary = ast.Binary(operator, target, node.value, node.span)
            value = self.expressions.value(binary)
        else:
            value = self.expressions.value(node.value)
        kind = widened(value.type)
        _refuse_stack(kind, node.value)
        if target.name.isdigit() or target.name == "#":
            refuse(Code.BAD_CALL, target, f"'${target.name}' is a parameter, which cannot be set")
        if known is None:
            return SetVariable(self._scope.declare(target.name, kind), value, node.span, first=True)
        if common_type(known.type, kind) is None:
            refuse(Code.TYPE_CLASH, node, f"'${target.name}' is {a(known.type)}, and this is {a(kind)}")
        self._scope.becomes(known, kind)
        return SetVariable(known, value, node.span)

    def _action(self, node: ast.Action) -> Statement:
        arguments = node.arguments
        match node.name.name:
            case "dump":
                return self._dump(node, arguments)
            case "count":
                return self._updates.count(arguments, node.span)
            case "ring":
                return self._ring(node, arguments)
            case "commit":
                return self._commit(node, arguments)
            case "stack":
                self._packet(node)
                return PrintStack(self.expressions.stack(arguments, node), node.span)
            case "hex":
                self._packet(node)
                if arguments:
                    refuse(Code.BAD_CALL, node, "hex takes no argument", "write hex;")
                return Hex(node.span)
            case "print":
                return self._print(node, arguments)
            case "printf":
                return self._printf(node, arguments)
            case "exit":
                if len(arguments) > 1:
                    refuse(Code.BAD_CALL, node, "exit takes one number", "write exit(1)")
                status = self.expressions.constant(arguments[0], "exit()", 0, 255) if arguments else 0
                return Exit(status, node.span)
            case "clear":
                return ClearMap(self._whole_map(node, arguments), node.span)
            case "zero":
                return ZeroMap(self._whole_map(node, arguments), node.span)
            case "delete":
                return self._updates.delete(node, arguments)
            case other:
                made = self._call(ast.Call(node.name, arguments, node.span))
                if made is not None:
                    return Evaluate(made, node.span)
                known = (*ACTIONS, *self._definitions.functions, *self._definitions.c_functions)
                if other in BUILTINS:
                    hint = f"write print({other})"
                    refuse(Code.UNKNOWN_NAME, node.name, f"'{other}' is a value, and no action", hint)
                hints = did_you_mean(other, known) or (f"the actions are {' '.join(ACTIONS)}",)
                refuse(Code.UNKNOWN_NAME, node.name, f"unknown action '{other}'", *hints)

    def _packet(self, node: ast.Action) -> None:
        if not self._hook.has_packet:
            message = f"'{node.name.name}' takes a packet, and '{self._hook.name}' has none"
            refuse(Code.NO_PACKET, node, message, where_packets_are(self._hook))

    def _dump(self, node: ast.Action, arguments: tuple[ast.Argument, ...]) -> Statement:
        self._packet(node)
        path = snaplen = None
        for number, argument in enumerate(arguments):
            match argument:
                case ast.String() | ast.Parameter() if number == 0:
                    path = self._file_name(argument)
                case ast.Keyword(ast.Name("snaplen"), value):
                    snaplen = self.expressions.constant(value, "snaplen", 0, LARGEST_SNAPLEN)
                case _:
                    hint = 'write dump("drops.pcapng") or dump("drops.pcapng", snaplen=128)'
                    refuse(Code.BAD_CALL, argument, "dump takes a file name in quotes, and snaplen=BYTES", hint)
        return Dump(path, node.span, snaplen)

    def _ring(self, node: ast.Action, arguments: tuple[ast.Argument, ...]) -> Statement:
        self._packet(node)
        match arguments:
            case (ast.String() | ast.Parameter() as name, number):
                count = self.expressions.constant(number, "ring()", 1, LONGEST_RING)
                return Ring(self._file_name(name), count, node.span)
        refuse(Code.BAD_CALL, node, "ring takes a file name and how many packets", 'write ring("f.pcapng", 1000)')

    def _commit(self, node: ast.Action, arguments: tuple[ast.Argument, ...]) -> Statement:
        match arguments:
            case (ast.String() | ast.Parameter() as name,):
                return Commit(self._file_name(name), 0, node.span)
            case (ast.String() | ast.Parameter() as name, time):
                after = self.expressions.constant(time, "commit()", 0, LONGEST_TIME)
                return Commit(self._file_name(name), after, node.span)
        hint = 'write commit("f.pcapng") or commit("f.pcapng", 2s)'
        refuse(Code.BAD_CALL, node, "commit takes a ring's file name, and for how long to go on", hint)

    def _file_name(self, node: ast.String | ast.Parameter) -> str:
        path = self._text(node)
        if not path or "\0" in path:
            refuse(Code.BAD_CALL, node, "this is not a file name")
        return path

    def _text(self, node: ast.String | ast.Parameter) -> str:
        parameters = self.expressions.parameters

        def missing(name: str) -> str:
            refuse(Code.UNKNOWN_PARAMETER, node, f"parameter '${name}' was not given", *parameters.like(name))

        return parameters.put_in(node.value if isinstance(node, ast.String) else f"${node.name}", missing)

    def _print(self, node: ast.Action, arguments: tuple[ast.Argument, ...]) -> Statement:
        if not arguments:
            self._packet(node)
            return Line(node.span)
        if isinstance(arguments[0], ast.Map) and not arguments[0].keys:
            if len(arguments) > 2:
                refuse(Code.BAD_CALL, node, "print of a map takes the map and how many rows", "write print(@count, 10)")
            top = None
            if len(arguments) == 2:
                top = self.expressions.constant(arguments[1], "print of a map", 1, MAXIMAL_TOP)
            return PrintMap(arguments[0].name, top, node.span)
        return Print(map_keys(self.expressions, arguments), node.span)

    def _printf(self, node: ast.Action, arguments: tuple[ast.Argument, ...]) -> Statement:
        if not arguments or not isinstance(arguments[0], ast.String):
            refuse(Code.BAD_CALL, node, "printf takes a format in quotes first", 'write printf("%s %d\\n", comm, pid)')
        first = arguments[0]
        try:
            wanted = conversions(parse_format(first.value))
        except FormatError as error:
            place = _in_string(first, error.offset)
            refuse(Code.BAD_FORMAT, place, str(error))
        values = map_keys(self.expressions, arguments[1:])
        if len(wanted) != len(values):
            given = f"{len(values)} {'is' if len(values) == 1 else 'are'} given"
            message = f"the format takes {numbered(len(wanted), 'value')}, and {given}"
            refuse(Code.BAD_FORMAT, first, message)
        for conversion, value, argument in zip(wanted, values, arguments[1:], strict=True):
            if not conversion.takes(value.type):
                message = f"'%{conversion.letter}' does not take '{argument.span.text}', which is {a(value.type)}"
                refuse(Code.BAD_FORMAT, argument, message, "%d and %x take numbers, %s takes everything")
        return Printf(first.value, values, node.span)

    def _whole_map(self, node: ast.Action, arguments: tuple[ast.Argument, ...]) -> str:
        if len(arguments) != 1 or not isinstance(arguments[0], ast.Map) or arguments[0].keys:
            name = node.name.name
            refuse(Code.BAD_CALL, node, f"{name} takes a map", f"write {name}(@count)")
        return arguments[0].name

    def _call(self, node: ast.Call) -> Expression | None:
        """A call of a function of the script's own, or of its C; None if it is neither."""
        name = node.name.name
        if name in self._definitions.c_functions:
            if TAKEN.fullmatch(name):
                refuse(
                    Code.BAD_CALL, node.name, f"the C that is made has a variable called '{name}'", f"call it my_{name}"
                )
            for argument in node.arguments:
                if isinstance(argument, ast.Keyword):
                    refuse(Code.BAD_CALL, argument, f"there is no argument '{argument.name.name}' here")
            numbers = (
                self.expressions.number(a, f"'{name}'") for a in node.arguments if not isinstance(a, ast.Keyword)
            )
            return CallC(name, tuple(numbers), U64)
        function = self._definitions.functions.get(name)
        return None if function is None else self._inlined(node, function)

    def _inlined(self, node: ast.Call, function: ast.Function) -> Expression:
        name = function.name.name
        if any(frame.name == name for frame in self._frames) or len(self._frames) >= DEEPEST_CALL:
            refuse(Code.BAD_CALL, node, f"'{name}' calls itself, which no kernel program can")
        if next(self._scope.calls) >= MOST_CALLS:
            refuse(Code.BAD_CALL, node, f"functions are called more than {MOST_CALLS} times in this clause")
        values = map_keys(self.expressions, node.arguments)
        if len(values) != len(function.parameters):
            wanted = numbered(len(function.parameters), "value")
            refuse(Code.BAD_CALL, node, f"'{name}' takes {wanted}, and {len(values)} are given")
        for value, argument in zip(values, node.arguments, strict=True):
            _refuse_stack(value.type, argument)
        frame, scope = _Frame(name), self._scope.function()
        inside = Statements(*self._given, scope, (*self._frames, frame))
        body: list[Statement] = []
        for parameter, value in zip(function.parameters, values, strict=True):
            variable = scope.declare(parameter.name, widened(value.type))
            body.append(SetVariable(variable, value, parameter.span, first=True))
        try:
            body += inside.block(function.body.statements)
        except ScriptError as error:
            note = Note("called here", node.span)
            raise ScriptError(replace(d, notes=(*d.notes, note)) for d in error.diagnostics) from None
        kind: Type = frame.result.type if frame.result is not None else U64
        return Inlined(name, tuple(body), frame.result, kind)


def _refuse_stack(kind: Type, node: ast.Argument) -> None:
    """A variable cannot hold a stack, which is as large as all that a program may keep."""
    if isinstance(kind, StackType):
        refuse(Code.TYPE_CLASH, node, "a stack can be a key, and not a value", f"write @m[{node.span.text}]")


def _in_string(node: ast.String, offset: int) -> Placed:
    """The place of a character of a string: escapes are written with more than one."""
    pieces = re.compile(r"\\x[0-9a-fA-F]{2}|\\.|.", re.DOTALL).finditer(node.span.text[1:-1])
    start = next((piece.start() for number, piece in enumerate(pieces) if number == offset), 0)
    begin = node.span.start + 1 + start
    text = node.span.source.text[begin : node.span.end - 1]
    length = len(re.match(r"%[-0+ #0-9.]*(?:hh?|ll?|z)?\w?|.", text or " ", re.DOTALL)[0])  # type: ignore[index]
    return ast.Name("", node.span.source.span(begin, begin + length))
