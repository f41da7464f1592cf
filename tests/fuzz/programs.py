"""Programs that are right by the language's types, made at random: clauses, statements and definitions."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.fuzz.expressions import (
    FLOW,
    IP,
    KINDS,
    MAC,
    NUMBER,
    REASON,
    SHORT,
    STACK,
    SYMBOL,
    TEXT,
    Expressions,
    Function,
    Known,
    PlainMap,
)
from tests.fuzz.places import Place, Places
from xcapscript.pcap.libpcap import PcapError, compile_expression
from xcapscript.unit import LinkType

EXPRESSIONS = Path(__file__).parents[1] / "data" / "expressions.txt"
KEYS = (NUMBER, NUMBER, NUMBER, IP, MAC, FLOW, TEXT, SYMBOL, SHORT, REASON, STACK)
AGGREGATIONS = ("count", "sum", "min", "max", "avg", "stats", "hist", "lhist")
LINEAR = ("0, 1500, 100", "-10, 10, 1", "0, 1000, 1", "5, 10, 5")
OPERATORS = ("+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=")
C_TEXTS = (
    ("static u64 squared(u64 x) { return x * x; }", ("squared", 1)),
    ("static u64 larger(u64 a, u64 b) { return a > b ? a : b; }", ("larger", 2)),
    ("static inline u64 fixed(void)\n{\n\treturn 42;\n}", ("fixed", 0)),
)
CONVERSIONS = ("%d", "%u", "%x", "%-8X", "%016lx", "%+5i", "%p", "%c", "%llu", "%.3d")
PARAMETERS = ("web", "80", "two words")


@cache
def pcap_texts() -> tuple[str, ...]:
    """tcpdump expressions whose opposite libpcap compiles as well: some say that nothing matches."""
    lines = EXPRESSIONS.read_text(encoding="utf-8").splitlines()
    texts = [line for line in lines if line and not line.startswith("#") and "protochain" not in line]
    return tuple(text for text in texts if _compiles(f"not ({text})"))


def _compiles(text: str) -> bool:
    try:
        compile_expression(text, LinkType.EN10MB, netmask=None, resolve_names=False)
    except PcapError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A map of an aggregation: `rest` is what stands behind its value."""

    name: str
    keys: tuple[str, ...]
    aggregation: str
    rest: str = ""


