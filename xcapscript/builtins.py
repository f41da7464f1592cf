"""The table of the language's builtin values: a row is a name, a type, a C helper, what it needs, and its doc."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from xcapscript.types import IFNAME, TASK_COMM, U32, U64, InternedType, IntType, StringType


class Needs(IntEnum):
    """How much of a hit must be read before a value can be had; each level includes those before it."""

    NOTHING = 0
    SKB = 1
    PACKET = 2


@dataclass(frozen=True, slots=True)
class Builtin:
    """A builtin value.

    A number's `helper` is a C function of the hit that returns it; a string's takes the hit and where to write.
    A builtin without a helper is known when the program is made.
    """

    name: str
    type: IntType | StringType | InternedType
    helper: str | None
    needs: Needs
    doc: str


BUILTINS = {
    row.name: row
    for row in (
        Builtin(
            "pid",
            U32,
            "xcap_pid",
            Needs.NOTHING,
            "process id of the running task (in receive paths: whoever was interrupted)",
        ),
        Builtin("tid", U32, "xcap_tid", Needs.NOTHING, "thread id of the running task"),
        Builtin("uid", U32, "xcap_uid", Needs.NOTHING, "user id of the running task"),
        Builtin("comm", TASK_COMM, "xcap_comm", Needs.NOTHING, "name of the running task"),
        Builtin("cpu", U32, "xcap_cpu", Needs.NOTHING, "number of the CPU"),
        Builtin("nsecs", U64, "xcap_nsecs", Needs.NOTHING, "time of the hit, ns since boot (CLOCK_MONOTONIC)"),
        Builtin("hook", InternedType(), None, Needs.NOTHING, "the hook, as the script names it"),
        Builtin("func", InternedType(), None, Needs.NOTHING, "the kernel's name of the tracepoint"),
        Builtin(
            "netns", U32, "xcap_netns", Needs.SKB, "inode of the network namespace, as in /proc/PID/ns/net (0: unknown)"
        ),
        Builtin("ifname", IFNAME, "xcap_ifname", Needs.SKB, "name of the network interface (empty: none)"),
        Builtin("ifindex", U32, "xcap_ifindex", Needs.SKB, "index of the network interface (0: none)"),
        Builtin("len", U32, "xcap_len", Needs.PACKET, "bytes of the packet on the wire, with its link header"),
    )
}

REASON = "reason"
REASON_DOC = "why the packet was dropped (enum skb_drop_reason), at hooks that say so"
REASON_ENUM = "skb_drop_reason"
