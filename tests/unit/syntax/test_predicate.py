"""What of a predicate is about the kernel, however it is spaced."""

from __future__ import annotations

import pytest

from xcapscript.sema.check import Definitions
from xcapscript.sema.predicate import names_of_the_kernel
from xcapscript.source import Source
from xcapscript.syntax import ast
from xcapscript.syntax.predicate import Chain, Condition, Negated, Part, Pcap, split


def shape(text: str) -> str:
    """K for a condition about the kernel, and tcpdump's own text."""
    return _shape(split(ast.Predicate(text, Source("x", text).span(0, len(text))), names_of_the_kernel(Definitions())))


def _shape(part: Part | None) -> str:
    match part:
        case Condition():
            return "K"
        case Negated(operand):
            return f"not {_shape(operand)}"
        case Chain(operator, operands):
            return f"({f' {operator} '.join(map(_shape, operands))})"
        case Pcap(expression):
            return expression.text
        case None:
            return ""


@pytest.mark.parametrize(
    "text",
    [
        "skb->len > 100",
        "skb -> hash == 1",
        "skb->dev->ifindex == 3",
        "sk->sk_mark == 3",
        "pid-1 == 3",
        "pid%2==0",
        "pid/2 == 1",
        "tcp.dport-1 == 79",
        "args.skb->len == 1",
        r'comm == "\x41\"\\"',
    ],
)
def test_a_condition_is_known_with_blanks_and_without(text: str) -> None:
    assert shape(text) == "K"
    assert shape(f"tcp and {text}") == "(tcp and K)"
    assert shape(f"not {text}") == "not K"


@pytest.mark.parametrize(
    "text",
    [
        "icmp[icmptype] != icmp-echo",
        "tcp[tcpflags]&tcp-syn!=0",
        "len-4>100",
        "host mark-1",
        "host cpu-2 or port 80",
        "ip[2:2]-20 > 100",
        "len > 100 and ifindex 3",
    ],
)
def test_what_is_tcpdumps_stays_so(text: str) -> None:
    assert shape(text) == text
