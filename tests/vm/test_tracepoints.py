"""Tracepoints where raw ones cannot be loaded as typed programs that read packets whole (before Linux 6.12)."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest
from network import Network, sh
from traffic import datagrams
from xcap import run

PROGRAM = """
    drop /icmp/ { dump; count(reason, kstack(3)); }
    rx /icmp/ { @received[ifname] = count(); }
    tx /icmp and icmp[icmptype] == icmp-echo/ { @sent = count(); @bytes = sum(len); }
    t:net:netif_receive_skb /icmp[icmptype] == icmp-echo/ { @lengths = sum(args.len); }
    rx /udp port 7300/ { dump; }
"""


def fields(path: Path, *names: str) -> list[list[str]]:
    """What tshark reads from a file, a row a packet."""
    options = " ".join(f"-e {name}" for name in names)
    return [line.split("\t") for line in sh(f"tshark -r {path} -T fields {options} 2>/dev/null").splitlines()]


@pytest.mark.parametrize("buffer", ["ring", "perf"])
def test_drops_and_packets_by_tracepoints(net: Network, tmp_path: Path, buffer: str) -> None:
    ours, theirs = tmp_path / "ours.pcapng", tmp_path / "theirs.pcap"
    net.drop_icmp()
    capture = f"tcpdump -i {net.right} --immediate-mode -Q in -U -s 200 -w {theirs} udp port 7300"
    tcpdump = subprocess.Popen(f"exec {net.in_b(capture)}", shell=True, stderr=subprocess.PIPE)
    assert tcpdump.stderr is not None
    tcpdump.stderr.readline()
    traffic = f"{net.in_a('ping -c 5 -i 0.2 -W 1 10.78.0.2')} >&2; {net.in_a(datagrams(20, 7300, 1000))}; sleep 1"
    done = run("-s", "200", "--buffer", buffer, "-e", PROGRAM, "-w", str(ours), "--cmd", traffic)
    tcpdump.send_signal(signal.SIGINT)
    tcpdump.wait(60)
    assert (done.status, done.lost) == (0, 0), done.err
    assert net.icmp_drops() == 5

    dropped = [row for row in fields(ours, "frame.comment", "icmp.seq", "frame.interface_name") if row[1]]
    assert [row[1] for row in dropped] == ["1", "2", "3", "4", "5"]
    for comment, _, interface in dropped:
        assert re.fullmatch(rf"drop NETFILTER_DROP pid=\d+ comm=ping netns={net.netns(net.b)}", comment)
        assert interface == net.right
    assert re.search(
        r"@count\[NETFILTER_DROP,\n    kfree_skb_reason\S*\n(    \S+\+0x\S+( \[nf_tables\])?\n){2}\]: 5\n", done.out
    )
    assert f"@received[{net.right}]: 5\n" in done.out
    # 84 bytes of IP in 98 of Ethernet
    assert "@sent: 5\n@bytes: 490\n" in done.out
    assert "@lengths: 420\n" in done.out

    # those that host b refuses by ICMP are received all the same
    sh(f"tshark -r {ours} -Y 'udp && !icmp' -F pcap -w {ours}.udp 2>/dev/null")
    ours_in_hex, theirs_in_hex = (sh(f"tcpdump -nr {path} -t -xx 2>/dev/null") for path in (f"{ours}.udp", theirs))
    assert ours_in_hex == theirs_in_hex
    assert len(fields(theirs, "frame.number")) == 20
