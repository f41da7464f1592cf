"""xdp, tc and socket hooks where there is no tcx, and AF_XDP at kernel functions, on real packets."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from afxdp_sender import PORT, SENDER, frame
from left import attachments, frames, leaving_nothing
from network import Network, sh
from tcpdump import Tcpdump
from xcap import Running, run

PING = "ping -c 3 -i 0.2 -W 1 10.78.0.2"
SKB_MODE = 2


@pytest.fixture(scope="module", autouse=True)
def classifiers() -> None:
    subprocess.run(("modprobe", "-a", "cls_bpf", "sch_ingress"), check=True)


def test_hooks_of_interfaces(net: Network, tmp_path: Path) -> None:
    """The frames of all are those of tcpdump, and nothing of ours is there afterwards."""
    ours, theirs = tmp_path / "ours.pcapng", tmp_path / "theirs.pcap"
    device = f"{net.right}@{net.b}"
    program = f"""
        socket:{device} /icmp/ {{ dump; @socket[ifname, comm] = count(); }}
        tc:{device}:ingress, tc:{device}:egress /icmp/ {{ @tc[hook, len, action] = count(); }}
        xdp:{device} /icmp/ {{ @xdp[ifname, queue, len, action] = count(); }}
    """
    shown = f"tc -n {net.b} filter show dev {net.right} ingress >&2"
    with leaving_nothing(net), Tcpdump(net.b, net.right, theirs, "icmp") as tcpdump:
        done = run("-v", "-e", program, "-w", str(ours), "--cmd", f"{net.in_a(PING)} >&2; {shown}")
    assert (done.status, done.lost) == (0, 0), done.err
    assert tcpdump.captured == 6
    assert frames(ours) == frames(theirs)
    assert sorted(done.out.splitlines()) == sorted(
        [
            f"@socket[{net.right}, ping]: 6",
            f"@tc[tc:{device}:ingress, 98, TC_ACT_UNSPEC]: 3",
            f"@tc[tc:{device}:egress, 98, TC_ACT_UNSPEC]: 3",
            f"@xdp[{net.right}, 0, 98, XDP_PASS]: 3",
        ]
    )
    assert f"tc at '{device}': a filter of clsact" in done.err
    assert f"xdp at '{device}': in the driver" in done.err


def test_what_a_killed_run_left_is_removed_by_the_next(net: Network) -> None:
    hook = f"tc:{net.right}@{net.b}:ingress"
    running = Running("-e", f"{hook} {{ @ = count(); }}")
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    assert any("xcap-" in line for line in attachments(net))
    done = run("-e", f"{hook} /icmp/ {{ @ = count(); }}", "--cmd", f"{net.in_a(PING)} >&2")
    assert done.out.strip() == "@: 3"
    assert attachments(net) == []


def test_afxdp_where_it_is_sent_and_where_it_is_received(net: Network, tmp_path: Path) -> None:
    """By kernel functions: the sender's __dev_direct_xmit(), and what hands a struct xdp_buff to the receiver."""
    ours, theirs = tmp_path / "ours.pcapng", tmp_path / "theirs.pcap"
    program = f"""
        import "afxdp";
        afxdp /from_afxdp() and udp port {PORT}/ {{ dump; @sent[func, ifname, args.queue_id] = count(); }}
        kprobe:xsk_generic_rcv /udp port {PORT}/ {{ @received[ifname, queue, len] = count(); }}
    """
    own = f"{sys.executable} {SENDER}"
    receive = net.in_b(f"{own} receive {net.right} 10 {SKB_MODE}")
    send = net.in_a(f"{own} send {net.left} 10 {frame(net).hex()}")
    ready = tmp_path / "ready"
    command = (
        f"{receive} > {ready} & until grep -q ready {ready}; do sleep 0.1; done; {send} >&2; wait; cat {ready} >&2"
    )
    with Tcpdump(net.a, net.left, theirs, "-Q", "out", f"udp port {PORT}") as tcpdump:
        done = run("-e", program, "-w", str(ours), "--cmd", command)
    assert (done.status, done.lost) == (0, 0), done.err
    assert "received 10" in done.err
    assert tcpdump.captured == 0
    assert sorted(frames(ours)) == [frame(net) + number.to_bytes(2, "big") for number in range(10)]
    size = len(frame(net)) + 2
    assert sorted(done.out.splitlines()) == [
        f"@received[{net.right}, 0, {size}]: 10",
        f"@sent[__dev_direct_xmit, {net.left}, 0]: 10",
    ]
    assert sh(f"ip -n {net.b} link show {net.right}").count("xdp") == 0
