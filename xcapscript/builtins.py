"""The tables of the language's values, options and functions: a row is a name, a type, a C helper, and its doc."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from xcapscript.types import (
    IFNAME,
    TASK_COMM,
    U8,
    U16,
    U32,
    U64,
    EnumType,
    InternedType,
    IntType,
    IpType,
    MacType,
    StringType,
)


class Needs(IntEnum):
    """How much of a hit must be read before a value can be had; each level includes those before it."""

    NOTHING = 0
    SKB = 1
    PACKET = 2
    LAYERS = 3


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
        Builtin("gid", U32, "xcap_gid", Needs.NOTHING, "group id of the running task"),
        Builtin("comm", TASK_COMM, "xcap_comm", Needs.NOTHING, "name of the running task"),
        Builtin("cpu", U32, "xcap_cpu", Needs.NOTHING, "number of the CPU"),
        Builtin("cgroup", U64, "xcap_cgroup", Needs.NOTHING, "id of the running task's cgroup (version 2)"),
        Builtin("elapsed", U64, "xcap_elapsed", Needs.NOTHING, "ns since the run began"),
        Builtin("nsecs", U64, "xcap_nsecs", Needs.NOTHING, "time of the hit, ns since boot (CLOCK_MONOTONIC)"),
        Builtin("hook", InternedType(), None, Needs.NOTHING, "the hook, as the script names it"),
        Builtin("func", InternedType(), None, Needs.NOTHING, "name of the function or tracepoint, else of the hook"),
        Builtin(
            "netns", U32, "xcap_netns", Needs.SKB, "inode of the network namespace, as in /proc/PID/ns/net (0: unknown)"
        ),
        Builtin("ifname", IFNAME, "xcap_ifname", Needs.SKB, "name of the network interface (empty: none)"),
        Builtin("ifindex", U32, "xcap_ifindex", Needs.SKB, "index of the network interface (0: none)"),
        Builtin("mark", U32, "xcap_mark", Needs.SKB, "the packet's mark (skb->mark)"),
        Builtin("queue", U32, "xcap_queue", Needs.SKB, "the device's queue (skb->queue_mapping)"),
        Builtin(
            "caplen",
            U32,
            "xcap_caplen",
            Needs.PACKET,
            "bytes of it that are kept: all that can be read, at most -s",
        ),
        Builtin("len", U32, "xcap_len", Needs.PACKET, "bytes of the packet on the wire, with its link header"),
    )
}

REASON = "reason"
REASON_DOC = "why the packet was dropped (enum skb_drop_reason), at hooks that say so"
REASON_ENUM = "skb_drop_reason"


@dataclass(frozen=True, slots=True)
class PacketField:
    """A field of a packet in host order; `helper` is a C function of the packet's view and layers."""

    name: str
    type: IntType | IpType | MacType
    helper: str
    doc: str


def _field(name: str, kind: IntType | IpType | MacType, doc: str) -> PacketField:
    return PacketField(name, kind, f"xcap_{name.replace('.', '_')}", doc)


PACKET_FIELDS = {
    row.name: row
    for row in (
        _field("eth.src", MacType(), "source of the Ethernet frame"),
        _field("eth.dst", MacType(), "destination of the Ethernet frame"),
        _field("eth.type", U16, "what follows the Ethernet header: 0x0800, 0x8100 where there is a VLAN tag, ..."),
        _field("vlan.id", U16, "id of the outer VLAN tag"),
        _field("vlan.pcp", U8, "priority of the outer VLAN tag"),
        _field("arp.op", U16, "1 for a request, 2 for a reply"),
        _field("arp.src", IpType(), "the sender's protocol address"),
        _field("arp.dst", IpType(), "the target's protocol address"),
        _field("arp.mac", MacType(), "the sender's hardware address"),
        _field("ip.src", IpType(), "source, IPv4 or IPv6"),
        _field("ip.dst", IpType(), "destination, IPv4 or IPv6"),
        _field("ip.version", U8, "4 or 6"),
        _field("ip.proto", U8, "the protocol above: behind IPv6's extension headers"),
        _field("ip.ttl", U8, "time to live; IPv6's hop limit"),
        _field("ip.tos", U8, "type of service; IPv6's traffic class"),
        _field("ip.len", U16, "length in bytes with the IP header; IPv6: payload length and 40"),
        _field("ip.id", U16, "IPv4's identification"),
        _field("tcp.sport", U16, "source port"),
        _field("tcp.dport", U16, "destination port"),
        _field("tcp.seq", U32, "sequence number"),
        _field("tcp.ack", U32, "acknowledged sequence number"),
        _field("tcp.flags", U8, "FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128"),
        _field("tcp.window", U16, "window, not scaled"),
        _field("udp.sport", U16, "source port"),
        _field("udp.dport", U16, "destination port"),
        _field("udp.len", U16, "length in bytes with the UDP header"),
        _field("icmp.type", U8, "of ICMP and ICMPv6"),
        _field("icmp.code", U8, "of ICMP and ICMPv6"),
    )
}

