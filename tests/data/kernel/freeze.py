"""Writes the networking facts of the running kernel as JSON to stdout: freeze.py > linux-6.18.json (as root)."""

from __future__ import annotations

import re
import sys

from xcapscript.kernel.frozen import freeze
from xcapscript.kernel.live import LiveKernel

RAW_TRACEPOINTS = re.compile(
    r".*(skb|net_|netif|tcp|sock|udp|napi|xdp|fib|neigh|qdisc|icmp|br_).*|sched_switch|sched_process_(exec|exit|fork)|sys_(enter|exit)|sk_data_ready"
)
TRACEPOINTS = re.compile(
    r"(skb|net|tcp|sock|udp|napi|xdp|fib|fib6|neigh|qdisc|bridge|icmp|page_pool|sctp|mptcp):.*"
    r"|sched:sched_(switch|process_exec|process_exit|process_fork)|raw_syscalls:.*|syscalls:sys_enter_(send|recv|connect|bind).*"
)
STRUCTS = (
    *("sk_buff", "net_device", "sock", "sock_common", "tcp_sock", "inet_sock", "inet_connection_sock"),
    *("net", "ns_common", "in6_addr", "iphdr", "tcphdr", "udphdr", "task_struct", "neighbour"),
)


def main() -> None:
    kernel = LiveKernel()
    raw = [name for name in kernel.raw_tracepoints() if RAW_TRACEPOINTS.fullmatch(name)]
    records = [name for name in kernel.tracepoints() if TRACEPOINTS.fullmatch(name)]
    sys.stdout.write(freeze(kernel, raw, records, STRUCTS))


if __name__ == "__main__":
    main()
