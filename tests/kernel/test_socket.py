"""The hook `socket`: what it sees is what tcpdump sees on the same interface, in both directions."""

from __future__ import annotations

from pathlib import Path

import dpkt
import pytest
from left import attachments, frames
from network import Network, sh
from tcpdump import Tcpdump
from traffic import datagrams, python
from xcap import run

pytestmark = pytest.mark.kernel

PORT = 47110
SIZE = 1 << 20

BOTH_WAYS = python(f"""
    import threading
    listening = socket.create_server(("10.78.0.2", {PORT}))
    def serve():
        connection, _ = listening.accept()
        got = 0
        while got < {SIZE}:
            got += len(connection.recv({SIZE}))
        connection.sendall(bytes(range(256)) * 2000)
        connection.close()
    thread = threading.Thread(target=serve)
    thread.start()
    thread.join(20)
""")
CLIENT = python(f"""
    import os
    s = connect({PORT})
    s.sendall(os.urandom({SIZE}))
    while s.recv({SIZE}):
        pass
""")


def traffic(net: Network) -> str:
    """Pings, UDP, and TCP of super-packets both ways: the shell's command."""
    return (
        f"{net.in_a('ping -c 3 -i 0.05 10.78.0.2')} > /dev/null; {net.in_a(datagrams(20, 9, 900))}; "
        f"{net.in_b(BOTH_WAYS)} & {net.in_a(CLIENT)}; wait"
    )


@pytest.mark.parametrize("expression", ["ip", "tcp port 47110", "icmp or udp"])
def test_the_frames_are_those_of_tcpdump(quiet: Network, tmp_path: Path, expression: str) -> None:
    theirs, ours = tmp_path / "theirs.pcap", tmp_path / "ours.pcapng"
    program = f"socket:{quiet.right}@{quiet.b} /{expression}/ {{ dump; }}"
    with Tcpdump(quiet.b, quiet.right, theirs, expression) as tcpdump:
        done = run("-e", program, "-w", str(ours), "--cmd", traffic(quiet))
    assert done.status == 0, done.err
    assert done.lost == 0
    assert tcpdump.captured > 10
    assert sum(frames(ours).values()) == tcpdump.captured
    assert frames(ours) == frames(theirs)


def tagged(net: Network) -> str:
    """The command that sends ten frames with a VLAN tag from host a's device."""
    return net.in_a(
        python(f"""
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            s.bind(("{net.left}", 0))
            ip = bytes.fromhex("4500002000010000401100000a4e00010a4e0002" "00090009000c0000") + bytes(1400)
            for n in range(10):
                s.send(bytes([255] * 6) + bytes(6) + bytes.fromhex("81000007" "0800") + ip + bytes([n]))
        """)
    )


def test_tags_are_where_tcpdump_has_them(quiet: Network, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs.pcap", tmp_path / "ours.pcapng"
    program = f"socket:{quiet.right}@{quiet.b} /vlan 7 and udp/ {{ dump; count(vlan.id); }}"
    with Tcpdump(quiet.b, quiet.right, theirs, "vlan 7 and udp"):
        done = run("-e", program, "-w", str(ours), "--cmd", tagged(quiet))
    assert done.status == 0, done.err
    assert sum(frames(ours).values()) == 10
    assert frames(ours) == frames(theirs)
    assert "@count[7]: 10" in done.out
    assert all(dpkt.ethernet.Ethernet(frame).vlan_tags[0].id == 7 for frame in frames(ours))


def test_loopback_has_each_packet_once(quiet: Network, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.pcap"
    command = quiet.in_a("ping -c 4 -i 0.05 127.0.0.1")
    with Tcpdump(quiet.a, "lo", theirs, "icmp") as tcpdump:
        done = run("-e", f"socket:lo@{quiet.a} /icmp/ {{ @ = count(); }}", "--cmd", command)
    assert done.status == 0, done.err
    assert tcpdump.captured == 8
    assert "@: 8" in done.out


def test_the_direction_is_the_packets(quiet: Network, tmp_path: Path) -> None:
    ours = tmp_path / "ours.pcapng"
    program = f"socket:{quiet.right}@{quiet.b} /icmp/ {{ dump; }}"
    done = run("-e", program, "-w", str(ours), "--cmd", quiet.in_a("ping -c 2 -i 0.05 10.78.0.2"))
    assert done.status == 0, done.err
    told = sh(f"tshark -r {ours} -T fields -e icmp.type -e frame.packet_flags_direction 2>/dev/null").splitlines()
    assert len(told) == 4
    assert {tuple(int(field, 0) for field in line.split()) for line in told} == {(8, 1), (0, 2)}


def test_a_wildcard_takes_all_interfaces_that_match(quiet: Network) -> None:
    program = f"socket:*@{quiet.a} /icmp/ {{ @[ifname] = count(); }}"
    command = f"{quiet.in_a('ping -c 2 -i 0.05 127.0.0.1')}; {quiet.in_a('ping -c 2 -i 0.05 10.78.0.2')}"
    done = run("-e", program, "--cmd", command)
    assert done.status == 0, done.err
    assert "2 probes attached" in done.err
    assert sorted(done.out.splitlines()) == sorted([f"@[{quiet.left}]: 4", "@[lo]: 4"])


def test_an_interface_that_is_not_there_leaves_nothing_attached(quiet: Network) -> None:
    there, missing = f"tc:{quiet.right}@{quiet.b}:ingress", f"socket:{quiet.right[:-1]}@{quiet.b}"
    done = run("-e", f"{there} {{ @ = count(); }} {missing} {{ @ = count(); }}", "--time", "1s")
    assert done.status == 3
    assert f"there is no interface '{quiet.right[:-1]}' in network namespace '{quiet.b}'" in done.err
    assert f"did you mean '{quiet.right}'?" in done.err
    assert attachments(quiet) == []


def test_another_process_is_left_out(quiet: Network) -> None:
    program = f"socket:{quiet.left}@{quiet.a} /icmp/ {{ @[comm, pid] = count(); }}"
    done = run("-e", program, "-p", "1", "--cmd", quiet.in_a("ping -c 2 -i 0.05 10.78.0.2"))
    assert done.status == 0, done.err
    assert done.out == ""
