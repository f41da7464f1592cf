"""The hook `xdp`: it sees what comes in before there is an skb, lets it pass, and gives way to whoever is there."""

from __future__ import annotations

import os
import random
import re
import signal
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dpkt
import pytest
from left import attachments, came_to_nothing, frames
from network import Network, sh
from tcpdump import Tcpdump
from traffic import datagrams, python
from xcap import Running, run

from xcapscript.kernel import bpf
from xcapscript.kernel.interfaces import within
from xcapscript.kernel.typed import Load, load_copy

pytestmark = pytest.mark.kernel

PORT = 47120
SIZE = 1 << 19
PING = "ping -c 4 -i 0.05 10.78.0.2"
XDP, BPF_XDP, DRIVER, GENERIC = 6, 37, 1 << 2, 1 << 1


def test_the_frames_are_those_of_tcpdump(quiet: Network, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs.pcap", tmp_path / "ours.pcapng"
    program = f"xdp:{quiet.right}@{quiet.b} /ip/ {{ dump; @[ifname, netns, queue, action] = count(); }}"
    command = f"{quiet.in_a(PING)}; {quiet.in_a(datagrams(30, 9, 1400))}"
    with Tcpdump(quiet.b, quiet.right, theirs, "-Q", "in", "ip") as tcpdump:
        done = run("-v", "-e", program, "-w", str(ours), "--cmd", command)
    assert done.status == 0, done.err
    assert "4 received" in done.err
    assert f"xdp at '{quiet.right}@{quiet.b}': in the driver" in done.err
    assert tcpdump.captured == 34
    assert frames(ours) == frames(theirs)
    assert f"@[{quiet.right}, {quiet.netns(quiet.b)}, 0, XDP_PASS]: 34" in done.out
    fields = (
        "-e frame.packet_flags_direction -e frame.verdict.ebpf_xdp -e frame.interface_queue -e frame.interface_name"
    )
    told = set(sh(f"tshark -r {ours} -T fields {fields} 2>/dev/null").splitlines())
    assert len(told) == 1
    direction, verdict, _, name = told.pop().split("\t")
    assert (int(direction, 0), int(verdict, 0), name) == (1, 2, quiet.right)


def test_packets_of_several_buffers_are_whole(quiet: Network, tmp_path: Path) -> None:
    """Jumbo frames, of which XDP has the rest in fragments; a filter looks there as well."""
    for host, device in ((quiet.a, quiet.left), (quiet.b, quiet.right)):
        sh(f"ip -n {host} link set {device} mtu 30000")
    data, theirs, ours = random.Random(6).randbytes(25000), tmp_path / "theirs.pcap", tmp_path / "ours.pcapng"
    (tmp_path / "data").write_bytes(data)
    send = python(f"""
        s = socket.socket(type=socket.SOCK_DGRAM)
        for _ in range(5):
            s.sendto(open("{tmp_path / "data"}", "rb").read(), ("10.78.0.2", {PORT}))
    """)
    far = f"udp dst port {PORT} and ether[20042] == {data[20000]}"
    with Tcpdump(quiet.b, quiet.right, theirs, "-Q", "in", f"udp dst port {PORT}"):
        done = run("-e", f"xdp:{quiet.right}@{quiet.b} /{far}/ {{ dump; }}", "-w", str(ours), "--cmd", quiet.in_a(send))
    assert done.status == 0, done.err
    assert frames(ours) == frames(theirs)
    (frame,) = {dpkt.ethernet.Ethernet(frame).data.data.data for frame in frames(ours)}
    assert frame == data


def test_super_packets_go_through(quiet: Network, tmp_path: Path) -> None:
    """TCP works as before, and what is captured has all that was sent."""
    content, ours = random.Random(7).randbytes(SIZE), tmp_path / "ours.pcapng"
    (tmp_path / "data").write_bytes(content)
    receive = python(f"""
        listening = socket.create_server(("10.78.0.2", {PORT}))
        connection, _ = listening.accept()
        got = b""
        while piece := connection.recv(1 << 20):
            got += piece
        open("{tmp_path / "got"}", "wb").write(got)
    """)
    send = python(f"""
        s = connect({PORT})
        s.sendall(open("{tmp_path / "data"}", "rb").read())
        s.close()
    """)
    program = f"xdp:{quiet.right}@{quiet.b} /tcp dst port {PORT}/ {{ dump; }}"
    done = run("-e", program, "-w", str(ours), "--cmd", f"{quiet.in_b(receive)} & {quiet.in_a(send)}; wait")
    assert done.status == 0, done.err
    assert (tmp_path / "got").read_bytes() == content
    segments = [dpkt.ethernet.Ethernet(frame).data.data for frame in frames(ours)]
    # before somebody listened there were others
    (port,) = {segment.sport for segment in segments if segment.data}
    first = min(s.seq for s in segments if s.sport == port and s.flags & dpkt.tcp.TH_SYN)
    found = bytearray(SIZE)
    for segment in segments:
        at = (segment.seq - first - 1) & 0xFFFFFFFF
        if segment.data:
            found[at : at + len(segment.data)] = segment.data
    assert bytes(found) == content


def test_a_device_whose_driver_has_none_gets_the_generic_one(quiet: Network) -> None:
    program = f"xdp:lo@{quiet.a} /icmp/ {{ @[ifname] = count(); }}"
    done = run("-v", "-e", program, "--cmd", quiet.in_a("ping -c 3 -i 0.05 127.0.0.1"))
    assert done.status == 0, done.err
    assert f"xdp at 'lo@{quiet.a}': generic" in done.err
    assert "@[lo]: 6" in done.out


@pytest.mark.parametrize("mode", [DRIVER, GENERIC])
def test_whoever_is_there_stays_and_is_named(quiet: Network, mode: int) -> None:
    code = b"".join(struct.pack("=BBhi", *one) for one in ((0xB7, 0, 0, 2), (0x95, 0, 0, 0)))
    program = load_copy("somebodys", code, Load(XDP))
    index = int(sh(f"ip netns exec {quiet.b} cat /sys/class/net/{quiet.right}/ifindex"))
    with link_of_somebody(quiet, program, index, mode):
        shown = sh(f"ip -n {quiet.b} -d link show {quiet.right}")
        number = shown.split("prog/xdp id ")[1].split()[0]
        clause = f"tc:{quiet.right}@{quiet.b}:ingress {{ @ = count(); }}"
        done = run("-e", f"{clause} xdp:{quiet.right}@{quiet.b} {{ @ = count(); }}", "--time", "1s")
        assert done.status == 3
        assert f"has the XDP program {number} (somebodys) already" in done.err
        assert f"tc:{quiet.right}@{quiet.b}:ingress" in done.err
        assert f"which process {os.getpid()} (" in done.err
        assert sh(f"ip -n {quiet.b} -d link show {quiet.right}") == shown
        assert not any("tcx" in line for line in attachments(quiet))
        # the advice works
        sh(re.search(r"'(bpftool link detach id \d+)'", done.err)[1])
        assert "xdp" not in sh(f"ip -n {quiet.b} -d link show {quiet.right}")


@pytest.mark.parametrize("mode", ["xdpdrv", "xdpgeneric"])
@pytest.mark.parametrize("called", ["name", "process"])
def test_a_program_without_a_link_is_taken_off_as_is_advised(quiet: Network, mode: str, called: str) -> None:
    code = b"".join(struct.pack("=BBhi", *one) for one in ((0xB7, 0, 0, 2), (0x95, 0, 0, 0)))
    program = load_copy("somebodys", code, Load(XDP))
    number = program_id(program)
    sleeper = subprocess.Popen(["ip", "netns", "exec", quiet.b, "sleep", "60"])
    try:
        sh(f"nsenter --net=/run/netns/{quiet.b} bpftool net attach {mode} id {number} dev {quiet.right}")
        place = f"pid:{sleeper.pid}" if called == "process" else quiet.b
        done = run("-e", f"xdp:{quiet.right}@{place} {{ @ = count(); }}", "--time", "1s")
        assert done.status == 3
        assert f"has the XDP program {number} (somebodys) already" in done.err
        sh(re.search(rf"'(\S.* {mode} off)' takes it off", done.err)[1])
        assert "xdp" not in sh(f"ip -n {quiet.b} -d link show {quiet.right}")
    finally:
        sleeper.kill()
        sleeper.wait()
        os.close(program)


def program_id(program: int) -> int:
    info = Path(f"/proc/self/fdinfo/{program}").read_text()
    return int(re.search(r"prog_id:\s+(\d+)", info)[1])


@contextmanager
def link_of_somebody(net: Network, program: int, index: int, mode: int) -> Iterator[None]:
    """Somebody's link, for the time of a block."""
    link = within(Path("/run/netns") / net.b, lambda: bpf.link_create(program, index, BPF_XDP, mode))
    yield
    os.close(link)


def test_killed_it_leaves_nothing(quiet: Network) -> None:
    running = Running("-e", f"xdp:{quiet.right}@{quiet.b} {{ @ = count(); }}")
    assert any("xdp" in line for line in attachments(quiet))
    running.stop(signal.SIGKILL)
    assert came_to_nothing(quiet)


def test_the_kernels_own_structure(quiet: Network) -> None:
    program = (
        f"xdp:{quiet.right}@{quiet.b} /icmp/ {{ @[str(xdp->rxq->dev->name), xdp->data_end - xdp->data] = count(); }}"
    )
    done = run("-e", program, "--cmd", quiet.in_a(PING))
    assert done.status == 0, done.err
    assert f"@[{quiet.right}, 98]: 4" in done.out
