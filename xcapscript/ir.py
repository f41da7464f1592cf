"""The resolved program: what is attached where, which maps it has; made by sema, read by codegen."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from xcapscript.builtins import Needs
from xcapscript.layout import Direction
from xcapscript.nodes.expressions import Expression
from xcapscript.nodes.hook import Filter, HookArgument
from xcapscript.nodes.statements import Statement
from xcapscript.source import Span
from xcapscript.types import Type
from xcapscript.unit import Aggregation, Attachment, Buckets, LinkType

REGISTERS = 6
"""Arguments that are in registers on x86-64 (System V ABI); arm64 has eight, of which the same six are used."""


class PacketForm(StrEnum):
    """What a hook's packet is handed over as, named as a binding group names it."""

    SKB = "skb"
    XDP_BUFF = "xdp"
    XDP_FRAME = "frame"
    BUFFER = "buf"
    MBUF = "mbuf"
    MBUFS = "mbufs"


@dataclass(frozen=True, slots=True)
class MbufLayout:
    """Where in a struct rte_mbuf its members are, in bytes."""

    buf_addr: int
    data_off: int
    pkt_len: int
    data_len: int
    next: int


@dataclass(frozen=True, slots=True)
class Packet:
    """Where a hook's packet is: the argument that points at it, and the one that says how long or how many; and how it
    begins, where that is the script's to say, and how DPDK's struct is laid out.
    """

    form: PacketForm
    pointer: HookArgument
    count: HookArgument | None = None
    link: LinkType | None = None
    layout: MbufLayout | None = None


@dataclass(frozen=True, slots=True)
class Hook:
    """An attach point on this kernel: `name` as the script has it, and where its packet and drop reason are.

    `direction` is that of every packet there, where all go the same way; `sock` is where its socket is, `msg` the
    `struct msghdr` with what that is to send; `result` is what the function returned. A packet is made up from the
    socket, or from `request`, a request for a connection; `tcp_flags` are those that it has for sure.
    """

    name: str
    attachment: Attachment
    arguments: tuple[HookArgument, ...] = ()
    packet: Packet | None = None
    reason: HookArgument | None = None
    direction: Direction = Direction.UNKNOWN
    sock: HookArgument | None = None
    msg: HookArgument | None = None
    result: HookArgument | None = None
    request: HookArgument | None = None
    tcp_flags: int = 0

    @property
    def has_packet(self) -> bool:
        """Whether there is a packet, or a socket that one can be made up from."""
        return self.packet is not None or self.sock is not None

    @property
    def skb(self) -> HookArgument | None:
        """The argument that is a `struct sk_buff *`, and the packet."""
        return self.packet.pointer if self.packet is not None and self.packet.form is PacketForm.SKB else None

    def names(self) -> tuple[str, ...]:
        """What each place is called: one name, or with a wildcard those of all its functions."""
        kind, path, functions = self.attachment.kind, self.attachment.path, self.attachment.functions
        if len(functions) < 2:
            return (self.name,)
        return tuple(f"{kind}:{path}:{name}" if path else f"{kind}:{name}" for name in functions)


@dataclass(frozen=True, slots=True)
class Map:
    """An `@map` and the types that its first use gave it; of a plain one, also that of its values."""

    name: str
    keys: tuple[Type, ...]
    aggregation: Aggregation
    signed: bool
    span: Span
    value: Type | None = None
    buckets: Buckets | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """One attach point of one clause: all `conditions` must hold, and all filters match.

    `inner` filters are about the packet inside a tunnel.
    """

    hook: Hook
    conditions: tuple[Expression, ...]
    filter: Filter | None
    inner: tuple[Filter, ...]
    body: tuple[Statement, ...]
    needs: Needs
    span: Span


@dataclass(frozen=True, slots=True)
class CText:
    """C of the script's own."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class ScriptOptions:
    """What the script's `option`s say; None for what they do not."""

    snaplen: int | None = None
    max_keys: int | None = None
    max_probes: int | None = None
    buffer_size: int | None = None
    print_maps: bool = True


@dataclass(frozen=True, slots=True)
class Program:
    """A whole script, its imports included, in the order of their clauses."""

    probes: tuple[Probe, ...]
    maps: tuple[Map, ...]
    c_texts: tuple[CText, ...] = ()
    options: ScriptOptions = field(default_factory=ScriptOptions)
