"""The maps of a script: what each holds, which its first use decides, and the statements that change them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from xcapscript.builtins import ACTION, BUILTINS, REASON, RETVAL
from xcapscript.diagnostics import Code, Diagnostic, Note, ScriptError, did_you_mean
from xcapscript.ir import Map
from xcapscript.nodes.expressions import Expression, MapValue
from xcapscript.nodes.statements import DeleteKey, SetKey, Statement, Update
from xcapscript.sema.compare import is_signed
from xcapscript.sema.expressions import FUNCTIONS, Expressions
from xcapscript.sema.kinds import a, common_type, widened
from xcapscript.sema.refusal import Placed, refuse
from xcapscript.source import Span
from xcapscript.syntax import ast
from xcapscript.types import S64, U64, IntType, StackType, Type
from xcapscript.unit import Aggregation, Buckets

AGGREGATIONS = tuple(a.value for a in Aggregation if a is not Aggregation.VALUE)
MAXIMAL_BUCKETS = 1000
MAXIMAL_BOUND = 1 << 62


@dataclass(slots=True)
class Maps:
    """The maps met so far.

    A read of one that has not been met gives a number while `provisional`, and `unmet` tells of it.
    """

    found: dict[str, Map] = field(default_factory=dict)
    provisional: bool = False
    unmet: bool = False

    def declare(self, this: Map) -> None:
        """A map's first use, or a further one that is checked against it; ScriptError shows both places."""
        first = self.found.setdefault(this.name, this)
        note = Note("it is first used here", first.span)
        if this.aggregation != first.aggregation:
            message = f"'{this.name}' is used with {_verb(this)} here and with {_verb(first)} before"
            refuse(Code.MAP_CLASH, this, message, notes=(note,))
        self.check_keys(this.name, this.keys, this)
        if this.buckets != first.buckets:
            refuse(Code.MAP_CLASH, this, f"'{this.name}' has other buckets here than before", notes=(note,))
        value = first.value
        if this.value is not None and first.value is not None:
            value = common_type(this.value, first.value)
            if value is None:
                message = f"'{this.name}' holds {a(this.value)} here and {a(first.value)} before"
                refuse(Code.MAP_CLASH, this, message, notes=(note,))
        if (this.signed and not first.signed) or value != first.value:
            signed = this.signed or first.signed
            # what was read before was taken for unsigned
            self.unmet = self.unmet or value != first.value
            self.found[this.name] = Map(
                this.name, first.keys, first.aggregation, signed, first.span, value, first.buckets
            )

    def check_keys(self, name: str, keys: tuple[Type, ...], node: Placed) -> None:
        """Refuse keys of other types than at the first use."""
        first = self.found[name]
        if [str(key) for key in keys] != [str(key) for key in first.keys]:
            message = f"'{name}' has {_keyed(keys)} here and {_keyed(first.keys)} before"
            refuse(Code.MAP_CLASH, node, message, notes=(Note("it is first used here", first.span),))

    def read(self, expressions: Expressions, node: ast.Map) -> MapValue:
        """The value of a plain map for a key."""
        keys = map_keys(expressions, node.keys)
        known = self.found.get(node.name)
        if known is None:
            self.unmet = True
            if not self.provisional:
                hints = did_you_mean(node.name, self.found)
                refuse(Code.UNKNOWN_NAME, node, f"nothing fills the map '{node.name}'", *hints)
            return MapValue(node.name, keys, U64)
        if known.aggregation is not Aggregation.VALUE:
            note = Note("it is filled here", known.span)
            message = f"'{node.name}' is filled by {_verb(known)}, which only user space can read"
            hint = f"print({node.name}) prints it; a map that is set with = or ++ can be read"
            refuse(Code.MAP_CLASH, node, message, hint, notes=(note,))
        self.check_keys(node.name, tuple(widened(key.type) for key in keys), node)
        return MapValue(node.name, keys, known.value or U64)


def _verb(this: Map) -> str:
    return "=" if this.aggregation is Aggregation.VALUE else f"{this.aggregation}()"


def _keyed(keys: tuple[Type, ...]) -> str:
    return f"the key ({', '.join(str(key) for key in keys)})" if keys else "no key"


def map_keys(expressions: Expressions, nodes: Iterable[ast.Argument]) -> tuple[Expression, ...]:
    """The values of a map's key."""
    values: list[Expression] = []
    diagnostics: list[Diagnostic] = []
    for node in nodes:
        try:
            if isinstance(node, ast.Keyword):
                refuse(Code.BAD_CALL, node, f"there is no argument '{node.name.name}' here")
            values.append(expressions.value(node))
        except ScriptError as error:
            diagnostics += error.diagnostics
    if diagnostics:
        raise ScriptError(diagnostics)
    return tuple(values)


