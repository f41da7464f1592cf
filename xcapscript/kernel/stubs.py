"""The fixed part of the header tree that BCC compiles against: what BCC's own headers include, and the macros that
BTF does not know, since it holds types only. Values are those of the kernel's uapi headers named beside them.
"""

from __future__ import annotations

_CONFIGURATION = {
    "x86_64": ("CONFIG_X86", "CONFIG_X86_64"),
    "aarch64": ("CONFIG_ARM64",),
}

# What pasted BCC programs include; the types are there without them.
_EMPTY = (
    *(f"linux/{name}.h" for name in ("bpf", "bpf_common", "icmp", "if_arp", "if_ether", "if_packet", "if_vlan", "in")),
    *(f"linux/{name}.h" for name in ("in6", "ip", "ipv6", "kernel", "netdevice", "nsproxy", "ptrace", "sched")),
    *(f"linux/{name}.h" for name in ("skbuff", "socket", "stddef", "tcp", "udp")),
    *(f"net/{name}.h" for name in ("inet_sock", "ip", "ipv6", "net_namespace", "sock", "tcp", "udp", "xdp")),
    *(f"uapi/linux/{name}.h" for name in ("bpf", "icmp", "if_arp", "if_ether", "if_packet", "if_vlan", "in")),
    *(f"uapi/linux/{name}.h" for name in ("in6", "ip", "ipv6", "ptrace", "tcp", "udp")),
)

_TYPES = """\
#pragma once
#define __aligned_u64 __u64 __attribute__((aligned(8)))
typedef unsigned long uintptr_t;
"""

_LOG2 = """\
#pragma once
#define roundup_pow_of_two(n) ((n) <= 1 ? 1u : 1u << (32 - __builtin_clz((n) - 1)))
"""

_LANGUAGE = """\
#define NULL ((void *)0)
#define true 1
#define false 0
#define offsetof(type, member) __builtin_offsetof(type, member)
#define __always_inline inline __attribute__((always_inline))
#define __packed __attribute__((packed))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
"""

# BCC makes a read of kernel memory of `skb->protocol`, but not where it is the argument of a macro: so what takes such
# values is a function. What makes constants is a macro, for `case htons(ETH_P_IP):`.
_BYTE_ORDER = """\
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define htons(x) __builtin_bswap16(x)
#define htonl(x) __builtin_bswap32(x)
#define cpu_to_be64(x) __builtin_bswap64(x)
#else
#define htons(x) ((__u16)(x))
#define htonl(x) ((__u32)(x))
#define cpu_to_be64(x) ((__u64)(x))
#endif
#define cpu_to_be16(x) htons(x)
#define cpu_to_be32(x) htonl(x)
static __always_inline __u16 ntohs(__be16 x) { return htons(x); }
static __always_inline __u32 ntohl(__be32 x) { return htonl(x); }
static __always_inline __u16 be16_to_cpu(__be16 x) { return htons(x); }
static __always_inline __u32 be32_to_cpu(__be32 x) { return htonl(x); }
static __always_inline __u64 be64_to_cpu(__be64 x) { return cpu_to_be64(x); }
"""

