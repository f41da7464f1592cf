"""Namespaces, cgroups, processes and interfaces of others: which packets are taken, by what ping and `ip` say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from network import Network, sh
from xcap import Running, run

from xcapscript.kernel.places import cgroup_root

pytestmark = pytest.mark.kernel

ROUNDS = "ping -c 3 -i 0.2 10.78.0.2"


@contextmanager
def living_in(namespace: str) -> Iterator[int]:
    """A process in a namespace: it stands for a container."""
    with subprocess.Popen(["ip", "netns", "exec", namespace, "sleep", "60"]) as process:
        # `ip` becomes the command, once it has entered
        sh(f"timeout 10 sh -c 'until grep -qx sleep /proc/{process.pid}/comm; do sleep 0.02; done'")
        try:
            yield process.pid
        finally:
            process.kill()


def test_a_namespace_by_name_path_process_and_number(net: Network) -> None:
    with living_in(net.a) as inhabitant:
        ways = (net.a, f"/run/netns/{net.a}", f"/proc/{inhabitant}/ns/net", f"pid:{inhabitant}")
        clauses = [f'tx /icmp and netns == "{way}"/ {{ @w{n} = count(); }}' for n, way in enumerate(ways)]
        clauses += ["tx /icmp and netns == $1/ { @p = count(); }", "tx /icmp and netns == $2/ { @q = count(); }"]
        words = [f"pid:{inhabitant}", str(net.netns(net.a))]
        done = run("-e", " ".join(clauses), *words, "--cmd", f"{net.in_a(ROUNDS)} >&2")
    assert done.status == 0, done.err
    # requests are sent in a, replies in b
    assert sorted(done.out.split("\n")[:-1]) == ["@p: 3", "@q: 3", "@w0: 3", "@w1: 3", "@w2: 3", "@w3: 3"]


def test_a_namespace_that_is_not_there_is_one_message(net: Network) -> None:
    for text, said in (
        (net.a[:-1] + "x", f"hint: did you mean '{net.a[:-1]}"),
        ("pid:4194305", "there is no process 4194305"),
        ("/run/netns/none/net", "there is no network namespace '/run/netns/none/net'"),
    ):
        done = run("-e", f'tx /netns == "{text}"/')
        assert done.status == 1
        assert said in done.err


@pytest.fixture
def group() -> Iterator[Path]:
    root = cgroup_root()
    if root is None:
        pytest.skip("no cgroups of version 2")
    path = root / f"xcap-test-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        path.rmdir()


def test_a_cgroup_by_path_process_and_number(net: Network, group: Path) -> None:
    inside = f"sh -c 'echo $$ > {group}/cgroup.procs; exec {net.in_a(ROUNDS)} >&2'"
    with subprocess.Popen(["sleep", "60"]) as member:
        (group / "cgroup.procs").write_text(str(member.pid))
        ways = (f"/{group.name}", group.name, str(group), f"pid:{member.pid}")
        clauses = [f'tx /icmp and cgroup == "{way}"/ {{ @w{n} = count(); }}' for n, way in enumerate(ways)]
        clauses += ["tx /icmp and cgroup == $1/ { @p = count(); }"]
        clauses += [f'tx /icmp and cgroup == {group.stat().st_ino} and netns == "{net.a}"/ {{ @n = count(); }}']
        done = run("-e", " ".join(clauses), f"/{group.name}", "--cmd", f"{net.in_a(ROUNDS)} >&2; {inside}")
        member.kill()
    assert done.status == 0, done.err
    found = dict(line.split(": ") for line in done.out.splitlines())
    # a reply may be sent while ping is interrupted; the requests of the first ping, outside, are never counted
    assert found.pop("@n") == "3"
    assert {int(number) for number in found.values()} <= set(range(3, 7))
    assert len(found) == 5


def test_an_interface_of_another_namespace_is_captured_at(net: Network) -> None:
    done = run("-i", net.right, "-e", "rx /icmp/ { @[ifname] = count(); }", "--cmd", f"{net.in_a(ROUNDS)} >&2")
    assert done.status == 0, done.err
    assert done.out == f"@[{net.right}]: 3\n"


def test_an_interface_that_no_namespace_has_is_refused(net: Network) -> None:
    misspelt = net.right[:-1] + "zz"
    done = run("-i", misspelt, "-e", "rx { dump; }", "-w", "/dev/null", "--time", "5s")
    assert done.status == 3
    first, second = done.err.splitlines()
    assert first == f"xcap: no interface is called '{misspelt}', in any network namespace"
    assert "did you mean" in second


def test_an_interface_that_comes_later_is_captured_at(net: Network) -> None:
    """Its name is in the condition, and it has it in another namespace, after it was born under another one."""
    later = f"xw{os.getpid()}"
    program = f'rx /icmp and ifname == "{later}"/ {{ @[ifname, netns] = count(); }}'
    running = Running("-e", program)
    sh(f"ip -n {net.a} link add {later}a type veth peer name {later}b")
    sh(f"ip -n {net.a} link set {later}b netns {net.b}; ip -n {net.b} link set {later}b name {later}")
    sh(f"ip -n {net.a} address add 10.79.0.1/24 dev {later}a; ip -n {net.b} address add 10.79.0.2/24 dev {later}")
    sh(f"ip -n {net.a} link set {later}a up; ip -n {net.b} link set {later} up")
    sh(net.in_a("ping -c 3 -i 0.2 10.79.0.2"))
    done = running.stop()
    assert done.status == 0, done.err
    assert done.out == f"@[{later}, {net.netns(net.b)}]: 3\n"


THREADS = """
import socket, sys, threading, time
sys.stdin.readline()
def send():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(5):
            s.sendto(b"x", ("10.78.0.2", 7177))
threads = [threading.Thread(target=send) for _ in range(3)]
for t in threads: t.start()
for t in threads: t.join()
"""


def test_a_process_is_all_its_threads(net: Network) -> None:
    command = [*net.in_a(sys.executable).split(), "-c", THREADS]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        program = "tx /udp dst port 7177/ { @[pid] = count(); @t[tid] = count(); }"
        running = Running("-p", str(process.pid), "-e", program)
        process.communicate(b"go\n")
        done = running.stop()
    assert done.status == 0, done.err
    rows = done.out.splitlines()
    assert f"@[{process.pid}]: 15" in rows
    assert sum(row.startswith("@t[") for row in rows) == 3


def test_a_process_that_is_not_there_is_refused() -> None:
    done = run("-p", "4194305", "-e", "rx { dump; }", "-w", "/dev/null", "--time", "5s")
    assert (done.status, done.err) == (3, "xcap: there is no process 4194305\nxcap: see 'ps -e', or pgrep NAME\n")
