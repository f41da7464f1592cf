"""`xcap --dump`: what each stage of the compiler made, for a person to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Any

from xcapscript.codegen.program import filters_of
from xcapscript.codegen.stmt import LINE_DIRECTIVE
from xcapscript.compiler import Compiled
from xcapscript.ir import Program
from xcapscript.nodes.hook import Filter, Instructions
from xcapscript.pcap.cbpf import Instruction, disassemble
from xcapscript.source import Span


def stage_text(compiled: Compiled, stage: str) -> str:
    """The text of a stage: ast, ir, cbpf or c."""
    match stage:
        case "ast":
            return "\n".join(_tree("", compiled.script, 0))
        case "ir":
            return "\n".join(_tree("", compiled.program, 0))
        case "cbpf":
            return "\n".join(_filters(compiled.program))
        case _:
            lines = compiled.unit.text.rstrip("\n").splitlines()
            return "\n".join(line for line in lines if not line.startswith(LINE_DIRECTIVE))


def _filters(program: Program) -> Iterator[str]:
    """The instructions of each expression, once, as `tcpdump -d` shows them."""
    seen: list[Filter] = []
    for probe in program.probes:
        for expression in filters_of(probe):
            if expression in seen:
                continue
            seen.append(expression)
            for link, code in (("Ethernet", expression.ethernet), ("raw IP", expression.raw)):
                yield f"# {expression.text} ({link})"
                yield _instructions(code)


def _instructions(code: Instructions | None) -> str:
    if code is None:
        return "# no packet of this kind matches"
    return disassemble(tuple(Instruction(*instruction) for instruction in code))


def _tree(label: str, node: object, depth: int) -> Iterator[str]:
    """One line a node, its fields below it, but for those that nobody has set; spans as line and column."""
    head = "  " * depth + (f"{label}: " if label else "")
    if isinstance(node, Span):
        return
    if is_dataclass(node) and not isinstance(node, type):
        span = getattr(node, "span", None)
        place = f" @{span.line}:{span.column}" if isinstance(span, Span) else ""
        members = {f.name: getattr(node, f.name) for f in fields(node) if not _is_unset(f, getattr(node, f.name))}
        simple = (f" {name}={_short(value)}" for name, value in members.items() if not _is_compound(value))
        yield f"{head}{type(node).__name__}{place}{''.join(simple)}"
        for name, value in members.items():
            if _is_compound(value):
                yield from _tree(name, value, depth + 1)
    elif isinstance(node, tuple) and node and isinstance(node[0], tuple):
        yield f"{head}{len(node)} of {node[0]!r} ..."
    elif isinstance(node, tuple):
        for index, child in enumerate(node):
            yield from _tree(f"{label}[{index}]", child, depth)
    else:
        yield f"{head}{_short(node)}"


def _is_unset(field: Field[Any], value: object) -> bool:
    """Whether a field has its default, which a new one then does not add to every node; spans are told as places."""
    if isinstance(value, Span):
        return True
    if field.default_factory is not MISSING:
        return bool(value == field.default_factory())
    return field.default is not MISSING and value == field.default


def _is_compound(value: object) -> bool:
    return is_dataclass(value) or (isinstance(value, tuple) and bool(value))


def _short(value: object) -> str:
    return value.name if isinstance(value, Enum) else repr(value)
