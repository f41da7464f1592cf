"""AF_XDP: what a program sends past queues, traffic control and tcpdump is captured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from afxdp_sender import PORT, SENDER, frame
from left import frames
from network import Network
from tcpdump import Tcpdump
from traffic import datagrams
from xcap import run

pytestmark = pytest.mark.kernel

EXAMPLE = Path(__file__).parents[2] / "examples" / "afxdp.xcap"
COUNT = 100


def send(net: Network, count: int) -> str:
    return net.in_a(f"{sys.executable} {SENDER} send {net.left} {count} {frame(net).hex()}")


def test_what_tcpdump_does_not_see(quiet: Network, tmp_path: Path) -> None:
    """Beside others' datagrams to the same port, which tcpdump sees and the example leaves out."""
    theirs, ours = tmp_path / "theirs.pcap", tmp_path / "ours.pcapng"
    command = f"{send(quiet, COUNT)}; {quiet.in_a(datagrams(7, PORT, 10))}"
    with Tcpdump(quiet.a, quiet.left, theirs, "-Q", "out", f"udp port {PORT} and udp[4:2] = 25") as tcpdump:
        done = run(str(EXAMPLE), "-w", str(ours), "--cmd", command)
    assert done.status == 0, done.err
    assert f"sent {COUNT}" in done.err
    assert tcpdump.captured == 0
    assert sorted(frames(ours)) == [frame(quiet) + number.to_bytes(2, "big") for number in range(COUNT)]
    assert f"10.78.0.2, {PORT}]: {COUNT}" in done.out


def test_the_other_end_sees_them_come_in(quiet: Network) -> None:
    """By xdp and by tc there; not by tc where they are sent."""
    places = f"xdp:{quiet.right}@{quiet.b}", f"tc:{quiet.right}@{quiet.b}:ingress", f"tc:{quiet.left}@{quiet.a}:egress"
    done = run("-e", f"{', '.join(places)} /udp port {PORT}/ {{ @[hook] = count(); }}", "--cmd", send(quiet, COUNT))
    assert done.status == 0, done.err
    assert sorted(done.out.splitlines()) == sorted(f"@[{place}]: {COUNT}" for place in places[:2])
