"""How much of a hit must be read for an expression or a statement."""

from __future__ import annotations

from xcapscript.builtins import Needs
from xcapscript.nodes.expressions import BuiltinValue, Expression, FieldValue, FlowValue, Has, Matches
from xcapscript.nodes.statements import Dump, Hex, Line, PrintStack, Ring, Statement


def needs_of(node: Expression | Statement) -> Needs:
    """What one node needs itself, without those below it."""
    match node:
        case BuiltinValue(builtin):
            return builtin.needs
        case FieldValue() | FlowValue() | Has():
            return Needs.LAYERS
        case Matches() | Dump() | Ring() | Line() | Hex() | PrintStack():
            return Needs.PACKET
        case _:
            return Needs.NOTHING
