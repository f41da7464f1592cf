"""Expressions to values with types, at one hook."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

from xcapscript.builtins import (
    ACTION,
    BUILTINS,
    CONSTANTS,
    FLOW,
    LAYERS,
    PACKET_FIELDS,
    REASON,
    RETVAL,
    SMALL_STATES,
    SOCKET_FIELDS,
)
from xcapscript.diagnostics import Code, did_you_mean
from xcapscript.ir import Hook
from xcapscript.nodes.expressions import (
    AddressConstant,
    Binary,
    BuiltinValue,
    CallC,
    Compare,
    Convert,
    Expression,
    FieldValue,
    FlowValue,
    Has,
    HasKey,
    Load,
    Logic,
    MapValue,
    Not,
    Number,
    PacketPointer,
    Stack,
    Ternary,
    Text,
)
from xcapscript.sema.compare import comparison, is_signed
from xcapscript.sema.filter import Parameters
from xcapscript.sema.given import SKB_POINTER, Given
from xcapscript.sema.kinds import a, common_type, value_of_word
from xcapscript.sema.refusal import refuse
from xcapscript.sema.scope import Scope
from xcapscript.sema.structures import Place, Structures
from xcapscript.syntax import ast
from xcapscript.syntax.parse import ALL_BITS
from xcapscript.types import (
    S64,
    U8,
    U16,
    U32,
    U64,
    FlowType,
    InternedType,
    IpType,
    MacType,
    PointerType,
    StackType,
    StringType,
    SymbolType,
    is_number,
)

DEFAULT_DEPTH = 16
MAXIMAL_DEPTH = 127
"""kernel.perf_event_max_stack, its default."""

STACK = "kstack"
SKB, XDP, SOCKET = "skb", "xdp", "sk"
SOCK_POINTER = PointerType("struct sock")
STRING = StringType(64)
"""What str() reads at most."""

ARITHMETIC = frozenset(["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"])
COMPARISONS = frozenset(["==", "!=", "<", "<=", ">", ">=", "in"])
SWAPS = {"ntohs": U16, "htons": U16, "ntohl": U32, "htonl": U32}
FUNCTIONS = ("kstack", "has", "str", "ksym", *SWAPS)
GROUPS = frozenset(name.partition(".")[0] for name in PACKET_FIELDS)

POSITION = re.compile("arg([0-9]{1,2})")

ReadMap = Callable[[ast.Map], MapValue]
CallFunction = Callable[[ast.Call], Expression | None]


@dataclass(frozen=True, slots=True)
class Expressions:
    """Resolves the expressions of a clause at one of its hooks.

    `read_map` resolves a map that is read, `call` a function of the script's own, if it is one; `functions` names them.
    """

    hook: Hook
    parameters: Parameters
    structures: Structures
    scope: Scope
    read_map: ReadMap
    call: CallFunction
    c_functions: frozenset[str]
    functions: Mapping[str, ast.Function]

    @property
    def given(self) -> Given:
        """What the hook gives."""
        return Given(self.hook, self.structures)

    def value(self, node: ast.Expression) -> Expression:
        """The value of an expression; ScriptError if it has none here."""
        match node:
            case ast.Number(value):
                return Number(value, U64)
            case ast.String(value):
                return Text(value, InternedType())
            case ast.Address(value, mask):
                if mask != ALL_BITS:
                    hint = f"write for instance: ip.src in {node.span.text}"
                    refuse(Code.TYPE_CLASH, node, f"'{node.span.text}' is a network, which is no value", hint)
                return AddressConstant(value, IpType())
            case ast.Mac(value):
                return Number(value, MacType())
            case ast.Parameter():
                return self._parameter(node)
            case ast.Name(name):
                return self._name(node, name)
            case ast.Member() | ast.Index():
                return self._member(node)
            case ast.Call():
                return self._call(node)
            case ast.Cast(wanted, operand):
                return Convert(self.number(operand, "a cast"), self.structures.cast_to(wanted))
            case ast.Unary():
                return self._unary(node)
            case ast.Ternary():
                return self._ternary(node)
            case ast.Binary(operator, left, right) if operator in COMPARISONS:
                return comparison(self, node)
            case ast.Binary(operator, left, right) if operator in ARITHMETIC:
                return self._binary(operator, left, right)
            case ast.Binary(operator, left, right):
                return Logic(operator, self.truth(left), self.truth(right), U8)
            case ast.Map():
                return self.read_map(node)
            case _:
                assert_never(node)

    def number(self, node: ast.Expression, user: str) -> Expression:
        """A value that arithmetic takes."""
        value = self.value(node)
        if not is_number(value.type):
            refuse(Code.TYPE_CLASH, node, f"{user} takes a number, and '{node.span.text}' is {a(value.type)}")
        return value

    def truth(self, node: ast.Expression) -> Expression:
        """A value that is true unless it is 0."""
        value = self.value(node)
        if isinstance(value, MapValue) and not is_number(value.type):
            return HasKey(value.map, value.keys, U8)
        if not is_number(value.type) and not isinstance(value.type, MacType):
            message = f"'{node.span.text}' is {a(value.type)}, which is neither true nor false"
            refuse(Code.TYPE_CLASH, node, message, "compare it with something, such as == or in")
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
            refuse(Code.BAD_CALL, node, f"'{node.span.text}' has more than one argument", "it takes a depth: kstack(5)")
        depth = self.constant(arguments[0], "the depth of a stack", 1, MAXIMAL_DEPTH) if arguments else DEFAULT_DEPTH
        self.given.need_stack(node)
        return Stack(StackType(depth))

    def _parameter(self, node: ast.Parameter) -> Expression:
        variable = self.scope.find(node.name)
        if variable is not None:
            return variable
        value = self.parameters.value(node.name)
        if value is None:
            numbered = node.name.isdigit()
            follow = "parameters follow the program: xcap -e '...' VALUE"
            hints = self.parameters.like(node.name, self.scope.names()) if not numbered else (follow,)
            what = f"parameter '${node.name}' was not given" if numbered else f"unknown variable '${node.name}'"
            hints = hints or (f"it is set first: ${node.name} = 1; or a parameter: param {node.name} = 1;",)
            refuse(Code.UNKNOWN_PARAMETER, node, what, *hints)
        found = value_of_word(value)
        if isinstance(found, Number) and not -(2**63) <= found.value < 2**64:
            refuse(Code.BAD_LITERAL, node, f"'{value}', which '${node.name}' stands for, does not fit in 64 bits")
        return found

    def _name(self, node: ast.Name, name: str) -> Expression:
        match name:
            case "reason":
                return self.given.reason(node)
            case "kstack":
                return self.stack((), node)
            case "flow":
                self.given.need_packet(node, name)
                return FlowValue(FlowType())
            case "skb":
                if self.hook.skb is None:
                    refuse(Code.NO_PACKET, node, f"'{self.hook.name}' has no packet")
                return PacketPointer(SKB_POINTER)
            case "sk":
                return self.given.socket(node)
            case "xdp":
                return self.given.buffer(node)
            case "action":
                return self.given.action(node)
            case "retval":
                return self.given.result(node)
            case _ if name in CONSTANTS and name not in BUILTINS:
                return Number(CONSTANTS[name], U64)
        row = BUILTINS.get(name)
        if row is None:
            return self._unknown(node, name)
        if row.helper is None:
            return self.given.place_name(name)
        self.given.need(node, row)
        return BuiltinValue(row, row.type)

    def _unknown(self, node: ast.Name, name: str) -> Expression:
        if (position := POSITION.fullmatch(name)) and (found := self.given.position(int(position[1]))):
            return found
        if name in GROUPS:
            known = " ".join(field for field in PACKET_FIELDS if field.startswith(f"{name}."))
            refuse(Code.UNKNOWN_NAME, node, f"'{name}' alone is no value", f"has({name}), or its fields: {known}")
        if name == "args" or re.fullmatch("arg[0-9]+", name):
            known = ", ".join(f"args.{argument.name}" for argument in self.hook.arguments)
            message = f"'{name}' is no value at '{self.hook.name}'"
            refuse(Code.UNKNOWN_ARGUMENT, node, message, f"it has {known}" if known else "it has no arguments")
        known_names = [*BUILTINS, REASON, RETVAL, ACTION, STACK, FLOW, SKB, XDP, SOCKET, *CONSTANTS]
        refuse(Code.UNKNOWN_NAME, node, f"unknown name '{name}'", *did_you_mean(name, known_names))

    def _member(self, node: ast.Member | ast.Index) -> Expression:
        if isinstance(node, ast.Member):
            match node.object:
                case ast.Name("args"):
                    return self.given.argument(node.field)
                case ast.Name("tcp") if node.field.name == "state":
                    return self._socket_field(ast.Name(SOCKET, node.object.span), node)
                case ast.Name(group) if group in GROUPS:
                    return self._packet_field(node, f"{group}.{node.field.name}")
                case ast.Name("sk") if node.field.name in SOCKET_FIELDS:
                    return self._socket_field(node.object, node)
        return self.structures.value(self._place(node), node)

    def _packet_field(self, node: ast.Member, name: str) -> Expression:
        row = PACKET_FIELDS.get(name)
        if row is None:
            group = name.partition(".")[0]
            known = [field for field in PACKET_FIELDS if field.startswith(f"{group}.")]
            hints = did_you_mean(name, known) or (f"its fields: {' '.join(known)}",)
            refuse(Code.UNKNOWN_FIELD, node.field, f"'{group}' has no field '{node.field.name}'", *hints)
        self.given.need_packet(node, name)
        return FieldValue(row, row.type)

    def _socket_field(self, socket: ast.Name, node: ast.Member) -> Expression:
        """A short name of something deep in the socket."""
        row = SOCKET_FIELDS[node.field.name]
        value = self._deep(socket, row.path, node)
        if row.path[0] != SOCKET_FIELDS["state"].path[0]:
            state = self._deep(socket, SOCKET_FIELDS["state"].path, node)
            waits, asked = (Compare("==", state, Number(number, U64), U8) for number in SMALL_STATES)
            value = Ternary(Logic("||", waits, asked, U8), Number(row.otherwise, value.type), value, value.type)
        if row.swapped:
            return CallC("__builtin_bswap16", (value,), U16)
        return Convert(value, row.type) if row.type is not None else value

    def _deep(self, socket: ast.Name, path: tuple[str, ...], node: ast.Member) -> Expression:
        found: ast.Expression = socket
        for step in path:
            found = ast.Member(found, ast.Name(step, node.field.span), node.span)
        return self.structures.value(self._place(found), node)

    def _place(self, node: ast.Expression) -> Place:
        """Where a member or element lies; a pointer in between is followed."""
        match node:
            case ast.Member(ast.Name("args"), _):
                return self.structures.pointed_at(self.value(node), node)
            case ast.Member(inner, field):
                place = self._place(inner)
                if isinstance(place.type, PointerType):
                    place = self.structures.pointed_at(self.structures.value(place, inner), inner)
                return self.structures.member(place, field)
            case ast.Index(inner, index):
                return self.structures.element(self._place(inner), self.number(index, "an index"), node)
            case _:
                return self.structures.pointed_at(self.value(node), node)

    def _call(self, node: ast.Call) -> Expression:
        name = node.name.name
        if name == STACK:
            return self.stack(node.arguments, node)
        if name == "has":
            return self._has(node)
        if name in FUNCTIONS:
            return self._converted(node, name)
        if (made := self.call(node)) is not None:
            return made
        if name in BUILTINS or name in (REASON, RETVAL, ACTION):
            if node.arguments:
                refuse(Code.BAD_CALL, node, f"'{name}' takes no argument")
            return self._name(node.name, name)
        known = [*FUNCTIONS, *self.functions, *self.c_functions]
        refuse(Code.UNKNOWN_NAME, node.name, f"unknown function '{name}'", *did_you_mean(name, known))

    def _has(self, node: ast.Call) -> Expression:
        match node.arguments:
            case (ast.Map() as read,):
                found = self.read_map(read)
                return HasKey(found.map, found.keys, U8)
            case (ast.Name(layer),) if layer in LAYERS:
                self.given.need_packet(node, node.span.text)
                return Has(layer, U8)
        if (known := self.known(node)) is not None:
            return Number(int(known), U8)
        hint = f"the layers are {' '.join(LAYERS)}; it also takes retval, reason and args.NAME"
        refuse(Code.BAD_CALL, node, "has() takes the name of a layer", hint)

    def known(self, condition: ast.Expression) -> bool | None:
        """Whether a hook gives something: known here, what is for other hooks is left out. None of all else."""
        match condition:
            case ast.Call(ast.Name("has"), (ast.Name(name),)) if name in (RETVAL, REASON):
                return self.given.has(name)
            case ast.Call(ast.Name("has"), (ast.Member(ast.Name("args"), field),)):
                return self.given.has(field.name, argument=True)
            case ast.Unary("!", operand):
                known = self.known(operand)
                return None if known is None else not known
        return None

    def _converted(self, node: ast.Call, name: str) -> Expression:
        """str(), ksym() and the functions that swap bytes: all take one argument."""
        if len(node.arguments) != 1 or isinstance(node.arguments[0], ast.Keyword):
            refuse(Code.BAD_CALL, node, f"'{name}' takes one value", f"write {name}(x)")
        if name == "str":
            value = self.value(node.arguments[0])
            if isinstance(value.type, StringType | InternedType):
                return value
            return Load(self.number(node.arguments[0], "str()"), 0, 0, 0, STRING)
        value = self.number(node.arguments[0], f"{name}()")
        if name == "ksym":
            return Convert(value, SymbolType())
        kind = SWAPS[name]
        return CallC(f"__builtin_bswap{kind.bits}", (value,), kind)

    def _unary(self, node: ast.Unary) -> Expression:
        match node.operator:
            case "!":
                return Not(self.truth(node.operand), U8)
            case "*":
                return self.structures.dereferenced(self.value(node.operand), node.operand)
        value = self.number(node.operand, f"'{node.operator}'")
        if node.operator == "~":
            return Binary("^", value, Number(2**64 - 1, U64), U64)
        if isinstance(value, Number):
            if value.value > 2**63:
                refuse(Code.BAD_LITERAL, node, f"'{node.span.text}' does not fit in 64 bits")
            return Number(-value.value, S64)
        return Binary("-", Number(0, S64), value, S64)

    def _ternary(self, node: ast.Ternary) -> Expression:
        if (known := self.known(node.condition)) is not None:
            return self.value(node.yes if known else node.no)
        condition, yes, no = self.truth(node.condition), self.value(node.yes), self.value(node.no)
        kind = common_type(yes.type, no.type)
        if kind is None:
            message = f"'{node.yes.span.text}' is {a(yes.type)}, and '{node.no.span.text}' {a(no.type)}"
            refuse(Code.TYPE_CLASH, node, message, "both values behind '?' have one type")
        return Ternary(condition, yes, no, kind)

    def _binary(self, operator: str, left: ast.Expression, right: ast.Expression) -> Expression:
        first, second = self.number(left, f"'{operator}'"), self.number(right, f"'{operator}'")
        # what is taken from an unsigned value may be larger than it: 40 - len is meant to be negative
        signed = operator == "-" or is_signed(first) or is_signed(second)
        return Binary(operator, first, second, S64 if signed else U64)
