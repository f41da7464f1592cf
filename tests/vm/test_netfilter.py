"""The netfilter library where there are kprobes and fexit: verdicts at hooks, against the firewall's counters."""

from __future__ import annotations

import re
from pathlib import Path

from network import Network, sh
from xcap import run

EXAMPLE = Path(__file__).parents[2] / "examples" / "iptables.xcap"
PINGS = "ping -c 3 -i 0.2 -W 1 10.78.0.2"

VERDICTS = (
    'import "netfilter"; netfilter /icmp and place() != "POSTROUTING"/ { @[verdict(), family(), place()] = count(); }'
)
"""What leaves a host passes POSTROUTING, too, where something of another kind may be registered."""


def accepted(net: Network, table: str, chain: str) -> int:
    """The packets that the first rule of a chain counted."""
    rows = sh(net.in_b(f"iptables -t {table} -nvxL {chain}")).splitlines()[2:]
    return int(rows[0].split()[0])


def test_verdicts_by_hook(net: Network) -> None:
    for table, chain, rule in (
        ("raw", "PREROUTING", "-p icmp -j ACCEPT"),
        ("filter", "INPUT", "-p icmp -d 10.78.0.3 -j DROP"),
        ("filter", "OUTPUT", "-p icmp -j ACCEPT"),
    ):
        sh(net.in_b(f"iptables -t {table} -A {chain} {rule}"))
    sh(f"ip -n {net.b} address add 10.78.0.3/24 dev {net.right}")
    refused = net.in_a("ping -c 2 -i 0.2 -W 1 10.78.0.3")
    done = run("-e", VERDICTS, "--cmd", f"{net.in_a(PINGS)} >&2; {refused} >&2; true")
    assert done.status == 0, done.err
    assert net.icmp_drops() == 2
    assert accepted(net, "raw", "PREROUTING") == 5
    assert accepted(net, "filter", "OUTPUT") == 3
    assert set(done.out.splitlines()) == {
        "@[accepted, ip, PREROUTING]: 5",
        "@[accepted, ip, INPUT]: 3",
        "@[dropped, ip, INPUT]: 2",
        "@[accepted, ip, OUTPUT]: 3",
    }


def test_kretprobe_says_the_same_as_fexit(net: Network) -> None:
    net.drop_icmp()
    program = (
        'import "netfilter"; hook old = kretprobe:nf_hook_slow; '
        'old /icmp and place() == "INPUT"/ { @old[verdict(), family(), place()] = count(); } '
        'netfilter /icmp and place() == "INPUT"/ { @new[verdict(), family(), place()] = count(); }'
    )
    done = run("-e", program, "--cmd", f"{net.in_a(PINGS)} >&2; true")
    assert done.status == 0, done.err
    assert net.icmp_drops() == 3
    assert set(done.out.splitlines()) == {"@old[dropped, ip, INPUT]: 3", "@new[dropped, ip, INPUT]: 3"}


def test_the_example_tells_hook_reason_and_stack(net: Network) -> None:
    net.drop_icmp()
    done = run(str(EXAMPLE), "-i", net.right, "-w", "/dev/null", "--cmd", f"{net.in_a(PINGS)} >&2; true")
    assert done.status == 0, done.err
    assert net.icmp_drops() == 3
    assert f"@netfilter[ip, INPUT, {net.right}]: 3\n" in done.out
    stack = re.search(rf"@count\[NETFILTER_DROP, {net.right},\n(( +\S.*\n)+)\]: 3\n", done.out)
    assert stack
    assert "nf_hook_slow" in stack[1]