@dataclass(frozen=True, slots=True)
class Updates:
    """Checks what changes maps, at one hook."""

    expressions: Expressions
    maps: Maps

    def assign(self, node: ast.Assign, target: ast.Map) -> Statement:
        """`@m[keys] = value`: an aggregation, or a value of its own."""
        call = node.value.name if isinstance(node.value, ast.Call) else node.value
        if isinstance(call, ast.Name) and call.name in AGGREGATIONS:
            if node.operator != "=":
                refuse(
                    Code.BAD_CALL, node, f"{call.name}() is assigned with '='", f"write {target.name} = {call.name}()"
                )
            arguments = node.value.arguments if isinstance(node.value, ast.Call) else ()
            return self._aggregation(target, Aggregation(call.name), arguments, node)
        if isinstance(node.value, ast.Call) and not self._is_known(node.value.name.name):
            hints = did_you_mean(node.value.name.name, AGGREGATIONS)
            hints = hints or (f"the aggregations are {' '.join(AGGREGATIONS)}",)
            if node.value.name.name not in (*FUNCTIONS, *BUILTINS, REASON, RETVAL, ACTION):
                refuse(Code.UNKNOWN_NAME, node.value.name, f"unknown function '{node.value.name.name}'", *hints)
        return self._set(node, target)

    def count(self, keys: tuple[ast.Argument, ...], span: Span) -> Statement:
        """Count by key in the map @count."""
        return self._update("@count", keys, Aggregation.COUNT, None, None, span)

    def delete(self, node: ast.Action, arguments: tuple[ast.Argument, ...]) -> Statement:
        """`delete(@m[key])`."""
        if len(arguments) != 1 or not isinstance(arguments[0], ast.Map):
            refuse(Code.BAD_CALL, node, "delete takes a map with its key", "write delete(@m[key])")
        target = arguments[0]
        keys = map_keys(self.expressions, target.keys)
        if target.name in self.maps.found:
            self.maps.check_keys(target.name, tuple(widened(key.type) for key in keys), target)
        return DeleteKey(target.name, keys, node.span)

    def _is_known(self, name: str) -> bool:
        return name in self.expressions.functions or name in self.expressions.c_functions

    def _set(self, node: ast.Assign, target: ast.Map) -> Statement:
        keys = map_keys(self.expressions, target.keys)
        operator = node.operator.removesuffix("=")
        known = self.maps.found.get(target.name)
        if operator and known is not None and known.value is not None and not isinstance(known.value, IntType):
            note = Note("it is first used here", known.span)
            message = f"'{target.name}' holds {a(known.value)}, with which one cannot reckon"
            refuse(Code.TYPE_CLASH, node, message, notes=(note,))
        if operator:
            value = self.expressions.number(node.value, f"'{node.operator}'")
            kind: Type = S64 if operator == "-" or is_signed(value) else U64
        else:
            value = self.expressions.value(node.value)
            kind = widened(value.type)
            if isinstance(kind, StackType):
                refuse(
                    Code.TYPE_CLASH,
                    node.value,
                    "a stack can be a key, and not a value",
                    f"write @m[{node.value.span.text}]",
                )
        types = tuple(widened(key.type) for key in keys)
        signed = isinstance(kind, IntType) and kind.signed
        self.maps.declare(Map(target.name, types, Aggregation.VALUE, signed, target.span, kind))
        return SetKey(target.name, keys, operator, value, node.span)

    def _aggregation(
        self, target: ast.Map, aggregation: Aggregation, arguments: tuple[ast.Argument, ...], node: ast.Assign
    ) -> Statement:
        buckets = None
        if aggregation is Aggregation.COUNT:
            if arguments:
                hint = "write the key in brackets: @m[key] = count()"
                refuse(Code.BAD_CALL, node.value, "count() takes no argument here", hint)
            return self._update(target.name, target.keys, aggregation, None, None, node.span)
        wanted = 4 if aggregation is Aggregation.LHIST else 1
        if len(arguments) != wanted or isinstance(arguments[0], ast.Keyword):
            example = "lhist(len, 0, 1500, 100)" if wanted == 4 else f"{aggregation}(len)"
            takes = "a value, two bounds and a step" if wanted == 4 else "one argument"
            refuse(Code.BAD_CALL, node.value, f"{aggregation}() takes {takes}", f"write {example}")
        if aggregation is Aggregation.LHIST:
            buckets = self._buckets(arguments, node.value)
        number = self.expressions.number(arguments[0], f"{aggregation}()")
        return self._update(target.name, target.keys, aggregation, number, buckets, node.span)

    def _buckets(self, arguments: tuple[ast.Argument, ...], node: ast.Expression) -> Buckets:
        user = "a bound of lhist()"
        low = self.expressions.constant(arguments[1], user, -MAXIMAL_BOUND, MAXIMAL_BOUND)
        high = self.expressions.constant(arguments[2], user, -MAXIMAL_BOUND, MAXIMAL_BOUND)
        step = self.expressions.constant(arguments[3], "the step of lhist()", 1, MAXIMAL_BOUND)
        if high <= low or (high - low) % step:
            refuse(
                Code.BAD_CALL,
                node,
                "lhist() takes a lower bound, an upper one, and a step that divides what is between",
            )
        if (high - low) // step > MAXIMAL_BUCKETS:
            refuse(Code.BAD_CALL, node, f"lhist() has at most {MAXIMAL_BUCKETS} steps")
        return Buckets(low, high, step)

    def _update(
        self,
        name: str,
        nodes: tuple[ast.Argument, ...],
        aggregation: Aggregation,
        value: Expression | None,
        buckets: Buckets | None,
        span: Span,
    ) -> Statement:
        keys = map_keys(self.expressions, nodes)
        types = tuple(widened(key.type) for key in keys)
        signed = value is not None and is_signed(value)
        self.maps.declare(Map(name, types, aggregation, signed, span, None, buckets))
        return Update(name, keys, value, span)
