"""The hook `tc`: it sees what tcpdump sees one way, changes nothing, lives beside others, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from left import attachments, came_to_nothing, frames
from network import Network, sh
from tcpdump import Tcpdump
from traffic import datagrams
from xcap import Running, run

from xcapscript.kernel.interfaces import within
from xcapscript.kernel.typed import Load, load_copy
from xcapscript.runtime.attach import clsact
from xcapscript.unit import Device

pytestmark = pytest.mark.kernel

SCHED_CLS = 3
TC_ACT_OK = 0
PING = "ping -c 4 -i 0.05 10.78.0.2"


def passes() -> int:
    """A program that says TC_ACT_OK, which ends the walk of filters."""
    code = b"".join(struct.pack("=BBhi", *one) for one in ((0xB7, 0, 0, TC_ACT_OK), (0x95, 0, 0, 0)))
    return load_copy("passes", code, Load(SCHED_CLS))


@pytest.mark.parametrize(("way", "direction"), [("ingress", "in"), ("egress", "out")])
def test_the_frames_are_those_of_tcpdump(quiet: Network, tmp_path: Path, way: str, direction: str) -> None:
    theirs, ours = tmp_path / "theirs.pcap", tmp_path / "ours.pcapng"
    program = f"tc:{quiet.right}@{quiet.b}:{way} /ip/ {{ dump; }}"
    command = f"{quiet.in_a(PING)}; {quiet.in_a(datagrams(20, 9, 30000))}; {quiet.in_b('ping -c 2 -i 0.05 10.78.0.1')}"
    with Tcpdump(quiet.b, quiet.right, theirs, "-Q", direction, "ip") as tcpdump:
        done = run("-e", program, "-w", str(ours), "--cmd", command)
    assert done.status == 0, done.err
    assert tcpdump.captured > 5
    assert frames(ours) == frames(theirs)
    told = sh(
        f"tshark -r {ours} -T fields -e frame.packet_flags_direction -e frame.verdict.ebpf_tc "
        f"-e frame.interface_name 2>/dev/null"
    ).splitlines()
    expected = {"in": 1, "out": 2}[direction]
    assert {int(line.split("\t")[0], 0) for line in told} == {expected}
    assert {line.split("\t")[2] for line in told} == {quiet.right}
    # TC_ACT_UNSPEC, as tshark shows 64 bits
    assert {int(line.split("\t")[1], 0) & 0xFFFFFFFF for line in told} == {0xFFFFFFFF}


def test_packets_go_on_and_others_filters_are_as_they_were(quiet: Network) -> None:
    """With a filter of somebody else at the same place."""
    sh(f"tc -n {quiet.b} qdisc add dev {quiet.right} clsact")
    sh(f"tc -n {quiet.b} filter add dev {quiet.right} ingress pref 1 u32 match u32 0 0 flowid :1")
    before = attachments(quiet)
    done = run("-e", f"tc:{quiet.right}@{quiet.b}:ingress /icmp/ {{ @ = count(); }}", "--cmd", quiet.in_a(PING))
    assert done.status == 0, done.err
    assert "@: 4" in done.out
    assert "4 received" in done.err
    assert attachments(quiet) == before
    sh(f"tc -n {quiet.b} qdisc del dev {quiet.right} clsact")


def test_it_comes_before_what_decides(quiet: Network) -> None:
    """A tcx program that says TC_ACT_OK ends the walk: ours is before it, and two of ours both see all."""
    hook = f"tc:{quiet.right}@{quiet.b}:ingress"
    first = Running("-e", f"{hook} /icmp/ {{ @ = count(); }}")
    second = Running("-e", f"{hook} /icmp/ {{ @ = count(); }}")
    sh(quiet.in_a(PING))
    assert "@: 4" in second.stop().out
    assert "@: 4" in first.stop().out


def test_both_ways_of_two_interfaces_in_one_clause(quiet: Network) -> None:
    places = ", ".join(
        f"tc:{device}@{host}:{way}"
        for host, device in ((quiet.a, quiet.left), (quiet.b, quiet.right))
        for way in ("ingress", "egress")
    )
    done = run("-e", f"{places} /icmp/ {{ @[hook] = count(); }}", "--cmd", quiet.in_a(PING))
    assert done.status == 0, done.err
    assert "4 probes attached" in done.err
    assert len(done.out.splitlines()) == 4
    assert all(line.endswith(": 4") for line in done.out.splitlines())


def test_killed_it_leaves_nothing(quiet: Network) -> None:
    running = Running("-e", f"tc:{quiet.right}@{quiet.b}:ingress {{ @ = count(); }}")
    running.stop(signal.SIGKILL)
    assert came_to_nothing(quiet)


@contextmanager
def filter_of_clsact(net: Network, *, egress: bool = False) -> Iterator[clsact.Filter]:
    """As on kernels without tcx."""
    program = passes()
    made = attach_clsact(net, program, egress=egress)
    try:
        yield made
    finally:
        made.close()
        os.close(program)


def attach_clsact(net: Network, program: int, *, egress: bool = False) -> clsact.Filter:
    index = int(sh(f"ip netns exec {net.b} cat /sys/class/net/{net.right}/ifindex"))
    device = Device(net.right, net.b)
    return within(Path("/run/netns") / net.b, lambda: clsact.attach(program, index, device, egress=egress))


def test_a_filter_of_clsact_is_removed_with_the_qdisc_that_it_made(quiet: Network) -> None:
    with filter_of_clsact(quiet), filter_of_clsact(quiet, egress=True):
        shown = "\n".join(attachments(quiet))
        assert shown.count("direct-action") == 2
        assert "clsact" in shown
    assert attachments(quiet) == []


def test_the_qdisc_of_somebody_else_stays(quiet: Network) -> None:
    sh(f"tc -n {quiet.b} qdisc add dev {quiet.right} clsact")
    before = attachments(quiet)
    with filter_of_clsact(quiet):
        assert len(attachments(quiet)) > len(before)
    assert attachments(quiet) == before
    sh(f"tc -n {quiet.b} qdisc del dev {quiet.right} clsact")


def test_whichever_is_last_removes_the_qdisc(quiet: Network) -> None:
    first, second = passes(), passes()
    ingress = attach_clsact(quiet, first)
    egress = attach_clsact(quiet, second, egress=True)
    ingress.close()
    assert "direct-action" in "\n".join(attachments(quiet))
    egress.close()
    assert attachments(quiet) == []
    os.close(first)
    os.close(second)


def test_of_two_at_one_place_each_goes_alone(quiet: Network) -> None:
    """As at the prompt, where several programs of one process may be at the same place."""
    with filter_of_clsact(quiet):
        with filter_of_clsact(quiet):
            assert "\n".join(attachments(quiet)).count("direct-action") == 2
        assert "\n".join(attachments(quiet)).count("direct-action") == 1
    assert attachments(quiet) == []


def test_the_filter_of_somebody_else_keeps_our_qdisc(quiet: Network) -> None:
    with filter_of_clsact(quiet):
        sh(f"tc -n {quiet.b} filter add dev {quiet.right} egress pref 9 u32 match u32 0 0 flowid :1")
    assert any("u32" in line for line in attachments(quiet))
    sh(f"tc -n {quiet.b} qdisc del dev {quiet.right} clsact")


def test_a_filter_before_which_another_kind_is_gets_in_as_well(quiet: Network) -> None:
    sh(f"tc -n {quiet.b} qdisc add dev {quiet.right} clsact")
    sh(f"tc -n {quiet.b} filter add dev {quiet.right} ingress pref 1 u32 match u32 0 0 flowid :1")
    with filter_of_clsact(quiet):
        assert any("xcap-" in line for line in attachments(quiet))
    assert not any("xcap-" in line for line in attachments(quiet))
    sh(f"tc -n {quiet.b} qdisc del dev {quiet.right} clsact")


def test_what_a_killed_process_left_is_removed_by_the_next(quiet: Network) -> None:
    """A process that has gone, after it made a filter, which the kernel keeps."""
    child = os.fork()
    if child == 0:
        attach_clsact(quiet, passes())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert any(f"-{child}-" in line for line in attachments(quiet))
    with filter_of_clsact(quiet):
        shown = attachments(quiet)
        assert not any(f"-{child}-" in line for line in shown)
        assert any(f"-{os.getpid()}-" in line for line in shown)
    assert attachments(quiet) == []


def test_the_filter_of_a_process_that_lives_is_kept(quiet: Network) -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        sh(f"tc -n {quiet.b} qdisc add dev {quiet.right} clsact")
        name = f"{clsact.own_name(sleeper.pid)}-1"
        with filter_of_clsact(quiet):
            program = passes()
            index = int(sh(f"ip netns exec {quiet.b} cat /sys/class/net/{quiet.right}/ifindex"))

            def add() -> None:
                from pyroute2 import IPRoute  # noqa: PLC0415 -- a filter as the other process would have made it

                with IPRoute() as route:
                    route.tc("add-filter", "bpf", index, fd=program, name=name, parent=clsact.INGRESS, prio=1)

            within(Path("/run/netns") / quiet.b, add)
        with filter_of_clsact(quiet):
            assert any(name in line for line in attachments(quiet))
    finally:
        sleeper.kill()
        sleeper.wait()
    with filter_of_clsact(quiet):
        assert not any(name in line for line in attachments(quiet))
    sh(f"tc -n {quiet.b} qdisc del dev {quiet.right} clsact")