LAYERS = ("eth", "vlan", "arp", "ip", "ip6", "tcp", "udp", "icmp", "frag")
"""What has() asks for; the order is that of `enum xcap_layer`. `frag` is a fragment."""

RETVAL = "retval"
RETVAL_DOC = "what the function returned"

ACTION = "action"
ACTION_DOC = (
    "what becomes of the packet: at xdp and tc hooks our own answer, which lets it pass; at tracepoints of XDP "
    "(xdp_error) what its program said"
)
XDP_ACTION = EnumType("xdp_action", tuple(enumerate(f"XDP_{n}" for n in ["ABORTED", "DROP", "PASS", "TX", "REDIRECT"])))
TC_ACTION = EnumType("tc_action", ((0xFFFFFFFF, "TC_ACT_UNSPEC"), (0, "TC_ACT_OK"), (2, "TC_ACT_SHOT")))
"""include/uapi/linux/bpf.h; include/uapi/linux/pkt_cls.h, where they have no name. TC_ACT_UNSPEC is -1."""

FLOW = "flow"
FLOW_DOC = "protocol, addresses and ports of the packet"

_TCP_STATES = (
    *("ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"),
    *("CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV"),
)
TCP_STATE = EnumType("tcp_state", tuple(enumerate(_TCP_STATES, 1)))
"""include/net/tcp_states.h, where it has no name."""

STATE_PREFIXES = ("TCP_",)

SMALL_STATES = (6, 12)
"""TIME_WAIT and NEW_SYN_RECV: what has these is no whole struct sock (sk_fullsock() in include/net/sock.h)."""


@dataclass(frozen=True, slots=True)
class SocketField:
    """A short name for what lies deep in a socket: the path from struct sock, and the type that it is shown as.

    What is not in `__sk_common` is only there in whole sockets; `otherwise` is its value in TIME_WAIT and in requests.
    """

    name: str
    path: tuple[str, ...]
    doc: str
    type: EnumType | None = None
    swapped: bool = False
    otherwise: int = 0


SOCKET_FIELDS = {
    row.name: row
    for row in (
        SocketField("state", ("__sk_common", "skc_state"), "state of the connection, by name", type=TCP_STATE),
        SocketField("family", ("__sk_common", "skc_family"), "2 for IPv4, 10 for IPv6"),
        SocketField("sport", ("__sk_common", "skc_num"), "local port"),
        SocketField("dport", ("__sk_common", "skc_dport"), "remote port", swapped=True),
        SocketField("uid", ("sk_uid", "val"), "user id of the socket's owner", otherwise=0xFFFFFFFF),
        SocketField("netns", ("__sk_common", "skc_net", "net", "ns", "inum"), "inode of its namespace"),
        SocketField("mark", ("sk_mark",), "the socket's mark"),
        SocketField("protocol", ("sk_protocol",), "6 for TCP, 17 for UDP", otherwise=6),
    )
}

CONSTANTS = {
    **{f"TCP_{name}": value for value, name in TCP_STATE.members},
    "IPPROTO_ICMP": 1,
    "IPPROTO_TCP": 6,
    "IPPROTO_UDP": 17,
    "IPPROTO_GRE": 47,
    "IPPROTO_ICMPV6": 58,
    "ETH_P_IP": 0x0800,
    "ETH_P_ARP": 0x0806,
    "ETH_P_8021Q": 0x8100,
    "ETH_P_IPV6": 0x86DD,
    "AF_UNIX": 1,
    "AF_INET": 2,
    "AF_INET6": 10,
    "AF_NETLINK": 16,
    "AF_PACKET": 17,
    "AF_XDP": 44,
    "TCP_FIN": 1,
    "TCP_SYN": 2,
    "TCP_RST": 4,
    "TCP_PSH": 8,
    "TCP_ACK": 16,
    "TCP_URG": 32,
    "true": 1,
    "false": 0,
    "NULL": 0,
}
"""Names of numbers that the kernel's headers have."""


@dataclass(frozen=True, slots=True)
class OptionRow:
    """An `option NAME = value;`: numbers lie between `low` and `high`."""

    name: str
    low: int
    high: int
    doc: str


OPTIONS = {
    row.name: row
    for row in (
        OptionRow("snaplen", 0, 1 << 31, "bytes kept of each dumped packet, as -s; 0 for all"),
        OptionRow("max_probes", 1, 8192, "functions that a wildcard may match; more are an error (8192)"),
        OptionRow("max_keys", 1, 10_000_000, "keys that each map has room for (10240)"),
        OptionRow("buffer_size", 4096, 1 << 30, "bytes of the buffer between kernel and user space (32 MiB)"),
        OptionRow("print_maps", 0, 1, "whether maps are printed at the end (true)"),
    )
}
