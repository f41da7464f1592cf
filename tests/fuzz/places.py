"""What a program can say at a hook: the hooks tried, their arguments, and the members of structures that are values."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from xcapscript.ir import Hook
from xcapscript.kernel.facts import Kernel
from xcapscript.sema.hooks.tracepoints import raw_tracepoint_hook, tracepoint_hook
from xcapscript.types import (
    ArrayType,
    EnumType,
    IntType,
    PointerType,
    StringType,
    StructType,
    Type,
)
from xcapscript.unit import HookKind

LIBRARY = {"drop": "kfree_skb", "rx": "netif_receive_skb", "tx": "net_dev_start_xmit"}
RAW = (
    *(
        "consume_skb",
        "net_dev_queue",
        "napi_gro_receive_entry",
        "tcp_retransmit_skb",
        "tcp_send_reset",
        "qdisc_dequeue",
    ),
    *("inet_sock_set_state", "sched_switch", "sys_enter", "neigh_update", "sock_rcvqueue_full", "net_dev_xmit"),
)
RECORDS = (
    *(
        "skb:kfree_skb",
        "net:netif_receive_skb",
        "net:net_dev_queue",
        "net:net_dev_start_xmit",
        "tcp:tcp_retransmit_skb",
    ),
    *("sock:inet_sock_set_state", "sched:sched_switch", "syscalls:sys_enter_sendto", "napi:napi_poll"),
    *("sched:sched_process_exec", "tcp:tcp_send_reset", "qdisc:qdisc_dequeue", "skb:consume_skb", "tcp:tcp_probe"),
)
TIMERS = ("begin", "end", "interval:1s", "i:500ms", "interval:hz:4")
LONGEST_PATH = 3
PATHS_A_STRUCT = 400

Value = tuple[str, Type]
"""How a value is written, and its type."""


@dataclass(frozen=True, slots=True)
class Place:
    """One or more hooks, and what can be said at all of them."""

    hooks: tuple[str, ...]
    packet: bool = False
    reason: bool = False
    socket: bool = False
    values: tuple[Value, ...] = ()
    """The arguments of the hook, where it is the only one."""


@dataclass(slots=True)
class Places:
    """The hooks of one kernel."""

    kernel: Kernel
    _members: dict[str, list[Value]] = field(default_factory=dict)

    def choose(self, rng: random.Random) -> Place:
        """The hooks of a clause."""
        chance = rng.random()
        if chance < 0.12:
            return Place((rng.choice(TIMERS),))
        if chance < 0.55:
            names = rng.sample(sorted(LIBRARY), rng.choice([1, 1, 1, 1, 2, 3]))
            return self._joined([(name, self._raw(LIBRARY[name], name)) for name in names])
        if chance < 0.8:
            name = rng.choice(RAW)
            return self._joined([(f"{rng.choice(['rt', 'rawtracepoint'])}:{name}", self._raw(name, name))])
        name = rng.choice(RECORDS)
        return self._joined([(f"{rng.choice(['t', 'tracepoint'])}:{name}", self._record(name))])

    def _raw(self, name: str, shown: str) -> Hook | None:
        facts = self.kernel.raw_tracepoint(name)
        return None if facts is None else raw_tracepoint_hook(facts, shown)

    def _record(self, name: str) -> Hook | None:
        facts = self.kernel.tracepoint(*name.split(":"))
        return None if facts is None else tracepoint_hook(facts, name)

    def _joined(self, hooks: list[tuple[str, Hook | None]]) -> Place:
        """What all of some hooks give; the first of the standard library for what this kernel does not have."""
        found = [(name, hook) for name, hook in hooks if hook is not None]
        if not found:
            return Place(("begin",))
        return Place(
            tuple(name for name, _ in found),
            packet=all(hook.skb is not None for _, hook in found),
            reason=all(hook.reason is not None and _is_drop(hook.reason.type) for _, hook in found),
            socket=all(hook.skb is not None or hook.sock is not None for _, hook in found),
            values=tuple(_arguments(found[0][1])) if len(found) == 1 else (),
        )

    def members(self, pointer: Type) -> list[Value]:
        """The values that can be had behind a pointer: paths, which begin with the arrow."""
        if not isinstance(pointer, PointerType) or not pointer.target.startswith("struct "):
            return []
        if pointer.target not in self._members:
            found = list(self._behind(pointer, "", LONGEST_PATH, random.Random(3)))
            self._members[pointer.target] = random.Random(3).sample(found, min(len(found), PATHS_A_STRUCT))
        return self._members[pointer.target]

    def _behind(self, kind: Type, path: str, steps: int, rng: random.Random) -> Iterator[Value]:
        match kind:
            case IntType() | EnumType() | StringType():
                yield path, kind
            case PointerType(target):
                if path:
                    yield path, kind
                keyword, _, name = target.partition(" ")
                shape = self.kernel.struct(name) if keyword == "struct" and steps else None
                for member in shape.members if shape is not None else ():
                    yield from self._behind(member.type, f"{path}->{member.name}", steps - 1, rng)
            case StructType() if steps:
                shape = self.kernel.struct_of(kind)
                for member in shape.members if shape is not None else ():
                    yield from self._behind(member.type, f"{path}.{member.name}", steps - 1, rng)
            case ArrayType(element, length) if length:
                yield from self._behind(element, f"{path}[{rng.randrange(length)}]", steps, rng)
                if length < 100 and isinstance(element, IntType):
                    yield f"{path}[cpu % {length}]", element


def _is_drop(kind: Type) -> bool:
    return isinstance(kind, EnumType) and kind.name == "skb_drop_reason"


def _arguments(hook: Hook) -> Iterator[Value]:
    """The arguments that are values, by name and, of raw tracepoints, by number."""
    for argument in hook.arguments:
        if isinstance(argument.type, IntType | EnumType | PointerType | StringType):
            yield f"args.{argument.name}", argument.type
            if hook.attachment.kind is HookKind.RAWTRACEPOINT and argument.place < 12:
                yield f"arg{argument.place}", argument.type
