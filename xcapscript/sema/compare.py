"""Comparisons: numbers, names of enums, strings, addresses and networks."""

from __future__ import annotations

import re
from typing import Protocol

from xcapscript.builtins import ACTION, BUILTINS, FLOW, REASON, RETVAL, STATE_PREFIXES
from xcapscript.diagnostics import Code, did_you_mean
from xcapscript.kernel.facts import NotFound
from xcapscript.nodes.expressions import (
    Compare,
    CompareText,
    Expression,
    InNetwork,
    Logic,
    Not,
    Number,
    PlaceName,
    PlaceWithin,
    Text,
)
from xcapscript.sema.filter import Parameters
from xcapscript.sema.kinds import a
from xcapscript.sema.refusal import refuse
from xcapscript.sema.structures import Structures
from xcapscript.syntax import ast
from xcapscript.syntax.parse import read_address
from xcapscript.types import (
    U8,
    U64,
    EnumType,
    FlowType,
    InternedType,
    IntType,
    IpType,
    MacType,
    StringType,
    Type,
    is_number,
)

EQUALITY = frozenset({"==", "!="})
PLACES = ("netns", "cgroup")
"""Values, and members of `sk`, that a text stands for a number of: see `kernel/places.py`."""

VALUE = re.compile(r"reason|skb|sk|arg[0-9]+")
"""Names of values that no enum has."""
PREFIXES = ("", "SKB_DROP_REASON_", "SKB_", "SK_RST_REASON_", *STATE_PREFIXES)
"""What may be left out of the names of enums of which only the beginning is given."""
WORDS = frozenset({REASON, RETVAL, ACTION, FLOW, "skb", "xdp", "sk", "kstack", "args"})
"""Names that are values, besides the builtins."""


class Resolver(Protocol):
    """What resolves the two sides."""

    @property
    def parameters(self) -> Parameters: ...

    @property
    def structures(self) -> Structures: ...

    def value(self, node: ast.Expression) -> Expression: ...


def comparison(resolver: Resolver, node: ast.Binary) -> Expression:
    """`left operator right`, where the operator compares; ScriptError if the two cannot be compared."""
    if node.operator == "in":
        return _in_network(resolver, node)
    left, right = _sides(resolver, node)
    if isinstance(left.type, InternedType) and isinstance(right.type, InternedType):
        return _known_texts(node, left, right)
    match left.type, right.type:
        case StringType(), InternedType():
            return _text(node, left, right)
        case InternedType(), StringType():
            return _text(node, right, left)
        case (EnumType(), InternedType()) if isinstance(right, Text):
            return _one_of(node, left, right.value)
        case (InternedType(), EnumType()) if isinstance(left, Text):
            return _one_of(node, right, left.value)
        case (
            (IpType(), IpType())
            | (FlowType(), FlowType())
            | (MacType(), MacType())
            | (
                InternedType(),
                InternedType(),
            )
        ):
            if node.operator not in EQUALITY:
                refuse(Code.TYPE_CLASH, node, f"{a(left.type)} is not less or greater than another", "use == or !=")
            return Compare(node.operator, left, right, U8)
    if is_number(left.type) and is_number(right.type):
        return Compare(node.operator, left, right, U8)
    message = f"'{node.left.span.text}' is {a(left.type)}, and '{node.right.span.text}' {a(right.type)}"
    refuse(Code.TYPE_CLASH, node, f"{message}: they cannot be compared", *_cures(node, left.type, right.type))


def _cures(node: ast.Binary, *kinds: Type) -> tuple[str, ...]:
    """What to write instead, where it is known."""
    texts = [side.value for side in (node.left, node.right) if isinstance(side, ast.String)]
    if texts and any(isinstance(kind, IpType | MacType) for kind in kinds):
        return (f"write it without quotes: {texts[0]}",)
    if isinstance(kinds[0], MacType):
        return ("a hardware address is compared with another: eth.src == aa:bb:cc:dd:ee:ff",)
    if any(isinstance(kind, StringType) for kind in kinds):
        return ('a string is compared with text in quotes: comm == "sshd"',)
    if any(isinstance(kind, IpType) for kind in kinds):
        return ("an address is compared with another: ip.src == 10.0.0.1, or ip.src in 10.0.0.0/8",)
    return ()


