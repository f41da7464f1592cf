"""Hooks that have a socket: which way a packet goes that is made up from it, and what such a packet is sure to say."""

from __future__ import annotations

from xcapscript.builtins import CONSTANTS
from xcapscript.layout import Direction
from xcapscript.nodes.hook import HookArgument
from xcapscript.types import PointerType

RECEIVING = frozenset({"rcv", "recv", "recvmsg", "receive", "read", "readable", "rx", "ready"})
"""Words in the names of functions and tracepoints that tell of what a socket has received."""

RECEIVERS = frozenset({"tcp_reset", "tcp_cleanup_rbuf"})
"""Those that are called otherwise."""

RST, ACK = CONSTANTS["TCP_RST"], CONSTANTS["TCP_ACK"]
TCP_FLAGS = {
    # tcp_send_active_reset() sends both, and is where the tracepoint has no packet
    **dict.fromkeys(("tcp_send_reset", "tcp_send_active_reset"), RST | ACK),
    **dict.fromkeys(("tcp_receive_reset", "tcp_reset"), RST),
}
"""What a segment has for sure (net/ipv4/tcp_output.c, tcp_input.c)."""

REQUEST, REQUEST_FIELD = "struct request_sock", "req"


def direction_of(name: str) -> Direction:
    """The direction of what is made up at a function or tracepoint of that name, unknown where it is this side's."""
    received = name in RECEIVERS or not RECEIVING.isdisjoint(name.split("_"))
    return Direction.INBOUND if received else Direction.UNKNOWN


def tcp_flags_of(name: str) -> int:
    """The flags that a TCP segment has there for sure."""
    return TCP_FLAGS.get(name, 0)


def request_of(arguments: tuple[HookArgument, ...]) -> HookArgument | None:
    """The argument that is a request for a connection: it knows the other end, which its listening socket does not."""
    return next((a for a in arguments if a.type == PointerType(REQUEST) or _is_field(a)), None)


def _is_field(argument: HookArgument) -> bool:
    """Records of tracepoints hold it as `const void *` (include/trace/events/tcp.h)."""
    return argument.name == REQUEST_FIELD and isinstance(argument.type, PointerType)