@dataclass(slots=True)
class _Program:
    """Makes one program; `size` bounds how much of everything there is."""

    rng: random.Random
    places: Places
    size: int
    known: Known = field(default_factory=Known)
    aggregates: tuple[Aggregate, ...] = ()
    counted: tuple[str, ...] = ()

    def text(self) -> str:
        rng = self.rng
        keys = [key for key in KEYS if key not in (FLOW, REASON)]
        maps = tuple(
            PlainMap(f"@m{n}", self._keys(keys, rng.randrange(3)), rng.choice([NUMBER, NUMBER, *KINDS]))
            for n in range(rng.randrange(self.size + 1))
        )
        self.aggregates = tuple(self._aggregate(n) for n in range(rng.randrange(self.size + 1)))
        self.counted = self._keys(KEYS, rng.randrange(3))
        texts = rng.sample(C_TEXTS, rng.choice([0, 0, 0, 1, 2]))
        self.known = Known(maps=maps, c_functions=tuple(function for _, function in texts))
        items = [f'c """\n{text}\n"""' for text, _ in texts]
        functions: list[Function] = []
        items += [self._function(f"f{number}", functions) for number in range(rng.choice([0, 0, 1, 2]))]
        self.known = Known(tuple(functions), maps, self.known.c_functions)
        items += [self._clause() for _ in range(rng.randint(1, self.size))]
        items += rng.sample(
            ["option snaplen = 128;", "option max_keys = 100;", 'import "drop";'], rng.choice([0, 0, 1])
        )
        rng.shuffle(items)
        # what is read must be filled: one clause that fills all of the maps
        filled = [f"    {self._filled(this)}\n" for this in maps]
        here = [f"rx {{\n{''.join(filled)}}}"] if filled else []
        return "\n".join([*here, *items]) + "\n"

    def _keys(self, kinds: tuple[str, ...] | list[str], count: int) -> tuple[str, ...]:
        return tuple(self.rng.choice(kinds) for _ in range(count))

    def _filled(self, this: PlainMap) -> str:
        expressions = self._expressions(Place(("rx",), packet=True, socket=True))
        expressions.known = Known()
        value = expressions.of(this.holds, 0)
        # a map that holds a pointer does not count
        value = f"{value} + 0" if this.holds == NUMBER else value
        return f"{expressions.map_with_key(this.name, this.keys)} = {value};"

    def _aggregate(self, number: int) -> Aggregate:
        keys, aggregation = self._keys(KEYS, self.rng.randrange(4)), self.rng.choice(AGGREGATIONS)
        rest = f", {self.rng.choice(LINEAR)}" if aggregation == "lhist" else ""
        return Aggregate(f"@a{number}" if number else "@", keys, aggregation, rest)

    def _expressions(self, place: Place) -> Expressions:
        return Expressions(self.rng, place, self.places, self.known)

    def _function(self, name: str, functions: list[Function]) -> str:
        """A function that can be called everywhere: it asks for no packet."""
        rng = self.rng
        takes = self._keys([kind for kind in KINDS if kind != FLOW], rng.randrange(3))
        gives = rng.choice([NUMBER, NUMBER, *(kind for kind in KINDS if kind != FLOW)])
        inside = self._expressions(Place(("begin",)))
        inside.in_function = True
        inside.scopes = [{f"p{number}": kind for number, kind in enumerate(takes)}]
        statements = _Statements(self, inside, gives)
        body = "\n".join(statements.block(2, rng.randrange(3), 1))
        last = f"    {statements.returned()}"
        functions.append(Function(name, takes, gives))
        parameters = ", ".join(f"$p{number}" for number in range(len(takes)))
        return f"fn {name}({parameters}) {{\n" + (f"{body}\n" if body else "") + f"{last}\n}}"

    def _clause(self) -> str:
        rng, place = self.rng, self.places.choose(self.rng)
        expressions = self._expressions(place)
        head = ", ".join(place.hooks)
        if rng.random() < 0.45:
            head += f" /{self._predicate(expressions)}/"
        if place.packet and rng.random() < 0.05:
            return f"{head};"
        lines = _Statements(self, expressions, None).block(min(3, self.size), rng.randrange(self.size + 3), 1)
        return "\n".join([f"{head} {{", *lines, "}"])

    def _predicate(self, expressions: Expressions) -> str:
        """A tcpdump expression, conditions about the kernel, or both."""
        rng = self.rng
        packet = expressions.place.packet
        if packet and rng.random() < 0.5:
            return rng.choice(pcap_texts())
        parts = [self._condition(expressions, 2) for _ in range(rng.choice([1, 1, 2, 3]))]
        if packet and rng.random() < 0.6:
            parts.insert(rng.randrange(len(parts) + 1), self._pcap())
        if packet and rng.random() < 0.15:
            parts.append(f'inner "{rng.choice([text for text in pcap_texts() if chr(34) not in text])}"')
        return rng.choice([" and ", " && "]).join(parts)

    def _pcap(self) -> str:
        text = self.rng.choice(pcap_texts())
        return f"({text})" if self.rng.random() < 0.7 else f"not ({text})"

    def _condition(self, expressions: Expressions, depth: int) -> str:
        """A condition about the kernel, or several in parentheses."""
        rng, place = self.rng, expressions.place
        chance = rng.random()
        if depth and chance < 0.2:
            return f"{rng.choice(['not', '!'])} ({self._condition(expressions, depth - 1)})"
        if depth and chance < 0.45:
            parts = [self._condition(expressions, depth - 1) for _ in range(rng.choice([2, 3]))]
            parts += [self._pcap()] if place.packet and rng.random() < 0.4 else []
            joint = rng.choice(["or", "and", "||"])
            return f"({f' {joint} '.join(parts)})"
        simple = ["pid == 1", 'comm == "ng*"', 'comm != "ping"', "cpu < 2", "uid & 1 != 0", "nsecs % 2 == 1", "tid > 5"]
        if place.packet:
            simple += ["ip.src in 10.0.0.0/8", "tcp.flags & TCP_SYN != 0", 'ifname == "v*"', "has(tcp)", "mark == 7"]
            simple += ["skb->len > 100", "eth.src == aa:bb:cc:dd:ee:ff", "pid + len > 1500", "ip.src != ip.dst"]
        simple += ["reason == NETFILTER_DROP", "reason != NO_SOCKET"] if place.reason else []
        simple += ["sk.state == LISTEN", "sk.family == 2"] if place.socket else []
        for function in self.known.functions:
            if function.gives == NUMBER and all(map(expressions.can, function.takes)):
                arguments = ", ".join(expressions.of(kind, 0) for kind in function.takes)
                simple.append(f"{function.name}({arguments}) > 3")
        simple += [f"{expressions.map_with_key(m.name, m.keys)} != 0" for m in self.known.maps if m.holds == NUMBER]
        return rng.choice(simple)


