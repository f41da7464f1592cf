"""kprobe, kretprobe, fentry and fexit: the kernel's functions, its modules' too, on real packets."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from network import Network, sh
from traffic import connections, counter, python
from xcap import run

from xcapscript.kernel.kprobes import has_multi

REQUEST = "icmp[icmptype] == icmp-echo"
PING = "ping -c 5 -i 0.2 -W 1 10.78.0.2"


def fields(path: Path, names: str, *options: str) -> list[list[str]]:
    """What tshark reads from a file, a row a packet."""
    command = f"tshark -r {path} {' '.join(options)} -T fields {' '.join(f'-e {name}' for name in names.split())}"
    return [line.split("\t") for line in sh(f"{command} 2>/dev/null").splitlines()]


def in_hex(path: Path) -> str:
    """Every packet's bytes, as tcpdump prints them."""
    return sh(f"tcpdump -nr {path} -t -xx 2>/dev/null")


@contextmanager
def captured(command: str, device: str, expression: str, path: Path) -> Iterator[None]:
    """tcpdump at work meanwhile; the command is that of a host."""
    capture = f"tcpdump -i {device} --immediate-mode -Q in -U -w {path} '{expression}'"
    tcpdump = subprocess.Popen(f"exec {command.format(capture)}", shell=True, stderr=subprocess.PIPE)
    assert tcpdump.stderr is not None
    tcpdump.stderr.readline()
    yield
    tcpdump.send_signal(signal.SIGINT)
    tcpdump.wait(60)


def test_a_functions_packet_its_arguments_and_what_it_returned(net: Network, tmp_path: Path) -> None:
    """iptables drops the packets behind ip_rcv, which returns -EPERM then."""
    ours, theirs = tmp_path / "ours.pcapng", tmp_path / "theirs.pcap"
    program = f"""
        kprobe:ip_rcv /{REQUEST}/ {{ dump; @entered[args.dev.name, func] = count(); }}
        kretprobe:ip_rcv /{REQUEST}/ {{ @left[retval, ip.src, icmp.type] = count(); }}
        fentry:ip_rcv /{REQUEST}/ {{ @typed[args.dev.name, len] = count(); }}
        fexit:ip_rcv /{REQUEST}/ {{ @result[retval, ip.dst] = count(); }}
        kprobe:nf_hook_slow /{REQUEST} and args.state.hook == 1/ {{ @firewall[args.state.in.name] = count(); }}
        kretprobe:nf_hook_slow /{REQUEST} and retval != 1/ {{ @refused[retval] = count(); }}
        kprobe:veth_xmit /{REQUEST}/ {{ @module[args.dev.name] = count(); }}
    """
    net.drop_icmp()
    with captured(net.in_b("{}"), net.right, "icmp", theirs):
        done = run("-e", program, "-w", str(ours), "--cmd", f"{net.in_a(PING)} >&2; sleep 1")
    assert (done.status, done.lost) == (0, 0), done.err
    assert net.icmp_drops() == 5
    for line in (
        f"@entered[{net.right}, ip_rcv]: 5",
        "@left[-1, 10.78.0.1, 8]: 5",
        f"@typed[{net.right}, 98]: 5",
        "@result[-1, 10.78.0.2]: 5",
        f"@firewall[{net.right}]: 5",
        "@refused[-1]: 5",
        f"@module[{net.left}]: 5",
    ):
        assert line in done.out.splitlines(), done.out
    sh(f"tshark -r {ours} -F pcap -w {ours}.pcap 2>/dev/null")
    assert in_hex(Path(f"{ours}.pcap")) == in_hex(theirs)
    rows = fields(ours, "frame.comment frame.interface_name icmp.seq")
    assert [row[2] for row in rows] == ["1", "2", "3", "4", "5"]
    assert {row[1] for row in rows} == {net.right}
    for comment, *_ in rows:
        assert re.fullmatch(rf"kprobe:ip_rcv pid=\d+ comm=\S+ netns={net.netns(net.b)}", comment)


