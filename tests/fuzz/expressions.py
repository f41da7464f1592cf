"""Expressions that are right by the language's types, made at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.fuzz.places import Place, Places
from xcapscript.builtins import BUILTINS, CONSTANTS, LAYERS, PACKET_FIELDS, SOCKET_FIELDS, Needs
from xcapscript.types import EnumType, IntType, IpType, MacType, PointerType, StringType, Type

NUMBER, IP, MAC, FLOW, TEXT, SYMBOL = "number", "ip", "mac", "flow", "text", "symbol"
SHORT, LONG = "string[16]", "string[64]"
KINDS = (NUMBER, IP, MAC, FLOW, TEXT, SYMBOL, SHORT, LONG)
"""What variables, plain maps and functions hold."""

REASON, STACK = "reason", "stack"
"""What can be a key besides."""

LITERALS = (
    *("0", "1", "2", "3", "7", "8", "10", "63", "64", "65", "80", "255", "256", "1500", "65535", "1_000_000", "0x1f"),
    *("0x7fffffff", "0x80000000", "0xffffffff", "0x100000000", "9223372036854775807", "9223372036854775808"),
    *("0xffffffffffffffff", "18446744073709551615", "5ms", "1s", "2h", "10us", "0XaB"),
)
ADDRESSES = ("10.0.0.1", "0.0.0.0", "255.255.255.255", "192.168.1.10", "::1", "fe80::1", "2001:db8:0:1::10", "::")
NETWORKS = (
    "10.0.0.0/8",
    "0.0.0.0/0",
    "192.168.1.128/25",
    "10.0.0.1/32",
    "10.0.0.1",
    "fe80::/10",
    "::/0",
    "2001:db8::/64",
)
MACS = ("aa:bb:cc:dd:ee:ff", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "02:00:00:00:00:01")
TEXTS = ('"a"', '""', '"eth0"', '"ping"', '"x y"', r'"\x41\n\t\"\\"', '"%d"', '"é"', '"//"', '"a;{}"')
WANTED = (
    '"ping"',
    '"ng*"',
    '""',
    '"*"',
    '"eth0"',
    '"kworker*"',
    '"123456789012345"',
    '"12345678*"',
    r'"\x41*"',
    '"1234567"',
)
CASTS = (
    "u8",
    "u16",
    "u32",
    "u64",
    "s8",
    "s16",
    "s32",
    "s64",
    "int32",
    "uint8_t",
    "int64_t",
    "uint16",
    "enum skb_drop_reason",
)
POINTED = ("u8", "u16", "u32", "u64", "s32", "int64_t", "uint8")
ARITHMETIC = ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>")
RELATIONS = ("==", "!=", "<", "<=", ">", ">=")
REASONS = ("NO_SOCKET", "NETFILTER_DROP", "SKB_DROP_REASON_NOT_SPECIFIED", '"TCP_CSUM"', "SKB_CONSUMED")
STATES = ("LISTEN", "TCP_ESTABLISHED", "SYN_SENT", '"CLOSE"')
SOCKET_CAST = ("tcp_sock", "inet_sock", "sock", "inet_connection_sock")


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the script: what it takes and gives."""

    name: str
    takes: tuple[str, ...]
    gives: str


@dataclass(frozen=True, slots=True)
class PlainMap:
    """A map that can be read."""

    name: str
    keys: tuple[str, ...]
    holds: str