_CONSTANTS = {
    "TASK_COMM_LEN": 16,
    # linux/if.h, linux/if_ether.h, linux/if_vlan.h
    "IFNAMSIZ": 16,
    "ETH_ALEN": 6,
    "ETH_HLEN": 14,
    "VLAN_HLEN": 4,
    "ETH_P_802_3": 0x0001,
    "ETH_P_ALL": 0x0003,
    "ETH_P_802_2": 0x0004,
    "ETH_P_IP": 0x0800,
    "ETH_P_ARP": 0x0806,
    "ETH_P_TEB": 0x6558,
    "ETH_P_RARP": 0x8035,
    "ETH_P_8021Q": 0x8100,
    "ETH_P_IPV6": 0x86DD,
    "ETH_P_PAUSE": 0x8808,
    "ETH_P_SLOW": 0x8809,
    "ETH_P_MPLS_UC": 0x8847,
    "ETH_P_MPLS_MC": 0x8848,
    "ETH_P_PPP_DISC": 0x8863,
    "ETH_P_PPP_SES": 0x8864,
    "ETH_P_PAE": 0x888E,
    "ETH_P_8021AD": 0x88A8,
    "ETH_P_LLDP": 0x88CC,
    "ETH_P_MACSEC": 0x88E5,
    "ETH_P_1588": 0x88F7,
    "ETH_P_ERSPAN": 0x88BE,
    "ETH_P_NSH": 0x894F,
    "ETH_P_LOOPBACK": 0x9000,
    # linux/socket.h
    "AF_UNSPEC": 0,
    "AF_UNIX": 1,
    "AF_INET": 2,
    "AF_INET6": 10,
    "AF_NETLINK": 16,
    "AF_PACKET": 17,
    "AF_VSOCK": 40,
    "AF_XDP": 44,
    # linux/in.h, linux/in6.h; an enum there
    "IPPROTO_IP": 0,
    "IPPROTO_HOPOPTS": 0,
    "IPPROTO_ICMP": 1,
    "IPPROTO_IGMP": 2,
    "IPPROTO_IPIP": 4,
    "IPPROTO_TCP": 6,
    "IPPROTO_UDP": 17,
    "IPPROTO_DCCP": 33,
    "IPPROTO_IPV6": 41,
    "IPPROTO_ROUTING": 43,
    "IPPROTO_FRAGMENT": 44,
    "IPPROTO_GRE": 47,
    "IPPROTO_ESP": 50,
    "IPPROTO_AH": 51,
    "IPPROTO_ICMPV6": 58,
    "IPPROTO_NONE": 59,
    "IPPROTO_DSTOPTS": 60,
    "IPPROTO_PIM": 103,
    "IPPROTO_SCTP": 132,
    "IPPROTO_UDPLITE": 136,
    "IPPROTO_MPLS": 137,
    "IPPROTO_RAW": 255,
    # net/tcp_states.h; an enum there
    **{
        f"TCP_{state}": number
        for number, state in enumerate(
            (
                *("ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"),
                *("CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV"),
            ),
            1,
        )
    },
}

# net/sock.h: names of members of struct sock that lie in its __sk_common.
_SOCK_COMMON = (
    *("addrpair", "daddr", "rcv_saddr", "portpair", "dport", "num", "family", "state", "hash", "refcnt", "prot"),
    *("reuse", "reuseport", "ipv6only", "net_refcnt", "bound_dev_if", "net", "cookie", "flags", "incoming_cpu"),
    *("v6_daddr", "v6_rcv_saddr", "tx_queue_mapping", "rx_queue_mapping"),
)
# net/inet_sock.h: likewise of struct inet_sock.
_INET_SOCK = {"daddr": "daddr", "rcv_saddr": "rcv_saddr", "dport": "dport", "num": "num"}


def files(machine: str, page_size: int, version: tuple[int, int, int]) -> dict[str, str]:
    """The files by their path below `include`; linux/kconfig.h, which BCC includes first, includes kernel_types.h."""
    major, minor, patch = version
    return {
        **dict.fromkeys(_EMPTY, "#pragma once\n"),
        "linux/kconfig.h": _configuration(machine),
        "linux/types.h": _TYPES,
        "linux/log2.h": _LOG2,
        "linux/version.h": "#pragma once\n"
        f"#define LINUX_VERSION_CODE KERNEL_VERSION({major}, {minor}, {patch})\n"
        "#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))\n",
        "asm/page.h": f"#pragma once\n#define PAGE_SIZE {page_size}\n",
        "kernel_macros.h": _macros(),
    }


def _configuration(machine: str) -> str:
    options = ("CONFIG_BPF_SYSCALL", "CONFIG_ARCH_HAS_SYSCALL_WRAPPER", *_CONFIGURATION.get(machine, ()))
    defines = "".join(f"#define {option} 1\n" for option in options)
    # The macros come last: they would rewrite the types' members.
    return f'#pragma once\n{defines}#include "../kernel_types.h"\n#include "../kernel_macros.h"\n'


def _macros() -> str:
    constants = "".join(f"#define {name} {value:#x}\n" for name, value in _CONSTANTS.items())
    sock = "".join(f"#define sk_{name} __sk_common.skc_{name}\n" for name in _SOCK_COMMON)
    inet = "".join(f"#define inet_{name} sk.__sk_common.skc_{member}\n" for name, member in _INET_SOCK.items())
    return f"#pragma once\n{_LANGUAGE}{_BYTE_ORDER}{constants}{sock}{inet}"
