"""Expressions to values with types, at one hook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, assert_never

from xcapscript.builtins import BUILTINS, REASON, Needs
from xcapscript.diagnostics import Code, Diagnostic, ScriptError, did_you_mean
from xcapscript.ir import (
    ArgumentValue,
    Binary,
    BuiltinValue,
    Expression,
    Hook,
    Number,
    Stack,
    Text,
)
from xcapscript.sema.filter import Parameters
from xcapscript.syntax import ast
from xcapscript.syntax.parse import read_number
from xcapscript.types import S64, U64, InternedType, IntType, OpaqueType, StackType, is_number

DEFAULT_DEPTH = 16
MAXIMAL_DEPTH = 127
"""kernel.perf_event_max_stack, its default."""

STACK = "kstack"

ARITHMETIC = frozenset(["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"])


@dataclass(frozen=True, slots=True)
class Expressions:
    """Resolves the expressions of a clause at one of its hooks."""

    hook: Hook
    parameters: Parameters

    def value(self, node: ast.Expression) -> Expression:
        """The value of an expression; ScriptError if it has none here."""
        match node:
            case ast.Number(value):
                return Number(value, U64)
            case ast.String(value):
                return Text(value, InternedType())
            case ast.Parameter():
                return self._parameter(node)
            case ast.Name(name):
                return self._name(node, name)
            case ast.Member(ast.Name("args"), field):
                return self._argument(field)
            case ast.Member(_, field):
                refuse(
                    Code.UNSUPPORTED, node, "fields of packets and structures are not in this version, except args.NAME"
                )
            case ast.Call():
                return self._call(node)
            case ast.Unary("-", operand):
                return self._negative(node, operand)
            case ast.Binary(operator, left, right) if operator in ARITHMETIC:
                return self._binary(operator, left, right)
            case ast.Address() | ast.Mac() | ast.Index() | ast.Cast() | ast.Unary() | ast.Binary() | ast.Ternary():
                refuse(Code.UNSUPPORTED, node, f"'{node.span.text}' is not in this version")
            case ast.Map(name):
                refuse(
                    Code.UNSUPPORTED,
                    node,
                    f"reading '{name}' in a program is not in this version; print({name}) prints it",
                )
            case _:
                assert_never(node)

    def number(self, node: ast.Expression, user: str) -> Expression:
        """A value that arithmetic takes."""
        value = self.value(node)
        if not is_number(value.type):
            refuse(Code.TYPE_CLASH, node, f"{user} takes a number, and '{node.span.text}' is a {value.type}")
        return value

    def constant(self, argument: ast.Argument, user: str, low: int, high: int) -> int:
        """An integer known when the program is made, between two limits."""
        value = None if isinstance(argument, ast.Keyword) else self.value(argument)
        if not isinstance(value, Number) or not low <= value.value <= high:
            refuse(Code.BAD_CALL, argument, f"{user} takes a number from {low} to {high}")
        return value.value

    def stack(self, arguments: tuple[ast.Argument, ...], node: ast.Call | ast.Action | ast.Name) -> Stack:
        """The kernel stack, as deep as the one argument says."""
        if len(arguments) > 1:
            refuse(Code.BAD_CALL, node, f"'{node.span.text}' has more than one argument", "write kstack(5)")
        depth = self.constant(arguments[0], "the depth of a stack", 1, MAXIMAL_DEPTH) if arguments else DEFAULT_DEPTH
        return Stack(StackType(depth))

    def _parameter(self, node: ast.Parameter) -> Expression:
        value = self.parameters.value(node.name)
        if value is None:
            hint = "parameters follow the program: xcap -e '...' VALUE"
            refuse(Code.UNKNOWN_PARAMETER, node, f"parameter '${node.name}' was not given", hint)
        number = read_number(value)
        return Text(value, InternedType()) if number is None else Number(number, U64)

    def _name(self, node: ast.Name, name: str) -> Expression:
        if name == REASON:
            return self._reason(node)
        if name == STACK:
            return self.stack((), node)
        row = BUILTINS.get(name)
        if row is None:
            refuse(Code.UNKNOWN_NAME, node, f"unknown name '{name}'", *did_you_mean(name, [*BUILTINS, REASON, STACK]))
        if row.helper is None:
            target = self.hook.attachment.target.rpartition(":")[2] or self.hook.name
            return Text(self.hook.name if name == "hook" else target, InternedType())
        if row.needs > Needs.NOTHING and self.hook.skb is None:
            refuse(Code.NO_PACKET, node, f"'{name}' belongs to a packet, and '{self.hook.name}' has none")
        return BuiltinValue(row, row.type)

    def _reason(self, node: ast.Name) -> Expression:
        if self.hook.reason is None:
            hint = "hooks that give it: drop"
            refuse(Code.NOT_HERE, node, f"'{self.hook.name}' does not give a drop reason", hint)
        return ArgumentValue(self.hook.reason, self.hook.reason.type)

    def _argument(self, field: ast.Name) -> Expression:
        argument = next((a for a in self.hook.arguments if a.name == field.name), None)
        if argument is None:
            known = [a.name for a in self.hook.arguments]
            hints = did_you_mean(field.name, known) or ((f"it has {', '.join(known)}",) if known else ())
            refuse(Code.UNKNOWN_ARGUMENT, field, f"'{self.hook.name}' has no argument '{field.name}'", *hints)
        if isinstance(argument.type, OpaqueType):
            refuse(Code.UNSUPPORTED, field, f"'{field.name}' is a {argument.type}, which is not in this version")
        return ArgumentValue(argument, argument.type)

    def _call(self, node: ast.Call) -> Expression:
        name = node.name.name
        if name == STACK:
            return self.stack(node.arguments, node)
        if name in BUILTINS or name == REASON:
            if node.arguments:
                refuse(Code.BAD_CALL, node, f"'{name}' takes no argument")
            return self._name(node.name, name)
        refuse(Code.UNKNOWN_NAME, node.name, f"unknown function '{name}'", *did_you_mean(name, [STACK]))

    def _negative(self, node: ast.Unary, operand: ast.Expression) -> Expression:
        value = self.number(operand, "'-'")
        if isinstance(value, Number):
            if value.value > 2**63:
                refuse(Code.BAD_LITERAL, node, f"'{node.span.text}' does not fit in 64 bits")
            return Number(-value.value, S64)
        return Binary("-", Number(0, S64), value, S64)

    def _binary(self, operator: str, left: ast.Expression, right: ast.Expression) -> Expression:
        first, second = self.number(left, f"'{operator}'"), self.number(right, f"'{operator}'")
        # what is taken from an unsigned value may be larger than it: 40 - len is meant to be negative
        signed = operator == "-" or is_signed(first) or is_signed(second)
        return Binary(operator, first, second, S64 if signed else U64)


def is_signed(value: Expression) -> bool:
    """Whether a number's type has a sign."""
    return isinstance(value.type, IntType) and value.type.signed


def needs_of(value: Expression) -> Needs:
    """How much of a hit must be read for a value."""
    match value:
        case BuiltinValue(builtin):
            return builtin.needs
        case Binary(_, left, right):
            return max(needs_of(left), needs_of(right))
        case _:
            return Needs.NOTHING


def refuse(code: Code, node: ast.Argument | ast.Statement, message: str, *hints: str) -> NoReturn:
    """Raise the ScriptError of one mistake."""
    raise ScriptError([Diagnostic(code, message, node.span, hints)])
