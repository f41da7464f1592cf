"""Values to C: the text of a number, and the filling of a struct's member with any value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from xcapscript.codegen.emitter import Emitter
from xcapscript.codegen.literals import c_int
from xcapscript.codegen.shell import argument
from xcapscript.codegen.structs import ctype
from xcapscript.ir import ArgumentValue, Binary, BuiltinValue, Expression, Number, Stack, Text
from xcapscript.types import S64, StringType
from xcapscript.unit import HookKind

HELPERS = {"/": "xcap_div", "%": "xcap_mod", "<<": "xcap_shl", ">>": "xcap_shr"}
SIGNED_HELPERS = frozenset({"/", "%", ">>"})


@dataclass(slots=True)
class Strings:
    """The string constants of a program; in the kernel each is its index."""

    found: dict[str, int] = field(default_factory=dict)

    def index(self, text: str) -> int:
        """The index of a string, given at first use."""
        return self.found.setdefault(text, len(self.found))


@dataclass(frozen=True, slots=True)
class Values:
    """Writes the values of one program; `hit`, `skb` and `ctx` are what its C calls them."""

    kind: HookKind
    strings: Strings

    def number(self, value: Expression) -> str:
        """A C expression, in parentheses or atomic, for a number or an interned string."""
        match value:
            case Number(constant):
                return c_int(constant)
            case Text(text):
                return c_int(self.strings.index(text))
            case BuiltinValue(builtin):
                return f"{builtin.helper}(hit, skb)"
            case ArgumentValue(place, kind):
                return argument(self.kind, place.place, ctype(kind))
            case Binary(operator, left, right, kind):
                return self._binary(operator, self.number(left), self.number(right), signed=kind == S64)
            case Stack():
                raise ValueError("a stack is not a number")
            case _:
                assert_never(value)

    def _binary(self, operator: str, left: str, right: str, *, signed: bool) -> str:
        if operator in HELPERS:
            suffix = "s64" if signed and operator in SIGNED_HELPERS else "u64"
            return f"{HELPERS[operator]}_{suffix}({left}, {right})"
        # unsigned, since what overflows is undefined in C otherwise; the bits are the same
        value = f"((u64){left} {operator} (u64){right})"
        return f"((s64){value})" if signed else value

    def store(self, out: Emitter, target: str, value: Expression) -> None:
        """Write statements that fill `target`, a struct's member laid out for the value's type."""
        match value:
            case Stack():
                # it zeroes what it does not fill, also when it fails
                out.line(f"bpf_get_stack(ctx, {target}, sizeof({target}), 0);")
            case BuiltinValue(builtin) if isinstance(builtin.type, StringType):
                out.line(f"{builtin.helper}(hit, skb, {target});")
            case ArgumentValue(place, StringType(size)):
                out.line(f"__builtin_memset({target}, 0, {size});")
                source = f"(char *)ctx + {place.place:d}"
                out.line(f"bpf_probe_read_kernel_str({target}, {size}, {source});")
            case _:
                out.line(f"{target} = {self.number(value)};")
