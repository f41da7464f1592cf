"""Values to C: the text of a number, the filling of a member with any value, and what must be done before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import assert_never

from xcapscript.builtins import LAYERS, Builtin
from xcapscript.codegen.access import helper_of
from xcapscript.codegen.emitter import Emitter
from xcapscript.codegen.literals import WORD, c_identifier, c_int, c_ip
from xcapscript.codegen.shell import argument
from xcapscript.codegen.strings import Strings
from xcapscript.codegen.structs import ctype, members
from xcapscript.codegen.wide import WIDE, same_flow, same_text, store_wide
from xcapscript.errors import CompilerBug
from xcapscript.ir import Packet
from xcapscript.layout import Layout, lay_out, size_of
from xcapscript.nodes.expressions import (
    AddressConstant,
    ArgumentValue,
    Binary,
    BuiltinValue,
    CallC,
    Compare,
    CompareText,
    Convert,
    Expression,
    FieldValue,
    FlowValue,
    Has,
    HasKey,
    Inlined,
    InNetwork,
    Load,
    Logic,
    MapValue,
    Matches,
    Not,
    Number,
    PacketPointer,
    PlaceName,
    PlaceWithin,
    Stack,
    Ternary,
    Text,
    Variable,
)
from xcapscript.nodes.statements import Statement
from xcapscript.types import (
    U64,
    EnumType,
    FlowType,
    InternedType,
    IntType,
    IpType,
    PointerType,
    StringType,
    SymbolType,
    Type,
)
from xcapscript.unit import USER_KINDS, HookKind, MapSpec

MOST_LOCALS = 16
"""Numbers that are kept on the stack, of which BPF has 512 bytes: further ones lie in the program's own memory."""

HELPERS = {"/": "xcap_div", "%": "xcap_mod", "<<": "xcap_shl", ">>": "xcap_shr"}
SIGNED_HELPERS = frozenset({"/", "%", ">>"})