def test_wildcards_tell_which_function_it_was(net: Network) -> None:
    """The other side refuses the connections, as its own counter says."""
    program = "kprobe:tcp_v4_* /tcp dst port 7400/ { @[func] = count(); }"
    before = counter(net.b, "TcpOutRsts")
    done = run("-e", program, "--cmd", net.in_a(connections(3, 7400)))
    assert done.status == 0, done.err
    assert counter(net.b, "TcpOutRsts") - before == 3
    for function in ("tcp_v4_rcv", "tcp_v4_send_reset"):
        assert f"@[{function}]: 3\n" in done.out, done.out + done.err
    assert "@[tcp_v6" not in done.out


def test_a_ping_is_followed_through_all_functions_that_have_it(net: Network) -> None:
    """Without kprobe.multi the kernel takes its time for each of 1,500 functions: then it is only a part of them."""
    everywhere = has_multi("ip_rcv")
    hooks = "kprobe:*" if everywhere else "kprobe:ip_*, kprobe:icmp_*"
    done = run("-e", f"{hooks} /{REQUEST}/ {{ @[func] = count(); }}", "--cmd", f"{net.in_a(PING)} >&2")
    assert done.status == 0, done.err
    assert " 0% packet loss" in done.err
    attached = re.search(r"^([\d,]+) probes attached$", done.err, re.MULTILINE)
    assert attached, done.err
    assert int(attached[1].replace(",", "")) > (1000 if everywhere else 50)
    # there, over, and up to where it is answered
    for function in ("ip_output", "ip_rcv", "ip_local_deliver", "icmp_rcv", "icmp_echo"):
        assert f"@[{function}]: 5\n" in done.out, done.out
    assert ("@[veth_xmit]: 5\n" in done.out) == everywhere


SERVER = python("""
    import sys
    family = {4: socket.AF_INET, 6: socket.AF_INET6}
    servers = [socket.create_server((address, 7401), family=family[version])
               for version, address in ((4, "10.78.0.2"), (6, "fd78::2"))]
    for server in servers:
        connection = server.accept()[0]
        while connection.recv(65536):
            pass
        connection.close()
""")
CLIENT = python("""
    for address in ("10.78.0.2", "fd78::2"):
        connection = socket.create_connection((address, 7401), 60)
        for number in range(3):
            connection.sendall(b"xcap" * (number + 1))
            time.sleep(0.2)
        connection.close()
""")


@pytest.mark.parametrize("kind", ["kprobe"])
def test_what_a_socket_is_about_to_send_has_headers_made_up(net: Network, tmp_path: Path, kind: str) -> None:
    ours = tmp_path / "ours.pcapng"
    program = f"{kind}:tcp_sendmsg /tcp port 7401/ {{ dump; @[ip.src, ip.dst, tcp.dport] = count(); }}"
    done = run("-e", program, "-w", str(ours), "--cmd", f"{net.in_b(SERVER)} & sleep 3; {net.in_a(CLIENT)}; wait")
    assert (done.status, done.lost) == (0, 0), done.err
    names = "ip.src ip.dst ipv6.src ipv6.dst tcp.dstport ip.checksum.status tcp.checksum.status _ws.malformed"
    rows = fields(ours, names, "-o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE")
    assert [row[:4] for row in rows] == [
        *[["10.78.0.1", "10.78.0.2", "", ""]] * 3,
        *[["", "", "fd78::1", "fd78::2"]] * 3,
    ], done.err
    for row in rows:
        assert row[4] == "7401"
        # 1 is good, 2 is not looked at; 0 is bad
        assert "0" not in (row[5], row[6])
        assert row[7:] in ([], [""])
    assert "@[10.78.0.1, 10.78.0.2, 7401]: 3\n" in done.out
    assert "@[fd78::1, fd78::2, 7401]: 3\n" in done.out
