"""Statements to what codegen writes, at one hook; and the maps that they share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from xcapscript.builtins import Needs
from xcapscript.diagnostics import Code, Diagnostic, Note, ScriptError, did_you_mean
from xcapscript.ir import (
    ClearMap,
    Dump,
    Exit,
    Expression,
    Line,
    Map,
    Print,
    Printf,
    PrintMap,
    PrintStack,
    Statement,
    Update,
)
from xcapscript.printf_format import FormatError, conversions, parse_format
from xcapscript.sema.expressions import Expressions, is_signed, needs_of, refuse
from xcapscript.source import Span
from xcapscript.syntax import ast
from xcapscript.types import S64, U64, IntType, Type
from xcapscript.unit import Aggregation

ACTIONS = ("dump", "count", "stack", "print", "printf", "exit", "clear")
LATER_ACTIONS = frozenset({"ring", "commit", "hex", "delete", "zero"})
MAXIMAL_TOP = 10**9


@dataclass(slots=True)
class Maps:
    """The maps met so far: the first use of each decides its types."""

    found: dict[str, Map] = field(default_factory=dict)

    def use(self, name: str, keys: tuple[Type, ...], aggregation: Aggregation, span: Span, *, signed: bool) -> None:
        """Declare a map, or check a further use of it against its first; ScriptError shows both places."""
        this = Map(name, keys, aggregation, signed, span)
        first = self.found.setdefault(name, this)
        note = Note("it is first used here", first.span)
        if aggregation != first.aggregation:
            message = f"'{name}' is used with {aggregation}() here and with {first.aggregation}() before"
            raise ScriptError([Diagnostic(Code.MAP_CLASH, message, span, notes=(note,))])
        if [str(k) for k in keys] != [str(k) for k in first.keys]:
            message = f"'{name}' has the key ({_listed(keys)}) here and ({_listed(first.keys)}) before"
            raise ScriptError([Diagnostic(Code.MAP_CLASH, message, span, notes=(note,))])
        if signed and not first.signed:
            self.found[name] = Map(name, keys, aggregation, signed, first.span)


def _listed(keys: Iterable[Type]) -> str:
    return ", ".join(str(key) for key in keys) or "none"


@dataclass(frozen=True, slots=True)
class Statements:
    """Checks the statements of a clause at one of its hooks."""

    expressions: Expressions
    maps: Maps

    def check(self, node: ast.Statement) -> Statement:
        """The statement resolved; ScriptError if it means nothing here."""
        match node:
            case ast.Assign(ast.Map() as target, "=", value):
                return self._update(target, value, node.span)
            case ast.Assign() | ast.If() | ast.Return():
                refuse(Code.UNSUPPORTED, node, f"'{node.span.text}' is not in this version")
            case ast.Action(name, arguments):
                match name.name:
                    case "dump":
                        return self._dump(node, arguments)
                    case "count":
                        return self._aggregate("@count", arguments, Aggregation.COUNT, None, node.span)
                    case "stack":
                        self._packet(node)
                        return PrintStack(self.expressions.stack(arguments, node), node.span)
                    case "print":
                        return self._print(node, arguments)
                    case "printf":
                        return self._printf(node, arguments)
                    case "exit":
                        status = self.expressions.constant(arguments[0], "exit()", 0, 255) if arguments else 0
                        return Exit(status, node.span)
                    case "clear":
                        return self._clear(node, arguments)
                    case other if other in LATER_ACTIONS:
                        refuse(Code.UNSUPPORTED, name, f"'{other}' is not in this version")
                    case other:
                        hints = did_you_mean(other, ACTIONS) or (f"the actions are {' '.join(ACTIONS)}",)
                        refuse(Code.UNKNOWN_NAME, name, f"unknown action '{other}'", *hints)

    def _packet(self, node: ast.Action) -> None:
        hook = self.expressions.hook
        if hook.skb is None:
            message = f"'{node.name.name}' takes a packet, and '{hook.name}' has none"
            refuse(Code.NO_PACKET, node, message, "hooks with a packet: drop rx tx; see also 'xcap -l -v'")

    def _dump(self, node: ast.Action, arguments: tuple[ast.Argument, ...]) -> Statement:
        self._packet(node)
        if not arguments:
            return Dump(None, node.span)
        if len(arguments) > 1 or not isinstance(arguments[0], ast.String | ast.Parameter):
            refuse(Code.BAD_CALL, node, "dump takes one argument, a file name in quotes", 'write dump("drops.pcapng")')
        path = self._text(arguments[0])
        if not path or "\0" in path:
            refuse(Code.BAD_CALL, arguments[0], "this is not a file name")
        return Dump(path, node.span)

    def _text(self, node: ast.String | ast.Parameter) -> str:
        parameters = self.expressions.parameters

        def missing(name: str) -> str:
            refuse(Code.UNKNOWN_PARAMETER, node, f"parameter '${name}' was not given")

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
        return Print(self._values(arguments), node.span)

    def _printf(self, node: ast.Action, arguments: tuple[ast.Argument, ...]) -> Statement:
        if not arguments or not isinstance(arguments[0], ast.String):
            refuse(Code.BAD_CALL, node, "printf takes a format in quotes first", 'write printf("%s %d\\n", comm, pid)')
        first = arguments[0]
        try:
            wanted = conversions(parse_format(first.value))
        except FormatError as error:
            refuse(Code.BAD_FORMAT, first, str(error))
        values = self._values(arguments[1:])
        if len(wanted) != len(values):
            message = f"the format takes {len(wanted)} values, and {len(values)} are given"
            refuse(Code.BAD_FORMAT, first, message)
        for conversion, value, argument in zip(wanted, values, arguments[1:], strict=True):
            if not conversion.takes(value.type):
                message = f"'%{conversion.letter}' does not take '{argument.span.text}', which is a {value.type}"
                refuse(Code.BAD_FORMAT, argument, message, "%d and %x take numbers, %s takes what has a name")
        return Printf(first.value, values, node.span)

    def _values(self, arguments: tuple[ast.Argument, ...]) -> tuple[Expression, ...]:
        values = []
        for argument in arguments:
            if isinstance(argument, ast.Keyword):
                refuse(Code.BAD_CALL, argument, f"there is no argument '{argument.name.name}' here")
            values.append(self.expressions.value(argument))
        return tuple(values)

    def _clear(self, node: ast.Action, arguments: tuple[ast.Argument, ...]) -> Statement:
        if len(arguments) != 1 or not isinstance(arguments[0], ast.Map) or arguments[0].keys:
            refuse(Code.BAD_CALL, node, "clear takes a map", "write clear(@count)")
        return ClearMap(arguments[0].name, node.span)

    def _update(self, target: ast.Map, value: ast.Expression, span: Span) -> Statement:
        call = value.name if isinstance(value, ast.Call) else value
        arguments = value.arguments if isinstance(value, ast.Call) else ()
        names = [aggregation.value for aggregation in Aggregation]
        if not isinstance(call, ast.Name) or call.name not in names:
            hints = did_you_mean(call.name, names) if isinstance(call, ast.Name) else ()
            what = f"'{target.name}' can be set to {', '.join(f'{name}()' for name in names)} in this version"
            refuse(Code.UNSUPPORTED, value, what, *hints)
        aggregation = Aggregation(call.name)
        if aggregation is Aggregation.COUNT:
            if arguments:
                refuse(
                    Code.BAD_CALL,
                    value,
                    "count() takes no argument here",
                    "write the key in brackets: @m[key] = count()",
                )
            return self._aggregate(target.name, target.keys, aggregation, None, span)
        if len(arguments) != 1 or isinstance(arguments[0], ast.Keyword):
            refuse(Code.BAD_CALL, value, f"{aggregation}() takes one argument", f"write {aggregation}(len)")
        number = self.expressions.number(arguments[0], f"{aggregation}()")
        return self._aggregate(target.name, target.keys, aggregation, number, span)

    def _aggregate(
        self,
        name: str,
        keys: tuple[ast.Argument, ...],
        aggregation: Aggregation,
        value: Expression | None,
        span: Span,
    ) -> Statement:
        values = self._values(keys)
        types = tuple(_key_type(key.type) for key in values)
        self.maps.use(name, types, aggregation, span, signed=value is not None and is_signed(value))
        return Update(name, values, value, span)


def _key_type(kind: Type) -> Type:
    """Integers are widened, so that keys of different widths agree."""
    return (S64 if kind.signed else U64) if isinstance(kind, IntType) else kind


def needs_of_statement(statement: Statement) -> Needs:
    """How much of a hit must be read for a statement."""
    match statement:
        case Dump() | Line() | PrintStack():
            return Needs.PACKET
        case Print(values) | Printf(_, values):
            return max(map(needs_of, values), default=Needs.NOTHING)
        case Update(_, keys, value):
            return max(map(needs_of, (*keys, *((value,) if value else ()))), default=Needs.NOTHING)
        case _:
            return Needs.NOTHING