@dataclass(slots=True)
class Known:
    """What a program has defined."""

    functions: tuple[Function, ...] = ()
    maps: tuple[PlainMap, ...] = ()
    c_functions: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class Expressions:
    """Makes expressions for one place; `scopes` are the variables that can be seen, by name."""

    rng: random.Random
    place: Place
    places: Places
    known: Known
    scopes: list[dict[str, str]] = field(default_factory=lambda: [{}])
    in_function: bool = False

    def of(self, kind: str, depth: int = 3) -> str:
        """An expression of a kind, as nested as `depth` allows; `can` says whether there is one."""
        ways: list[Callable[[], str]] = [lambda: self._simple(kind, depth)]
        if depth > 0 and kind not in (REASON, STACK):
            ways += [lambda: self._simple(kind, depth)] * (0 if kind == NUMBER else 2)
            ways += [lambda: self._choice(kind, depth), lambda: self._made(kind, depth)]
            ways += [lambda: self._computed(depth)] * (6 if kind == NUMBER else 0)
        return self.rng.choice(ways)()

    def can(self, kind: str) -> bool:
        """Whether there are expressions of that kind here."""
        return {FLOW: self.place.packet, REASON: self.place.reason}.get(kind, True)

    def truth(self, depth: int = 3) -> str:
        """What is true or false."""
        return self.of(MAC if self.rng.random() < 0.02 else NUMBER, depth)

    def key(self, kind: str) -> str:
        """A key of a map: of numbers those without sign, since both are other keys."""
        if kind != NUMBER:
            return self.of(kind, 2)
        own = ("pid", "cpu", "uid", *(("len", "ip.proto", "tcp.dport") if self.place.packet else ()))
        return self.rng.choice(own) if self.rng.random() < 0.5 else f"(u64)({self.of(NUMBER, 2)})"

    def visible(self, kind: str | None = None) -> list[str]:
        """The variables that can be seen, of one kind or of all."""
        seen = {name: held for scope in self.scopes for name, held in scope.items()}
        return [name for name, held in seen.items() if kind in (None, held)]

    def kind_of(self, name: str) -> str:
        """What a variable holds."""
        return next(scope[name] for scope in reversed(self.scopes) if name in scope)

    def _simple(self, kind: str, depth: int) -> str:
        rng = self.rng
        own: list[Callable[[], str]] = []
        names = self.visible(kind)
        if names:
            own += [lambda: f"${rng.choice(names)}"] * 2
        match kind:
            case "number":
                own += [self._atom, self._atom, lambda: rng.choice(LITERALS)]
                own += [lambda: self._structure(IntType | EnumType | PointerType)] if depth > 0 else []
            case "ip":
                own += [lambda: rng.choice(ADDRESSES), *self._fields(IpType)]
            case "mac":
                own += [lambda: rng.choice(MACS), *self._fields(MacType)]
            case "flow":
                own += [lambda: "flow"]
            case "text":
                own += [lambda: rng.choice([*TEXTS, "hook", "func", "$1"])]
            case "symbol":
                own += [lambda: f"ksym({self.of(NUMBER, min(depth, 1) - 1)})"]
            case "string[16]":
                own += [lambda: "comm", *([lambda: "ifname"] if self.place.packet else [])]
                own += [lambda: rng.choice(self._strings(16))] if self._strings(16) else []
            case "string[64]":
                own += [lambda: f"str({self.of(NUMBER, min(depth, 1) - 1)})"]
            case "reason":
                own += [lambda: "reason"]
            case "stack":
                own += [lambda: "kstack(3)"]
        return rng.choice(own)()

    def _fields(self, kind: type[Type]) -> Iterable[Callable[[], str]]:
        if not self.place.packet:
            return []
        names = [row.name for row in PACKET_FIELDS.values() if isinstance(row.type, kind)]
        return [lambda: self.rng.choice(names)] * 2

    def _atom(self) -> str:
        """A number that needs no parentheses."""
        rng = self.rng
        names = [row.name for row in BUILTINS.values() if isinstance(row.type, IntType)]
        pools: list[list[str]] = [[name for name in names if BUILTINS[name].needs <= Needs.NOTHING], list(CONSTANTS)]
        if self.place.packet:
            pools += [names, [row.name for row in PACKET_FIELDS.values() if isinstance(row.type, IntType)]]
            pools += [[f"has({layer})" for layer in LAYERS], ["skb"]]
        if self.place.socket:
            pools += [[f"sk.{name}" for name in SOCKET_FIELDS], ["sk"]]
        if self.place.values:
            pools += [[text for text, kind in self.place.values if not isinstance(kind, StringType)] or ["pid"]]
        pools += [["reason"]] if self.place.reason else []
        pools += [["$2", "$#"]]
        return rng.choice(rng.choice(pools))

    def _strings(self, size: int) -> list[str]:
        return [text for text, kind in self.place.values if kind == StringType(size)]

    def _structure(self, wanted: object) -> str:
        """A member of a kernel structure."""
        roots = [(text, kind) for text, kind in self.place.values if isinstance(kind, PointerType)]
        roots += [("skb", PointerType("struct sk_buff"))] if self.place.packet else []
        roots += [("sk", PointerType("struct sock"))] if self.place.socket else []
        roots += [(f"((struct {name} *)sk)", PointerType(f"struct {name}")) for name in SOCKET_CAST] if roots else []
        roots = [root for root in roots if self.place.socket or "sk)" not in root[0]]
        if not roots:
            return self._atom()
        root, pointer = self.rng.choice(roots)
        found = [path for path, kind in self.places.members(pointer) if isinstance(kind, wanted)]  # type: ignore[arg-type]
        if not found:
            return self._atom()
        path = self.rng.choice(found)
        return root + (path.replace("->", ".") if self.rng.random() < 0.2 else path)

    def _choice(self, kind: str, depth: int) -> str:
        yes, no = self.of(kind, depth - 1), self.of(kind, depth - 1)
        return f"({self.truth(depth - 1)} ? {yes} : {no})"

    def _made(self, kind: str, depth: int) -> str:
        """What a function or a plain map gives."""
        rng = self.rng
        functions = [f for f in self.known.functions if f.gives == kind and all(map(self.can, f.takes))]
        maps = [m for m in self.known.maps if m.holds == kind and all(map(self.can, m.keys))]
        if functions and not self.in_function and rng.random() < 0.5:
            function = rng.choice(functions)
            return f"{function.name}({', '.join(self.of(one, depth - 1) for one in function.takes)})"
        if maps:
            this = rng.choice(maps)
            return self.map_with_key(this.name, this.keys)
        return self._simple(kind, depth - 1)

    def map_with_key(self, name: str, keys: tuple[str, ...]) -> str:
        """A map with a key for it."""
        return f"{name}[{', '.join(map(self.key, keys))}]" if keys else name

    def _computed(self, depth: int) -> str:
        rng, below = self.rng, depth - 1
        ways: list[Callable[[], str]] = [
            *[lambda: self._arithmetic(below)] * 3,
            lambda: self._compared(below),
            lambda: self._compared(below),
            lambda: f"({self.truth(below)} {rng.choice(['&&', '||', 'and', 'or'])} {self.truth(below)})",
            lambda: f"{rng.choice(['!', 'not '])}({self.truth(below)})",
            lambda: f"~({self.of(NUMBER, below)})",
            lambda: f"-({self.rng.choice(['pid', 'cpu', '5', '0x7fffffff'])})",
            lambda: f"-({self._arithmetic(below)})",
            lambda: f"({rng.choice(CASTS)})({self.of(NUMBER, below)})",
            lambda: f"*({rng.choice(POINTED)} *)({self.of(NUMBER, below)})",
            lambda: f"{rng.choice(['ntohs', 'ntohl', 'htons', 'htonl'])}({self.of(NUMBER, below)})",
            lambda: self._structure(IntType | EnumType | PointerType),
        ]
        if self.known.c_functions:
            ways.append(lambda: self._call_c(below))
        return rng.choice(ways)()

    def _call_c(self, depth: int) -> str:
        name, takes = self.rng.choice(self.known.c_functions)
        return f"{name}({', '.join(self.of(NUMBER, depth) for _ in range(takes))})"

    def _arithmetic(self, depth: int) -> str:
        """Operands with parentheses or without, as all of them are numbers."""
        left, right = self._operand(depth), self._operand(depth)
        text = f"{left} {self.rng.choice(ARITHMETIC)} {right}"
        return text if self.rng.random() < 0.3 else f"({text})"

    def _operand(self, depth: int) -> str:
        """A number that binds closer than any operator with two sides."""
        return self._arithmetic(depth - 1) if depth > 0 and self.rng.random() < 0.3 else f"({self.of(NUMBER, depth)})"

    def _compared(self, depth: int) -> str:
        rng = self.rng
        ways: list[Callable[[], str]] = [
            lambda: f"(({self.of(NUMBER, depth)}) + 0 {rng.choice(RELATIONS)} ({self.of(NUMBER, depth)}) + 0)",
            lambda: f"({self._string(depth)} {rng.choice(['==', '!='])} {rng.choice(WANTED)})",
            lambda: f"({self.of(IP, depth)} in {rng.choice(NETWORKS)})",
            lambda: self._same(rng.choice([IP, MAC, TEXT]), depth),
        ]
        ways += [lambda: self._same(FLOW, depth)] if self.place.packet else []
        ways += [lambda: f"(reason {rng.choice(RELATIONS)} {rng.choice(REASONS)})"] if self.place.reason else []
        ways += [lambda: f"({rng.choice(STATES)} == sk.state)"] if self.place.socket else []
        return rng.choice(ways)()

    def _same(self, kind: str, depth: int) -> str:
        return f"({self.of(kind, depth)} {self.rng.choice(['==', '!='])} {self.of(kind, depth)})"

    def _string(self, depth: int) -> str:
        """A string of any size that WANTED fits in."""
        rng = self.rng
        if self.place.packet and rng.random() < 0.2:
            return rng.choice(["skb->cb", "skb->dev->name", "skb.dev.name"])
        kind = rng.choice([SHORT, SHORT, LONG])
        if rng.random() < 0.1 and depth > 0:
            return f"({self.truth(depth - 1)} ? {self.of(SHORT, depth - 1)} : {self.of(LONG, depth - 1)})"
        return self.of(kind, depth)

    def shown(self, depth: int = 2) -> str:
        """A value to print, of any kind."""
        kinds = [kind for kind in (*KINDS, NUMBER, NUMBER, REASON, STACK) if self.can(kind)]
        kind = self.rng.choice(kinds)
        if kind == STACK:
            return self.rng.choice(["kstack", "kstack(1)", "kstack(5)", "kstack()"])
        if self.rng.random() < 0.05:
            return self._structure(StringType)
        return self.of(kind, depth)
