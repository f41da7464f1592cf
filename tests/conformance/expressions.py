"""The expressions that are tried: those of the unit tests, more of them, long ones, and some made at random."""

from __future__ import annotations

import random
from pathlib import Path

from xcapscript.pcap.libpcap import PcapError, compile_expression
from xcapscript.unit import LinkType

HERE = Path(__file__).parent
FILES = (HERE.parent / "data" / "expressions.txt", HERE / "expressions.txt")
RANDOM, QUICK_RANDOM = 100, 20
SEED = 31

_FIELDS = (
    *("ip[0]", "ip[1]", "ip[2:2]", "ip[4:2]", "ip[6:2]", "ip[8]", "ip[9]", "ip[12:4]", "ip[16:4]", "ip6[6]", "ip6[7]"),
    *("ether[12:2]", "ether[5]", "tcp[0:2]", "tcp[13]", "udp[4:2]", "icmp[0]", "len", "ip[len - 20]", "ether[len / 2]"),
    *("tcp[12] >> 2", "ip[ip[0] & 0xf]", "ip6[4:2]", "tcp[4:4]"),
)
_NUMBERS = (0, 1, 2, 3, 5, 8, 16, 20, 31, 64, 80, 255, 256, 1500, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_RELATIONS = ("=", "!=", "<", ">", "<=", ">=")
_OPERATORS = ("+", "-", "*", "/", "%", "&", "|", "^")


def expressions(*, quick: bool) -> list[str]:
    """All of them, each once, in an order that is always the same."""
    lines = (line for path in FILES for line in path.read_text(encoding="utf-8").splitlines())
    texts = [line for line in lines if line and not line.startswith("#")]
    # `protochain` loops, and the verifier follows each turn: one of them is a load on its own
    atoms = [text for text in texts if "protochain" not in text]
    made = _random_expressions(atoms, QUICK_RANDOM if quick else RANDOM)
    return list(dict.fromkeys([*(LONG[:2] if quick else LONG), *texts, *made]))


def _ipv6_addresses(count: int) -> list[str]:
    rng = random.Random(7)
    return [":".join(f"{rng.randrange(1, 65536):x}" for _ in range(8)) for _ in range(count)]


LONG = (
    "host (" + " or ".join(f"10.{at}.0.{at + 1}" for at in range(100)) + " or 10.0.0.2)",
    "tcp port (" + " or ".join(str(port) for port in range(40, 15000, 100)) + ") or udp port 53",
    "host (" + " or ".join(f"10.{at}.0.{at + 1}" for at in range(200)) + " or 10.0.0.2)",
    "port (" + " or ".join(str(port) for port in range(40, 30040, 100)) + ") or udp port 53",
    "ip6 host (" + " or ".join([*_ipv6_addresses(59), "fe80::1"]) + ")",
    " or ".join(f"udp[{8 + at}:4] = 0x{at:02x}000000" for at in range(200)),
    " or ".join(f"tcp[((tcp[12] & 0xf0) >> 2) + {at}:4] = {0x47455420 + at}" for at in range(60)),
    " + ".join(f"ip[{at}] * (ip[{at + 1}] - ({at} + ip[2:2]))" for at in range(40)) + " > 7",
    "not " * 40 + "tcp",
    "(" * 60 + "ip and (tcp or udp" + ")" * 60 + ") and not port 80",
)


def _random_expressions(atoms: list[str], count: int) -> list[str]:
    """Trees of what libpcap accepts, and comparisons of arithmetic."""
    rng = random.Random(SEED)
    found: list[str] = []
    while len(found) < count:
        text = _boolean(rng, atoms, rng.randrange(1, 5)) if rng.random() < 0.5 else _comparison(rng)
        try:
            compile_expression(text, LinkType.EN10MB)
        except PcapError:
            continue
        found.append(text)
    return found


def _boolean(rng: random.Random, atoms: list[str], depth: int) -> str:
    if depth == 0 or rng.random() < 0.15:
        return f"({rng.choice(atoms)})"
    left, right = (_boolean(rng, atoms, depth - 1) for _ in range(2))
    return f"{rng.choice(('', '', 'not '))}({left} {rng.choice(('and', 'or', 'or'))} {right})"


def _comparison(rng: random.Random) -> str:
    sides = [_arithmetic(rng, rng.randrange(4)) for _ in range(2)]
    return f"{rng.choice(('', 'ip and ', 'tcp or '))}{sides[0]} {rng.choice(_RELATIONS)} {sides[1]}"


def _arithmetic(rng: random.Random, depth: int) -> str:
    if depth == 0:
        return rng.choice(_FIELDS) if rng.random() < 0.6 else str(rng.choice(_NUMBERS))
    if rng.random() < 0.2:
        shift = f"{rng.choice(('<<', '>>'))} {rng.choice((1, 4, 31, 'ip[1]', 'tcp[13]'))}"
        return f"(({_arithmetic(rng, depth - 1)}) {shift})"
    return f"({_arithmetic(rng, depth - 1)} {rng.choice(_OPERATORS)} {_arithmetic(rng, depth - 1)})"
