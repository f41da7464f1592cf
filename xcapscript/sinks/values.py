"""Values as text: each type of the language in the one way in which lines, maps and comments show it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence

from xcapscript.diagnostics import escape
from xcapscript.layout import FLOW, Value
from xcapscript.types import (
    EnumType,
    FlowType,
    InternedType,
    IntType,
    IpType,
    MacType,
    PointerType,
    StackType,
    StringType,
    SymbolType,
    Type,
)
from xcapscript.unit import EventSpec

Resolve = Callable[[tuple[int, ...], int], list[str]]
"""The frames of a stack as text, innermost first: its addresses, and how many frames were asked for."""

PROTOCOLS: Mapping[Value, str] = {
    0: "-",
    1: "ICMP",
    2: "IGMP",
    6: "TCP",
    17: "UDP",
    47: "GRE",
    58: "ICMPv6",
    132: "SCTP",
}

_DROP_REASON = "skb_drop_reason"
_DROP_REASON_PREFIXES = ("SKB_DROP_REASON_", "SKB_")


def text_of(data: bytes) -> str:
    """A string from the kernel, in which nothing can steer a terminal."""
    return escape(data.decode("utf-8", "backslashreplace"))


def label(kind: EnumType, value: int) -> str:
    """The name of an enum's value, or the number where it has none; drop reasons go without their prefix."""
    return labels(kind).get(value, str(value))


def labels(kind: EnumType) -> dict[int, str]:
    """All names of an enum, by value."""
    prefixes = _DROP_REASON_PREFIXES if kind.name == _DROP_REASON else ()
    # The first name of a value counts: kernels append _MAX and the like as a second one.
    return {value: _without(prefixes, name) for value, name in reversed(kind.members)}


def ip_text(data: bytes) -> str:
    """An address as one writes it."""
    address = ipaddress.IPv6Address(data)
    return str(address.ipv4_mapped or address)


def flow_text(data: bytes) -> str:
    """`TCP 10.0.0.1:80 > 10.0.0.2:1024`; of what has no ports, the addresses."""
    src, dst, sport, dport, proto, *_ = FLOW.decode(data)
    assert isinstance(proto, int)
    ends = (_end(address, port, ported=bool(sport or dport)) for address, port in ((src, sport), (dst, dport)))
    return f"{PROTOCOLS.get(proto, f'proto {proto}')} {' > '.join(ends)}"


def _end(address: Value, port: Value, *, ported: bool) -> str:
    """An end of a flow, with its port where the flow has ports."""
    assert isinstance(address, bytes)
    assert isinstance(port, int)
    text = ip_text(address)
    if not ported:
        return text
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def clean(text: str) -> str:
    r"""`text` with bytes of a command line that are no UTF-8, which Python keeps as surrogates, as `\xff`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _own_text(text: str) -> str:
    """A string of the script or its command line: it may have tabs and lines, and nothing else that moves a cursor."""
    return "".join(char if char in "\n\t" else escape(char) for char in text)


class ReasonNames:
    """The names of the drop reasons that each event's packets may have, made once."""

    def __init__(self) -> None:
        self._by_event: dict[int, dict[int, str]] = {}

    def of(self, spec: EventSpec) -> dict[int, str]:
        if spec.id not in self._by_event:
            self._by_event[spec.id] = labels(EnumType(_DROP_REASON, spec.reasons))
        return self._by_event[spec.id]


def _without(prefixes: Sequence[str], name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)), name)


class ValueText:
    """Renders values; `strings` are those of the unit."""

    def __init__(self, strings: Sequence[str], resolve: Resolve) -> None:
        self._strings = strings
        self._resolve = resolve
        self._labels: dict[int, tuple[EnumType, dict[int, str]]] = {}

    def text(self, kind: Type, value: Value) -> str:
        """One line; a stack is one line a frame. A string of the script is shown as it was written."""
        match kind, value:
            case StackType(), tuple():
                return "\n".join(self.frames(kind, value))
            case EnumType(), int():
                return self._names(kind).get(value, str(value))
            case InternedType(), int():
                return _own_text(self._strings[value]) if value < len(self._strings) else str(value)
            case PointerType(), int():
                return f"{value:#x}"
            case IpType(), bytes():
                return ip_text(value)
            case MacType(), int():
                return value.to_bytes(6, "big").hex(":")
            case FlowType(), bytes():
                return flow_text(value)
            case SymbolType(), int():
                return self._symbol(value) if value else "0"
            case _, bytes():
                return text_of(value)
            case _:
                return str(value)

    def data(self, kind: Type, value: Value) -> int | str | list[str]:
        """For programs: an integer is a number, a stack a list of frames, a string without escapes for terminals."""
        match kind, value:
            case IntType(), int():
                return value
            case StackType(), tuple():
                return self.frames(kind, value)
            case StringType(), bytes():
                return value.decode("utf-8", "backslashreplace")
            case InternedType(), int() if value < len(self._strings):
                return clean(self._strings[value])
            case _:
                return clean(self.text(kind, value))

    def frames(self, kind: StackType, addresses: tuple[int, ...]) -> list[str]:
        """The stack's frames, innermost first."""
        return [escape(frame) for frame in self._resolve(addresses, kind.depth)]

    def _symbol(self, address: int) -> str:
        # the resolver takes off what a stack begins with, a program of BPF: as a symbol that has no name
        return escape(next(iter(self._resolve((address,), 1)), f"{address:#x}"))

    def _names(self, kind: EnumType) -> dict[int, str]:
        # By identity: hashing an enum of 100 members takes longer than all else that is done for a line.
        if id(kind) not in self._labels:
            self._labels[id(kind)] = kind, labels(kind)
        return self._labels[id(kind)][1]
