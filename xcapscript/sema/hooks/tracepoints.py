"""Tracepoints and raw tracepoints: which of their arguments is the packet, the socket, the drop reason."""

from __future__ import annotations

from dataclasses import replace

from xcapscript.builtins import REASON_ENUM, TCP_STATE
from xcapscript.ir import Hook, Packet, PacketForm
from xcapscript.kernel.facts import RawTracepoint, Tracepoint
from xcapscript.layout import Direction
from xcapscript.nodes.hook import HookArgument
from xcapscript.sema.hooks.bindings import SKB as SKB_NAME
from xcapscript.sema.hooks.bindings import SOCK as SOCK_NAME
from xcapscript.sema.hooks.bindings import Bindings
from xcapscript.sema.hooks.sockets import direction_of, request_of, tcp_flags_of
from xcapscript.types import S32, EnumType, PointerType, Type
from xcapscript.unit import Attachment, HookKind

DIRECTIONS = {
    **dict.fromkeys(("net_dev_queue", "net_dev_start_xmit", "net_dev_xmit"), Direction.OUTBOUND),
    **dict.fromkeys(
        ("netif_rx", "netif_rx_entry", "netif_receive_skb", "netif_receive_skb_entry", "netif_receive_skb_list_entry"),
        Direction.INBOUND,
    ),
    **dict.fromkeys(("napi_gro_receive_entry", "napi_gro_frags_entry"), Direction.INBOUND),
}
"""Tracepoints that all packets pass one way, which the packets themselves don't say there yet (net/core/dev.c)."""

SKB, SOCK = "struct sk_buff", "struct sock"
SOCK_FIELDS = ("skaddr", "sk")
STATES = frozenset({"oldstate", "newstate", "state"})
SET_STATE = "inet_sock_set_state"
SKB_FIELDS = ("skbaddr", "skb")
"""Tracepoint records hold the packet as `void *` under these names (include/trace/events/{skb,net,napi,...}.h)."""


def raw_tracepoint_hook(facts: RawTracepoint, shown: str) -> Hook:
    """A raw tracepoint: its packet is the argument that BTF calls `struct sk_buff *`."""
    states = facts.name == SET_STATE
    arguments = tuple(
        HookArgument(a.name, _named(a.name, a.type) if states else a.type, index)
        for index, a in enumerate(facts.arguments)
    )
    skb = next((a for a in arguments if a.type == PointerType(SKB)), None)
    attachment = Attachment(HookKind.RAWTRACEPOINT, facts.name)
    # rx_sk is NULL but for what a socket itself drops: the packet knows its socket better
    sock = next((a for a in arguments if a.type == PointerType(SOCK) and a.name != "rx_sk"), None)
    return _hook(facts.name, Hook(shown, attachment, arguments, _packet(skb), reason_of(arguments), sock=sock))


def bound(hook: Hook, bindings: Bindings) -> Hook:
    """The same hook, with the packet or the socket that a binding group says."""
    skb = bindings.argument(SKB_NAME, hook.arguments, len(hook.arguments))
    sock = bindings.argument(SOCK_NAME, hook.arguments, len(hook.arguments))
    packet = _packet(skb) if skb or sock else hook.packet
    return replace(hook, packet=packet, sock=sock or hook.sock)


def tracepoint_hook(facts: Tracepoint, shown: str) -> Hook:
    """A tracepoint: its packet is the field that tracepoints of the network stack keep it in."""
    arguments = tuple(HookArgument(f.name, _named(f.name, f.type), f.offset) for f in facts.fields if not f.dynamic)
    skb = next((a for a in arguments if a.name in SKB_FIELDS and isinstance(a.type, PointerType)), None)
    attachment = Attachment(HookKind.TRACEPOINT, f"{facts.category}:{facts.name}", facts.id)
    sock = next((a for a in arguments if a.name in SOCK_FIELDS and isinstance(a.type, PointerType)), None)
    return _hook(facts.name, Hook(shown, attachment, arguments, _packet(skb), reason_of(arguments), sock=sock))


def reason_of(arguments: tuple[HookArgument, ...]) -> HookArgument | None:
    """The argument that says why the packet was dropped."""
    return next((a for a in arguments if isinstance(a.type, EnumType) and a.type.name == REASON_ENUM), None)


def _packet(skb: HookArgument | None) -> Packet | None:
    return None if skb is None else Packet(PacketForm.SKB, skb)


def _named(name: str, kind: Type) -> Type:
    """Tracepoints give TCP states as integers (include/trace/events/{sock,tcp}.h)."""
    return TCP_STATE if name in STATES and kind == S32 else kind


def _hook(tracepoint: str, hook: Hook) -> Hook:
    """The hook with what its tracepoint's name tells."""
    if hook.sock is None:
        return replace(hook, direction=DIRECTIONS.get(tracepoint, Direction.UNKNOWN))
    request = request_of(hook.arguments)
    return replace(hook, direction=direction_of(tracepoint), request=request, tcp_flags=tcp_flags_of(tracepoint))