def _sides(resolver: Resolver, node: ast.Binary) -> tuple[Expression, Expression]:
    """Both values; a bare name may be one of the other side's enum, a text name a network namespace or a cgroup."""
    if _is_foreign(node.left) and not _is_foreign(node.right):
        right = resolver.value(node.right)
        return _named(resolver, node.left, node.right, right), right
    left = resolver.value(node.left)
    return left, _named(resolver, node.right, node.left, left)


def _is_foreign(node: ast.Expression) -> bool:
    """Whether it is a name or text that takes its meaning from the other side."""
    return isinstance(node, ast.String | ast.Parameter) or (
        isinstance(node, ast.Name) and node.name not in BUILTINS and not VALUE.fullmatch(node.name)
    )


def _named(resolver: Resolver, node: ast.Expression, beside: ast.Expression, other: Expression) -> Expression:
    match node:
        case ast.String() | ast.Parameter() if place := _place(beside):
            return _number_of(resolver, node, place)
        case ast.Name(name) if isinstance(other.type, EnumType) and not VALUE.fullmatch(name):
            return _member(node, name, other.type)
        case ast.String(name) if isinstance(other.type, EnumType) and not name.endswith("*"):
            return _member(node, name, other.type)
        case ast.Parameter(name) if isinstance(other.type, EnumType):
            value = resolver.value(node)
            return _member(node, value.value, other.type) if isinstance(value, Text) else value
        case ast.Name(name) if isinstance(other.type, StringType | InternedType):
            if name not in BUILTINS and name not in WORDS:
                refuse(Code.UNKNOWN_NAME, node, f"unknown name '{name}'", f'text stands in quotes: "{name}"')
            return resolver.value(node)
        case _:
            return resolver.value(node)


def _place(node: ast.Expression) -> str | None:
    """Which of PLACES a value is."""
    match node:
        case ast.Name(name) | ast.Member(ast.Name("sk"), ast.Name(name)) if name in PLACES:
            return name
    return None


def _number_of(resolver: Resolver, node: ast.Expression, place: str) -> Expression:
    """The number of the namespace or cgroup that a text stands for; numbers stand for themselves."""
    value = resolver.value(node)
    if not isinstance(value, Text):
        return value
    kernel = resolver.structures.kernel
    try:
        return Number(kernel.cgroup(value.value) if place == "cgroup" else kernel.network_namespace(value.value), U64)
    except NotFound as error:
        refuse(Code.UNKNOWN_NAME, node, error.message, *error.hints)


def _member(node: ast.Expression, name: str, kind: EnumType) -> Expression:
    """The value of an enum's name, which may be without the prefix that all of them have."""
    members = {member: value for value, member in reversed(kind.members)}
    plain = next((name.removeprefix(p) for p in STATE_PREFIXES if name.removeprefix(p) in members), name)
    ending = [member for member in members if member.endswith(f"_{name}")]
    if plain in members:
        return Number(members[plain], kind)
    if ending:
        return Number(members[min(ending, key=len)], kind)
    short = [member.removeprefix("SKB_DROP_REASON_").removeprefix("SKB_") for member in members]
    refuse(Code.UNKNOWN_NAME, node, f"{kind} has no '{name}'", *did_you_mean(name, short))


