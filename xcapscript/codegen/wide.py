"""Values that are no numbers in C: strings, addresses, flows and stacks are written to where they are wanted, and
compared word by word.
"""

from __future__ import annotations

from typing import Protocol

from xcapscript.builtins import Builtin
from xcapscript.codegen.emitter import Emitter
from xcapscript.codegen.literals import WORD, c_word
from xcapscript.errors import CompilerBug
from xcapscript.layout import FLOW
from xcapscript.nodes.expressions import (
    AddressConstant,
    ArgumentValue,
    BuiltinValue,
    Expression,
    FieldValue,
    FlowValue,
    Inlined,
    Load,
    MapValue,
    Ternary,
    Variable,
)
from xcapscript.types import FlowType, IpType, StackType, StringType, Type

WIDE = (StringType, IpType, FlowType, StackType)
"""Types whose values are no numbers in C."""

ONES = b"\xff" * WORD


class Writer(Protocol):
    """What writes the values of a program."""

    @property
    def peek(self) -> str: ...

    def helper(self, builtin: Builtin) -> str: ...

    def number(self, out: Emitter, value: Expression) -> str: ...

    def address(self, out: Emitter, value: Expression) -> str: ...

    def store(self, out: Emitter, target: str, value: Expression, kind: Type | None = None) -> None: ...

    def temporary(self, out: Emitter, value: Expression) -> str: ...

    def looked_up(self, out: Emitter, value: MapValue) -> str: ...

    def inlined(self, out: Emitter, value: Inlined) -> str: ...

    def variable(self, variable: Variable) -> str: ...


def store_wide(values: Writer, out: Emitter, target: str, value: Expression, kind: Type) -> None:
    """Write statements that fill `target`, a struct's member laid out for `kind`."""
    match kind:
        case StackType():
            # it zeroes what it does not fill, also when it fails
            out.line(f"bpf_get_stack(ctx, {target}, sizeof({target}), 0);")
        case StringType(size):
            _store_string(values, out, target, value, size)
        case IpType() if isinstance(value, AddressConstant | FieldValue | Variable):
            out.line(f"{target} = {values.address(out, value)};")
        case IpType():
            _store_chosen(values, out, target, value, kind)
        case _:
            _store_flow(values, out, target, value)


def _store_string(values: Writer, out: Emitter, target: str, value: Expression, size: int) -> None:
    match value:
        case BuiltinValue(builtin, StringType(own)) if own > size:
            _copy(out, target, values.temporary(out, value), own, size)
        case BuiltinValue(builtin, StringType(own)):
            if own < size:
                out.line(f"__builtin_memset({target}, 0, {size});")
            out.line(f"{values.helper(builtin)}(hit, skb, {target});")
        case ArgumentValue(place, StringType(own)):
            out.line(f"__builtin_memset({target}, 0, {size});")
            source = f"(char *)ctx + {place.place:d}"
            out.line(f"bpf_probe_read_kernel_str({target}, {min(own, size)}, {source});")
        case Load(address, offset, _, _, StringType(own)):
            at = f"(u64){values.number(out, address)} + {offset}"
            if own < size:
                out.line(f"__builtin_memset({target}, 0, {size});")
            out.line(f"{values.peek}_string(counters, {target}, {min(own, size)}, {at});")
        case Variable(_, StringType(own)):
            _copy(out, target, values.variable(value), own, size)
        case MapValue(_, _, StringType(own)):
            found = values.looked_up(out, value)
            out.line(f"__builtin_memset({target}, 0, {size});")
            with out.block(f"if ({found})"):
                out.line(f"__builtin_memcpy({target}, {found}->value, {min(own, size)});")
        case Ternary() | Inlined():
            _store_chosen(values, out, target, value, StringType(size))
        case _:
            raise CompilerBug(f"there is no string to be had of {type(value).__name__}")


def _copy(out: Emitter, target: str, source: str, own: int, size: int) -> None:
    if own < size:
        out.line(f"__builtin_memset({target}, 0, {size});")
    out.line(f"__builtin_memcpy({target}, {source}, {min(own, size)});")


def _store_flow(values: Writer, out: Emitter, target: str, value: Expression) -> None:
    match value:
        case FlowValue():
            out.line(f"xcap_flow(&view, &layers, &{target});")
        case Variable():
            out.line(f"{target} = {values.variable(value)};")
        case _:
            _store_chosen(values, out, target, value, value.type)


def _store_chosen(values: Writer, out: Emitter, target: str, value: Expression, kind: Type) -> None:
    """What is no number, out of a choice, a function or a map."""
    match value:
        case Ternary(condition, yes, no):
            with out.block(f"if ({values.number(out, condition)})"):
                values.store(out, target, yes, kind)
            with out.block("else"):
                values.store(out, target, no, kind)
        case Inlined(_, _, result) if result is not None:
            values.inlined(out, value)
            values.store(out, target, result, kind)
        case MapValue():
            found = values.looked_up(out, value)
            out.line(f"__builtin_memset(&{target}, 0, sizeof({target}));")
            with out.block(f"if ({found})"):
                out.line(f"{target} = {found}->value;")
        case _:
            raise CompilerBug(f"there is no {value.type} to be had of {type(value).__name__}")


def same_text(values: Writer, out: Emitter, string: Expression, text: bytes, *, prefix: bool) -> str:
    """Whether a string is a text, or begins with it: zeros follow a string in its room."""
    room = values.temporary(out, string)
    wanted = text if prefix else text + b"\0"
    tests = []
    for at in range(0, len(wanted), WORD):
        piece = wanted[at : at + WORD]
        found = _word_at(room, at)
        if len(piece) < WORD:
            found = f"({found} & {c_word(ONES[: len(piece)])})"
        tests.append(f"{found} == {c_word(piece)}")
    return f"({' && '.join(tests)})" if tests else "1"


def same_flow(values: Writer, out: Emitter, left: Expression, right: Expression) -> str:
    """Whether two flows are one. Of __builtin_memcmp() clang makes a call, which no program can have."""
    one, other = (f"(char *)&{values.temporary(out, side)}" for side in (left, right))
    tests = (f"{_word_at(one, at)} == {_word_at(other, at)}" for at in range(0, FLOW.size, WORD))
    return f"({' && '.join(tests)})"


def _word_at(room: str, at: int) -> str:
    return f"*(xcap_chars *)({room} + {at})"
