"""Completion of binding groups, `kprobe:f(skb=arg1)`: what can be bound at a hook, and the arguments that it can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xcapscript.ir import REGISTERS
from xcapscript.kernel.facts import Argument, Kernel
from xcapscript.sema.hooks.bindings import FRAME, MSG, SKB, SOCK, XDP
from xcapscript.sema.hooks.buffers import BUF, LEN, LINK, LINKS
from xcapscript.sema.hooks.functions import TARGET
from xcapscript.sema.hooks.mbufs import COUNT, MBUF, MBUFS, MEMBERS
from xcapscript.sema.hooks.resolve import SHORT_NAMES
from xcapscript.types import StructType

FUNCTIONS = frozenset({"kprobe", "kretprobe", "fentry", "fexit"})
RAW, USER_RETURN = "rawtracepoint", "uretprobe"

STRUCTS = {
    SKB: "struct sk_buff *",
    XDP: "struct xdp_buff *",
    FRAME: "struct xdp_frame *",
    SOCK: "struct sock *",
    MSG: "struct msghdr *",
}
"""What a name must point to, of those of the kernel."""

OF_FUNCTIONS = {
    SKB: f"{STRUCTS[SKB]}: the packet",
    XDP: f"{STRUCTS[XDP]}: the packet",
    FRAME: f"{STRUCTS[FRAME]}: the packet",
    SOCK: f"{STRUCTS[SOCK]}: a socket, from which headers are made up",
    MSG: f"{STRUCTS[MSG]}: what the socket is to send",
}
OF_TRACEPOINTS = {SKB: OF_FUNCTIONS[SKB], SOCK: OF_FUNCTIONS[SOCK]}
OF_PROGRAMS = {
    BUF: "where the packet is, in the program's memory",
    LEN: "how long it is",
    LINK: f"what it begins with: {' or '.join(LINKS)}",
    MBUF: "struct rte_mbuf *: DPDK's packet",
    MBUFS: "struct rte_mbuf **: DPDK's packets, in a burst",
    COUNT: "how many they are",
    **dict.fromkeys(MEMBERS, "where that is in struct rte_mbuf, in bytes"),
}
BY_KIND: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(FUNCTIONS, OF_FUNCTIONS),
    RAW: OF_TRACEPOINTS,
    **dict.fromkeys(("uprobe", USER_RETURN, "usdt"), OF_PROGRAMS),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What was typed of a word, what it can be, and of what type it should be, if there is one."""

    word: str
    table: Mapping[str, str]
    type: str = ""


def in_group(attach: str, group: str, kernel: Kernel) -> Choice:
    """The last word of a binding group up to the cursor."""
    kind, _, target = attach.partition(":")
    kind = SHORT_NAMES.get(kind, kind)
    *before, last = group.split(",")
    name, equals, value = last.partition("=")
    if not equals:
        given = {one.partition("=")[0].strip() for one in before}
        names = BY_KIND.get(kind, {})
        return Choice(last.lstrip(), {name: doc for name, doc in names.items() if name not in given})
    name = name.strip()
    return Choice(value.lstrip(), _values(kind, target, name, kernel), STRUCTS.get(name, ""))


def _values(kind: str, target: str, name: str, kernel: Kernel) -> Mapping[str, str]:
    """What a name can be bound to."""
    if name not in BY_KIND.get(kind, {}) or name in MEMBERS:
        return {}
    if name == LINK:
        return dict.fromkeys(LINKS, "what the packet begins with")
    positions = {f"arg{place}": "argument" for place in range(REGISTERS)}
    if kind in FUNCTIONS or kind == RAW:
        arguments = _arguments(kind, target, kernel)
        by_name = {one.name: str(one.type) for one in arguments}
        by_place = {f"arg{place}": str(one.type) for place, one in enumerate(arguments)}
        return (by_name | by_place) or positions
    return positions | ({"retval": "what it returns"} if kind == USER_RETURN else {})


def _arguments(kind: str, target: str, kernel: Kernel) -> list[Argument]:
    """Those that can be reached; none if the hook is a pattern, or is not known."""
    if kind == RAW:
        tracepoint = kernel.raw_tracepoint(target)
        return list(tracepoint.arguments) if tracepoint is not None else []
    parts = TARGET.fullmatch(target)
    function = kernel.function(parts["name"], parts["module"] or "") if parts is not None else None
    found: list[Argument] = []
    for argument in (function.arguments or ())[:REGISTERS] if function is not None else ():
        if isinstance(argument.type, StructType):  # it takes several places
            break
        found.append(argument)
    return found
