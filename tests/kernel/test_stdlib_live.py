"""The standard library on this kernel: every hook attaches, every function compiles, and they say what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from network import Network, sh
from traffic import COMM, connections, datagrams, python
from xcap import run

from tests.stdlib import STDLIB, calls, hooks

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in STDLIB])
def test_every_hook_attaches_and_every_function_can_be_called(path: Path) -> None:
    names, functions = hooks(path), calls(path)
    clauses = [f"{', '.join(names)} {{ @[hook] = count(); }}", *functions.values()]
    done = run("-e", f'import "{path.stem}"; {" ".join(clauses)}', "--time", "10ms")
    if "this kernel has none of the hooks" in done.err:
        pytest.skip(done.err)
    assert done.status == 0, done.err
    assert done.err.startswith(f"{len(names) + len(functions)} probe")


def test_what_a_queue_takes_and_drops(net: Network) -> None:
    sh(net.in_a(f"tc qdisc add dev {net.left} root tbf rate 2mbit burst 3000 limit 8000"))
    program = """
        import "qdisc";
        qdisc /udp port 7101/ { @taken[str(args.qdisc.ops.id)] = count(); }
        dequeue /udp port 7101/ { @out = count(); }
        drop /udp port 7101 and by_qdisc()/ { @dropped = count(); }
    """
    # what waits has left when it has been sent at 2 Mbit/s
    done = run("-i", net.left, "-e", program, "--cmd", f"{net.in_a(datagrams(60, 7101, 1000))}; sleep 1")
    shown = sh(net.in_a(f"tc -s qdisc show dev {net.left}"))
    dropped = re.search(r"dropped (\d+)", shown)
    assert dropped
    assert int(dropped[1]) > 0
    assert f"@dropped: {dropped[1]}\n" in done.out, done.err
    assert f"@taken[tbf]: {60 - int(dropped[1])}\n" in done.out
    assert f"@out: {60 - int(dropped[1])}\n" in done.out


def test_what_a_bridge_learns(net: Network) -> None:
    for command in (
        "ip link add xbr0 type bridge",
        "ip link add xp0 type veth peer name xp1",
        "ip link set xp1 address 02:00:00:00:00:77",
        "ip link set xp0 master xbr0",
        "ip link set xbr0 up",
        "ip link set xp0 up",
    ):
        sh(net.in_b(command))
    program = """
        import "bridge";
        bridge { printf("%s %s %012x\\n", args.br.dev.name, args.source.dev.name, address()); }
    """
    sender = python("""
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        s.bind(("xp1", 0))
        s.send(bytes.fromhex("ffffffffffff02000000007788b5") + bytes(50))
    """)
    up = net.in_b("ip link set xp1 up")
    done = run("-e", program, "--cmd", f"{up}; sleep 0.5; {net.in_b(sender)}")
    assert "xbr0 xp0 020000000077\n" in done.out, done.err
    assert "02:00:00:00:00:77" in sh(net.in_b("bridge fdb show br xbr0"))


def test_who_asks_for_whom_and_gets_no_answer(net: Network) -> None:
    program = """
        import "arp";
        import "neigh";
        arp /arp/ { requests(); }
        neigh_create /args.tbl.family == AF_INET/ { @made[args.dev.name] = count(); }
        neigh_timer /unanswered()/ { @silent[args.neigh.dev.name, args.neigh.primary_key[3]] = count(); }
    """
    done = run("-e", program, "--cmd", f"{net.in_a('ping -c 1 -W 4 10.78.0.78')} >/dev/null; true")
    assert "@arp_requests[10.78.0.1, 10.78.0.78]: 3\n" in done.out, done.err
    assert f"@made[{net.left}]: 1\n" in done.out
    assert f"@silent[{net.left}, 78]: 1\n" in done.out
    assert "10.78.0.78 FAILED" in sh(net.in_a(f"ip neigh show dev {net.left}")).replace("  ", " ")


ABORTING = """
import ctypes, os, struct, sys
# r0 = XDP_ABORTED; exit
code = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0))
licence = ctypes.create_string_buffer(b"GPL")
bpf = ctypes.CDLL(None, use_errno=True).syscall
number = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
words = (6, 2, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0, 0, 0, b"aborting")
load = ctypes.create_string_buffer(struct.pack("<IIQQIIQII16s", *words))
program = bpf(number, 5, load, len(load) - 1)
link = struct.pack("<IIII", program, socket.if_nametoindex(sys.argv[1]), 37, 2)
assert bpf(number, 28, ctypes.create_string_buffer(link), len(link)) >= 0, os.strerror(ctypes.get_errno())
time.sleep(2)
"""
"""Attaches an XDP program for two seconds: BPF_PROG_LOAD and BPF_LINK_CREATE of the bpf() system call."""


def test_which_xdp_program_fails(net: Network) -> None:
    program = 'import "xdp_error"; xdp_error { @[args.dev.name, args.act, str(args.xdp.aux.name)] = count(); }'
    pings = net.in_a("ping -c 3 -i 0.2 -W 1 10.78.0.2")
    command = f"{net.in_b(python(ABORTING))} {net.right} & sleep 1; {pings} >/dev/null; wait"
    done = run("-e", program, "--cmd", command)
    failed = re.search(rf"^@\[{net.right}, 0, aborting\]: (\d+)$", done.out, re.MULTILINE)
    assert failed, done.err
    # the pings, and what the kernel asks by itself
    assert 3 <= int(failed[1]) < 20


def test_connections_from_begin_to_end(net: Network) -> None:
    server = python("""
        s = socket.create_server(("10.78.0.2", 7102))
        for _ in range(4):
            s.accept()[0].close()
    """)
    program = """
        import "state";
        import "connect";
        connect /connecting() and port 7102/ { @begun[comm] = count(); }
        connect /connected() and port 7102/ { @there[flow] = count(); }
        state /established() and port 7102/ { @both = count(); }
        state /closed() and port 7102/ { @gone = count(); }
    """
    command = f"{net.in_b(server)} & sleep 1; {net.in_a(connections(4, 7102))}; wait; sleep 0.5"
    done = run("-e", program, "--cmd", command)
    assert f"@begun[{COMM}]: 4\n" in done.out, done.err
    there = re.findall(r"^@there\[TCP 10\.78\.0\.1:\d+ > 10\.78\.0\.2:7102\]: 1$", done.out, re.MULTILINE)
    assert len(there) == 4
    # each connection has two ends here; the end that closed first rests in TIME_WAIT as something smaller
    assert "@both: 8\n" in done.out


def test_senders_by_all_that_they_have(net: Network) -> None:
    program = 'import "top"; top /udp port 7103/ { by_process(); by_cgroup(); by_netns(); by_flow(); }'
    done = run("-i", net.left, "-e", program, "--cmd", net.in_a(datagrams(10, 7103, 1000)))
    bytes_sent = 10 * (1000 + 42)
    assert re.search(rf"^@process\[{COMM}, \d+\]: {bytes_sent}$", done.out, re.MULTILINE), done.out
    assert re.search(rf"^@cgroup\[\d+\]: {bytes_sent}$", done.out, re.MULTILINE)
    assert f"@netns[{net.netns(net.a)}]: {bytes_sent}\n" in done.out
    assert re.search(rf"^@flow\[UDP 10\.78\.0\.1:\d+ > 10\.78\.0\.2:7103\]: {bytes_sent}$", done.out, re.MULTILINE)


def test_what_netfilter_drops(net: Network) -> None:
    """dropped() is right at both hooks, wherever the kernel has them."""
    net.drop_icmp()
    program = """
        import "netfilter";
        netfilter /icmp and dropped()/ { @verdicts[verdict()] = count(); }
        drop /icmp and dropped()/ { @dropped = count(); }
        drop /icmp and not dropped()/ { @others = count(); }
    """
    ping = net.in_a("ping -c 3 -i 0.2 -W 1 10.78.0.2")
    done = run("-i", net.right, "-e", program, "--cmd", f"{ping} >&2; true")
    assert done.status == 0, done.err
    assert net.icmp_drops() == 3
    assert set(done.out.splitlines()) == {"@verdicts[dropped]: 3", "@dropped: 3"}