@dataclass(slots=True)
class _Statements:
    """Makes the statements of a clause, or of a function that gives a kind of value."""

    program: _Program
    expressions: Expressions
    gives: str | None
    numbers: int = 0

    def block(self, depth: int, count: int, indent: int) -> list[str]:
        """The lines of a block."""
        self.expressions.scopes.append({})
        lines = [line for _ in range(count) for line in self._statement(depth, indent)]
        self.expressions.scopes.pop()
        return lines

    def returned(self) -> str:
        """The end of a function. All of its returns are of one type: numbers have no sign."""
        assert self.gives is not None
        value = self.expressions.of(self.gives, 2)
        return f"return (u64)({value});" if self.gives == NUMBER else f"return {value};"

    def _statement(self, depth: int, indent: int) -> list[str]:
        rng, margin = self.program.rng, "    " * indent
        if depth and rng.random() < 0.25:
            return self._if(depth, indent)
        ways: list[Callable[[], str]] = [
            *[self._variable] * 3,
            *[self._set] * 2,
            *[self._update] * 2,
            *[self._print, self._printf, self._about_map, self._return, self._call, self._count],
        ]
        if self.expressions.place.packet:
            ways += [self._packet] * 3
        return [margin + rng.choice(ways)()]

    def _if(self, depth: int, indent: int) -> list[str]:
        rng, margin = self.program.rng, "    " * indent
        lines, head = [], "if"
        for turn in range(rng.choice([1, 1, 1, 2, 3])):
            condition = self.expressions.truth(3)
            lines.append(f"{margin}{'} else ' if turn else ''}{head} ({condition}) {{")
            lines += self.block(depth - 1, rng.randrange(4), indent + 1)
        if rng.random() < 0.4:
            lines += [f"{margin}}} else {{", *self.block(depth - 1, rng.randrange(4), indent + 1)]
        return [*lines, f"{margin}}}"]

    def _variable(self) -> str:
        rng, made = self.program.rng, self.expressions
        names = made.visible()
        if names and rng.random() < 0.4:
            name = rng.choice(names)
            kind = made.kind_of(name)
            if kind == NUMBER and rng.random() < 0.5:
                return self._changed(f"${name}")
            return f"${name} = {made.of(kind)};"
        kind = rng.choice([kind for kind in (NUMBER, NUMBER, NUMBER, *KINDS) if made.can(kind)])
        value = made.of(kind)
        if kind == NUMBER and rng.random() < 0.5:
            value = f"{value} + 0"
        name = f"x{self.numbers}"
        self.numbers += 1
        made.scopes[-1][name] = kind
        return f"${name} = {value};"

    def _changed(self, target: str) -> str:
        rng = self.program.rng
        if rng.random() < 0.4:
            return rng.choice([f"{target}++;", f"{target}--;", f"++{target};", f"--{target};"])
        return f"{target} {rng.choice(OPERATORS)} {self.expressions.of(NUMBER, 2)};"

    def _set(self) -> str:
        made = self.expressions
        maps = [m for m in self.program.known.maps if all(map(made.can, (*m.keys, m.holds)))]
        if not maps:
            return self._update()
        this = self.program.rng.choice(maps)
        target = made.map_with_key(this.name, this.keys)
        if this.holds == NUMBER and self.program.rng.random() < 0.5:
            return self._changed(target)
        return f"{target} = {made.of(this.holds)};"

    def _update(self) -> str:
        made = self.expressions
        found = [a for a in self.program.aggregates if all(map(made.can, a.keys))]
        if not found:
            return self._variable()
        this = self.program.rng.choice(found)
        value = "" if this.aggregation == "count" else made.of(NUMBER)
        return f"{made.map_with_key(this.name, this.keys)} = {this.aggregation}({value}{this.rest});"

    def _count(self) -> str:
        made = self.expressions
        if not all(map(made.can, self.program.counted)):
            return self._print()
        return f"count({', '.join(map(made.key, self.program.counted))});" if self.program.counted else "count;"

    def _print(self) -> str:
        values = [self.expressions.shown() for _ in range(self.program.rng.choice([1, 1, 2, 3, 8]))]
        # a map alone would be printed as a whole
        values[0] = f'"-", {values[0]}' if values[0].startswith("@") else values[0]
        return f"print({', '.join(values)});"

    def _printf(self) -> str:
        rng, made = self.program.rng, self.expressions
        pieces, values = [], []
        for _ in range(rng.choice([0, 1, 2, 3, 10])):
            if rng.random() < 0.5:
                pieces.append(rng.choice(["%s", "%-10s", "%.3s"]))
                values.append(made.shown())
            else:
                pieces.append(rng.choice(CONVERSIONS))
                values.append(made.of(rng.choice([NUMBER, NUMBER, MAC, SYMBOL]), 2))
        text = " ".join([*pieces, "%%"]) + "\\n"
        return f"printf({', '.join([chr(34) + text + chr(34), *values])});"

    def _about_map(self) -> str:
        rng, made = self.program.rng, self.expressions
        maps = self.program.known.maps
        if not maps:
            return self._print()
        this = rng.choice(maps)
        if rng.random() < 0.4 and all(map(made.can, this.keys)):
            return f"delete({made.map_with_key(this.name, this.keys)});"
        return rng.choice(
            [f"print({this.name});", f"print({this.name}, 5);", f"clear({this.name});", f"zero({this.name});"]
        )

    def _return(self) -> str:
        if self.gives is not None:
            return self.returned()
        return self.program.rng.choice(["return;", "exit;", "exit(3);"])

    def _call(self) -> str:
        made = self.expressions
        functions = [f for f in self.program.known.functions if all(map(made.can, f.takes))]
        if not functions or made.in_function:
            return self._variable()
        this = self.program.rng.choice(functions)
        return f"{this.name}({', '.join(made.of(kind, 2) for kind in this.takes)});"

    def _packet(self) -> str:
        rng = self.program.rng
        ways = [
            "dump;",
            'dump("a.pcapng");',
            'dump("b-$2.pcapng", snaplen=64);',
            "dump(snaplen=100);",
            "print;",
            "hex;",
        ]
        return rng.choice([*ways, "stack;", "stack(3);", "stack(127);"])


def program(seed: int, places: Places) -> str:
    """The program of a seed: most are small, as people write them."""
    rng = random.Random(seed)
    return _Program(rng, places, rng.choice([1, 1, 1, 2, 2, 3, 5])).text()