class Values:
    """Writes the values of one program; `hit`, `skb`, `view`, `layers`, `counters` and `ctx` are what its C calls them.

    `scratch` is what else the program's own memory holds; `statements` writes the statements of an inlined function.
    """

    def __init__(
        self,
        kind: HookKind,
        strings: Strings,
        maps: dict[str, MapSpec],
        program: int,
        filters: dict[str, tuple[str, str]],
    ) -> None:
        self._kind = kind
        self._strings = strings
        self._maps = maps
        self._program = program
        self._filters = filters
        self._numbers = count()
        self._packet_of_hook: Packet | None = None
        self._ends: list[str] = []
        self._variables: dict[int, str] = {}
        self.scratch: dict[str, Layout] = {}
        self.write_statement: Callable[[Emitter, Statement], None] = _no_statements

    @property
    def peek(self) -> str:
        """The C function that reads a number where a pointer points: in the kernel, or in the program that runs."""
        return "xcap_peek_user" if self._kind in USER_KINDS else "xcap_peek"

    def set_packet(self, packet: Packet | None) -> None:
        """Which argument of the hook is its packet, and what that is."""
        self._packet_of_hook = packet

    def helper(self, builtin: Builtin) -> str:
        """The C function of a builtin value here."""
        packet = self._packet_of_hook
        return helper_of(self._kind, builtin.helper or "", packet.form if packet is not None else None)

    def number(self, out: Emitter, value: Expression) -> str:
        """A C expression, in parentheses or atomic, for a number; what must be done before goes to `out`."""
        match value:
            case Number(constant):
                return c_int(constant)
            case Text(text):
                return c_int(self._strings.index(text))
            case PlaceName(names):
                for name in names:
                    self._strings.index(name)
                return "(place >> XCAP_PLACE_BITS)"
            case PlaceWithin(first, last):
                return f"(XCAP_ORDINAL(place) - {c_int(first)} <= {c_int(last - first)})"
            case BuiltinValue(builtin):
                return f"{self.helper(builtin)}(hit, skb)"
            case ArgumentValue():
                return self._argument(out, value)
            case PacketPointer():
                return self._packet()
            case FieldValue(row):
                return f"{row.helper}(&view, &layers)"
            case Has(layer):
                return f"((layers.has & {1 << LAYERS.index(layer)}) != 0)"
            case Binary(operator, left, right, kind):
                signed = isinstance(kind, IntType) and kind.signed
                return self.binary(operator, self.number(out, left), self.number(out, right), signed=signed)
            case Compare() | CompareText() | InNetwork() | Logic() | Not() | Matches():
                return self._truth(out, value)
            case Convert(operand, kind):
                return self._converted(self.number(out, operand), kind)
            case Load():
                return self._load(out, value)
            case Ternary(condition, yes, no, kind):
                return self._choice(out, condition, yes, no, kind)
            case MapValue(_, _, kind):
                found = self.looked_up(out, value)
                return self._kept(out, kind, f"{found} ? {found}->value : 0")
            case HasKey():
                return f"({self.looked_up(out, value)} != NULL)"
            case Variable(number):
                return self._variables[number]
            case CallC(function, arguments, kind):
                given = ", ".join(self.number(out, one) for one in arguments)
                return f"(({ctype(kind)}){c_identifier(function)}({given}))"
            case Inlined():
                return self.inlined(out, value)
            case Stack() | AddressConstant() | FlowValue():
                raise CompilerBug(f"a {value.type} is not a number")
            case _:
                assert_never(value)

    def store(self, out: Emitter, target: str, value: Expression, kind: Type | None = None) -> None:
        """Write statements that fill `target`, a struct's member laid out for `kind`, else for the value's type."""
        kind = kind or value.type
        if isinstance(kind, WIDE):
            store_wide(self, out, target, value, kind)
        else:
            out.line(f"{target} = {self.number(out, value)};")

    def variable(self, variable: Variable) -> str:
        """What C calls a variable that was made."""
        return self._variables[variable.number]

    def address(self, out: Emitter, value: Expression) -> str:
        """A C expression for an IP address."""
        match value:
            case AddressConstant(constant):
                return c_ip(constant)
            case FieldValue(row):
                return f"{row.helper}(&view, &layers)"
            case Variable(number):
                return self._variables[number]
            case _:
                return self.temporary(out, value)

    def declare(self, out: Emitter, variable: Variable) -> None:
        """Make a variable, where its block begins or it is first set."""
        if variable.number in self._variables:
            return
        if isinstance(variable.type, StringType | IpType | FlowType):
            self._variables[variable.number] = self._room(variable.type)
            return
        if len(self._variables) >= MOST_LOCALS:
            self._variables[variable.number] = room = self._room(variable.type)
            out.line(f"{room} = 0;")
            return
        name = f"v{variable.number}"
        self._variables[variable.number] = name
        out.line(f"{_word(variable.type)} {name} = 0;")

    def assign(self, out: Emitter, variable: Variable, value: Expression) -> None:
        """Give a variable that was made a value."""
        self.store(out, self._variables[variable.number], value, variable.type)

    def fill(self, out: Emitter, layout: Layout, target: str, values: dict[str, Expression]) -> None:
        """Fill the members that have values, and the gaps with zeros. Numbers are computed before any is stored."""
        numbers: dict[str, str] = {}
        for name, value in values.items():
            if not isinstance(value.type, WIDE):
                numbers[name] = self.number(out, value)
                if len(values) > MOST_LOCALS:
                    # so many at once have no place on the stack
                    out.line(f"{target}->{name} = {numbers.pop(name)};")
        for name, _, size in members(layout):
            if name in numbers:
                out.line(f"{target}->{name} = {numbers[name]};")
            elif name in values and isinstance(values[name].type, WIDE):
                self.store(out, f"{target}->{name}", values[name], layout.field(name).type)
            elif name.startswith("gap_"):
                out.line(f"__builtin_memset({target}->{name}, 0, {size});")

    def key(self, out: Emitter, spec: MapSpec, values: tuple[Expression, ...]) -> str:
        """The C name of a pointer to a filled key of a map."""
        name = f"key_{next(self._numbers)}"
        self.scratch[name] = spec.key
        pointer = f"k{name[4:]}"
        out.line(f"struct {spec.key.name} *{pointer} = &scratch->{name};")
        if not spec.key.fields:
            out.line(f"__builtin_memset({pointer}, 0, sizeof(*{pointer}));")
        self.fill(out, spec.key, pointer, {f"k{number}": value for number, value in enumerate(values)})
        return pointer

    @property
    def end(self) -> str:
        """Where `return` goes."""
        return self._ends[-1] if self._ends else "done"

    @contextmanager
    def _ending(self, out: Emitter) -> Iterator[None]:
        """A label behind what is written meanwhile, for `return`."""
        label = f"end_{next(self._numbers)}"
        self._ends.append(label)
        yield
        self._ends.pop()
        out.line(f"{label}: ;")

    def inlined(self, out: Emitter, value: Inlined) -> str:
        """Write a function's body; what C calls its result."""
        if value.result is not None:
            self.declare(out, value.result)
            if isinstance(value.result.type, WIDE):
                # it may end without a `return`; the last hit's result is still there
                room = self._variables[value.result.number]
                out.line(f"__builtin_memset(&{room}, 0, sizeof({room}));")
        with out.block(), self._ending(out):
            for statement in value.body:
                self.write_statement(out, statement)
        return self._variables[value.result.number] if value.result is not None else "0ULL"

    def _argument(self, out: Emitter, value: ArgumentValue) -> str:
        name = self._kept(out, value.type, argument(self._kind, value.argument.place, ctype(value.type)))
        # else clang makes one load of those of two branches, from a place that the verifier does not know any more
        out.line(f"XCAP_PIN({name});")
        return self._scalar(name) if isinstance(value.type, PointerType) else name

    def _packet(self) -> str:
        if self._packet_of_hook is None:
            raise CompilerBug("a packet's address is wanted where there is none")
        return self._scalar(argument(self._kind, self._packet_of_hook.pointer.place, "u64"))

    def _scalar(self, pointer: str) -> str:
        """A pointer as a number: what the verifier takes for a pointer cannot be masked or shifted."""
        return f"xcap_scalar(&{self._room(U64)}, {pointer})"

    def _kept(self, out: Emitter, kind: Type, text: str) -> str:
        """The name of a local that holds a number."""
        name = f"t{next(self._numbers)}"
        out.line(f"{_word(kind)} {name} = {text};")
        return name

    def _room(self, kind: Type) -> str:
        """A place for a value in the program's own memory."""
        name = f"w_{next(self._numbers)}"
        self.scratch[name] = lay_out(f"xcap_{name}_{self._program}", [("v", kind)])
        return f"scratch->{name}.v"

    def room(self, layout: Layout) -> str:
        """A place for a struct that is declared already."""
        name = f"key_{next(self._numbers)}"
        self.scratch[name] = layout
        return f"scratch->{name}"

    def temporary(self, out: Emitter, value: Expression) -> str:
        """A place with the value, which is no number."""
        room = self._room(value.type)
        self.store(out, room, value)
        return room

    def _load(self, out: Emitter, value: Load) -> str:
        address = f"(u64){self.number(out, value.address)} + {value.offset}"
        size = size_of(value.type)
        if not value.bit_size and not value.bit_offset:
            return self._kept(out, value.type, f"({ctype(value.type)}){self.peek}(counters, {address}, {size})")
        # a bit-field may lie anywhere in what is as wide as its type, and a little behind
        first = value.bit_offset // WORD
        width = value.bit_size or WORD * size
        bits = value.bit_offset % WORD
        read = next(size for size in (1, 2, 4, 8) if size * WORD >= bits + width)
        text = f"{self.peek}(counters, {address} + {first}, {read}) >> {bits} & {(1 << width) - 1:#x}ULL"
        if isinstance(value.type, IntType) and value.type.signed:
            text = f"(s64)(({text}) << {64 - width}) >> {64 - width}"
        return self._kept(out, value.type, text)

    def looked_up(self, out: Emitter, value: MapValue | HasKey) -> str:
        """The name of a pointer to a map's value, which may be NULL."""
        spec = self._maps[value.map]
        key = self.key(out, spec, value.keys)
        name = f"p{next(self._numbers)}"
        out.line(f"struct {spec.value.name} *{name} = {spec.symbol}.lookup({key});")
        return name

    def _choice(self, out: Emitter, condition: Expression, yes: Expression, no: Expression, kind: Type) -> str:
        name = self._kept(out, kind, "0")
        with out.block(f"if ({self.number(out, condition)})"):
            out.line(f"{name} = {self.number(out, yes)};")
        with out.block("else"):
            out.line(f"{name} = {self.number(out, no)};")
        return name

    def _truth(self, out: Emitter, value: Compare | CompareText | InNetwork | Logic | Not | Matches) -> str:
        match value:
            case Compare(operator, left, right):
                return self._compare(out, operator, left, right)
            case CompareText(string, text, prefix):
                return same_text(self, out, string, text, prefix=prefix)
            case InNetwork(address, network, mask):
                return f"xcap_in_network({self.address(out, address)}, {c_ip(network)}, {c_ip(mask)})"
            case Not(operand):
                return f"(!{self.number(out, operand)})"
            case Logic(operator, left, right):
                return self._logic(out, operator, left, right)
            case Matches(expression, inner):
                ethernet, raw = self._filters[expression.text]
                if inner:
                    view = f"inner_{next(self._numbers)}"
                    out.line(f"struct xcap_view {view};")
                    link = self._kept(out, value.type, f"xcap_enter(&view, hit->link, &{view})")
                    return f"({link} && ({link} == 1 ? {ethernet}(&{view}) : {raw}(&{view})) == XCAP_MATCH)"
                return f"((hit->link == 1 ? {ethernet}(&view) : {raw}(&view)) == XCAP_MATCH)"
            case _:
                assert_never(value)

    def _logic(self, out: Emitter, operator: str, left: Expression, right: Expression) -> str:
        first = self.number(out, left)
        beside = Emitter()
        second = self.number(beside, right)
        if not beside.text():
            return f"({first} {operator} {second})"
        # what the second needs is done only if the first has not decided
        name = f"t{next(self._numbers)}"
        out.line(f"u64 {name} = {first} != 0;")
        with out.block(f"if ({'' if operator == '&&' else '!'}{name})"):
            out.lines(beside.text())
            out.line(f"{name} = {second} != 0;")
        return name

    def _compare(self, out: Emitter, operator: str, left: Expression, right: Expression) -> str:
        if isinstance(left.type, IpType):
            same = f"xcap_same_ip({self.address(out, left)}, {self.address(out, right)})"
            return same if operator == "==" else f"(!{same})"
        if isinstance(left.type, FlowType):
            same = same_flow(self, out, left, right)
            return same if operator == "==" else f"(!{same})"
        signed = any(isinstance(side.type, IntType) and side.type.signed for side in (left, right))
        kind = "s64" if signed else "u64"
        return f"(({kind}){self.number(out, left)} {operator} ({kind}){self.number(out, right)})"

    def _converted(self, text: str, kind: Type) -> str:
        return f"((u64){text})" if isinstance(kind, SymbolType) else f"(({ctype(kind)}){text})"

    def binary(self, operator: str, left: str, right: str, *, signed: bool) -> str:
        """Arithmetic in 64 bits; division by zero gives 0."""
        if operator in HELPERS:
            suffix = "s64" if signed and operator in SIGNED_HELPERS else "u64"
            return f"{HELPERS[operator]}_{suffix}({left}, {right})"
        # unsigned, since what overflows is undefined in C otherwise; the bits are the same
        value = f"((u64){left} {operator} (u64){right})"
        return f"((s64){value})" if signed else value


def _no_statements(_out: Emitter, statement: Statement) -> None:
    raise CompilerBug(f"{type(statement).__name__} has no place here")


def _word(kind: Type) -> str:
    """The C type of a local for a number."""
    return ctype(kind) if isinstance(kind, IntType | EnumType | InternedType) else "u64"