def _one_of(node: ast.Binary, value: Expression, pattern: str) -> Expression:
    """Whether an enum's value is one of those whose names begin so: which those are is the kernel's business."""
    assert isinstance(value.type, EnumType)
    if node.operator not in EQUALITY:
        refuse(Code.TYPE_CLASH, node, "beginnings of names are compared with == and !=")
    begin = pattern.removesuffix("*")
    names = ((number, name.removeprefix(prefix)) for number, name in value.type.members for prefix in PREFIXES)
    members = [
        Number(number, value.type) for number in {number: None for number, name in names if name.startswith(begin)}
    ]
    if not members:
        said = node.right if isinstance(node.right, ast.String) else node.left
        refuse(Code.UNKNOWN_NAME, said, f"{value.type} has no '{pattern}'")
    found: Expression = Compare("==", value, members[0], U8)
    for member in members[1:]:
        found = Logic("||", found, Compare("==", value, member, U8), U8)
    return found if node.operator == "==" else Not(found, U8)


def _known_texts(node: ast.Binary, left: Expression, right: Expression) -> Expression:
    """Two strings that are numbers in the kernel; of `hook` and `func` it is known before which they are."""
    if node.operator not in EQUALITY:
        refuse(Code.TYPE_CLASH, node, "strings are compared with == and !=")
    pattern, other = (right, left) if isinstance(node.right, ast.String) else (left, right)
    if not isinstance(pattern, Text) or not pattern.value.endswith("*"):
        return Compare(node.operator, left, right, U8)
    if isinstance(other, PlaceName):
        found = _place_prefix(other.names, pattern.value[:-1])
        return found if node.operator == "==" else Not(found, U8)
    if not isinstance(other, Text):
        message = f"'{node.left.span.text}' holds strings of the program, which have no prefixes in the kernel"
        refuse(
            Code.TYPE_CLASH, node, message, "prefixes can be asked of comm, ifname, hook, func and the kernel's strings"
        )
    known = other.value.startswith(pattern.value[:-1])
    return Number(int(known == (node.operator == "==")), U8)


def _place_prefix(names: tuple[str, ...], prefix: str) -> Expression:
    """Those that begin so stand behind one another, as the names are sorted."""
    places = [place for place, name in enumerate(names) if name.startswith(prefix)]
    return PlaceWithin(places[0], places[-1], U8) if places else Number(0, U8)


def _text(node: ast.Binary, string: Expression, text: Expression) -> Expression:
    """A string against a constant, which may end in `*`."""
    if not isinstance(text, Text) or not isinstance(string.type, StringType):
        refuse(Code.TYPE_CLASH, node, "a string is compared with text in quotes", 'write comm == "sshd"')
    if node.operator not in EQUALITY:
        refuse(Code.TYPE_CLASH, node, "strings are compared with == and !=", 'a prefix: comm == "ng*"')
    wanted = text.value.encode("utf-8", "surrogateescape")
    prefix = wanted.endswith(b"*")
    wanted = wanted.removesuffix(b"*") if prefix else wanted
    if len(wanted) >= string.type.size or b"\0" in wanted:
        said = node.right if isinstance(node.right, ast.String) else node.left
        message = f"a {string.type} is never {said.span.text}: it has at most {string.type.size - 1} characters"
        refuse(Code.TYPE_CLASH, said, message, f'its beginning can be compared: "{text.value[:8]}*"')
    found = CompareText(string, wanted, prefix, U8)
    return found if node.operator == "==" else Not(found, U8)


def _in_network(resolver: Resolver, node: ast.Binary) -> Expression:
    address = resolver.value(node.left)
    network: tuple[int, int] | None = None
    match node.right:
        case ast.Address(value, mask):
            network = value, mask
        case ast.Parameter(name):
            network = read_address(resolver.parameters.value(name) or "")
    if not isinstance(address.type, IpType) or network is None:
        refuse(Code.TYPE_CLASH, node, "'in' takes an address and a network", "write ip.src in 10.0.0.0/8")
    return InNetwork(address, network[0] & network[1], network[1], U8)


def is_signed(value: Expression) -> bool:
    """Whether a number's type has a sign."""
    return isinstance(value.type, IntType) and value.type.signed
