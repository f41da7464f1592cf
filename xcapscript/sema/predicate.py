"""Predicates: what must hold before a clause's statements are done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from xcapscript.builtins import ACTION, BUILTINS, FLOW, PACKET_FIELDS, REASON, RETVAL
from xcapscript.diagnostics import Diagnostic, ScriptError
from xcapscript.nodes.expressions import Expression, Logic, Matches, Not, Number
from xcapscript.nodes.hook import Filter
from xcapscript.sema.check import Definitions
from xcapscript.sema.expressions import FUNCTIONS, SKB, SOCKET, Expressions
from xcapscript.syntax import ast
from xcapscript.syntax.predicate import Chain, Condition, Names, Negated, Part, Pcap
from xcapscript.types import U8, U64

TCPDUMP_OWN = frozenset({"len"})
"""Builtins that are words of pcap-filter(7), which they mean in a predicate."""

OTHERS = frozenset({REASON, FLOW, SKB, SOCKET, "args", RETVAL, ACTION, "xdp", "dir"} | {f"arg{n}" for n in range(12)})


@dataclass(frozen=True, slots=True)
class Predicate:
    """A predicate at a hook: all conditions must hold, and all filters match; `inner` ones in a tunnel."""

    conditions: tuple[Expression, ...] = ()
    outer: Filter | None = None
    inner: tuple[Filter, ...] = ()


def names_of_the_kernel(definitions: Definitions) -> Names:
    """What makes a predicate's operand one about the kernel."""
    values = (frozenset(BUILTINS) | OTHERS) - TCPDUMP_OWN
    functions = frozenset(FUNCTIONS) | frozenset(definitions.functions) | definitions.c_functions
    return Names(values, frozenset(PACKET_FIELDS) | {"tcp.state"}, functions)


def resolve(part: Part, compiled: Callable[[ast.Predicate], Filter | None], expressions: Expressions) -> Predicate:
    """A predicate's parts at one hook; ScriptError where a condition means nothing there."""
    conditions: list[Expression] = []
    outer: Filter | None = None
    inner: list[Filter] = []
    diagnostics: list[Diagnostic] = []
    for operand in part.operands if isinstance(part, Chain) and part.operator == "and" else (part,):
        if not isinstance(operand, Pcap):
            try:
                conditions.append(_truth(operand, compiled, expressions))
            except ScriptError as error:
                diagnostics += error.diagnostics
        elif (found := compiled(operand.expression)) is not None and operand.inner:
            inner.append(found)
        elif found is not None:
            outer = found
    if diagnostics:
        raise ScriptError(diagnostics)
    return Predicate(tuple(conditions), outer, tuple(inner))


def _truth(part: Part, compiled: Callable[[ast.Predicate], Filter | None], expressions: Expressions) -> Expression:
    match part:
        case Condition(expression):
            return expressions.truth(expression)
        case Negated(operand):
            return Not(_truth(operand, compiled, expressions), U8)
        case Pcap(expression, inner):
            found = compiled(expression)
            return Matches(found, inner, U8) if found is not None else Number(1, U64)
        case Chain(operator, operands):
            truths = [_truth(operand, compiled, expressions) for operand in operands]
            symbol = "&&" if operator == "and" else "||"
            return reduce(lambda left, right: Logic(symbol, left, right, U8), truths)
