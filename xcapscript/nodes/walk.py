"""From a node to those below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import get_args

from xcapscript.nodes.expressions import Expression
from xcapscript.nodes.statements import Statement

NODES = (*get_args(Expression), *get_args(Statement))


def parts(node: Expression | Statement) -> Iterator[Expression | Statement]:
    """The expressions and statements right below a node."""
    for each in fields(node):
        value = getattr(node, each.name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, NODES):
                yield part


def walk(nodes: Iterable[Expression | Statement]) -> Iterator[Expression | Statement]:
    """All expressions and statements at and below some, from the top."""
    for node in nodes:
        yield node
        yield from walk(parts(node))
