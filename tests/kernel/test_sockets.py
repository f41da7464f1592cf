"""Packets made up from sockets, against what tcpdump sees of the same connections on the wire."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from network import Network, sh
from traffic import python
from xcap import run

pytestmark = pytest.mark.kernel

PORT, CLOSED = 7301, 7302
VERSIONS = [pytest.param(4, id="IPv4"), pytest.param(6, id="IPv6")]
ADDRESSES = {4: ("10.78.0.1", "10.78.0.2"), 6: ("fd78::1", "fd78::2")}

FIELDS = (
    *("frame.len", "frame.cap_len", "eth.src", "eth.dst", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport"),
    *("tcp.dstport", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.window_size_value", "tcp.len", "tcp.payload"),
    *("ip.checksum.status", "tcp.checksum.status", "frame.packet_flags_direction", "frame.interface_name"),
    *("frame.comment", "_ws.malformed"),
)
CHECKS = "-o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o tcp.relative_sequence_numbers:FALSE"
GOOD, UNVERIFIED = "1", "2"

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


@dataclass(frozen=True)
class Row:
    """A packet as tshark reads it."""

    fields: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.fields[name]

    @property
    def ends(self) -> tuple[str, ...]:
        """Who sends to whom, MAC addresses included."""
        names = ("eth.src", "eth.dst", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport")
        return tuple(self[name] for name in names)

    @property
    def flags(self) -> int:
        return int(self["tcp.flags"], 16)

    @property
    def segment(self) -> tuple[str, ...]:
        """All of a segment that does not depend on TCP's options."""
        names = ("tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.window_size_value", "tcp.payload")
        return *self.ends, *(self[name] for name in names)


def rows(file: Path) -> list[Row]:
    chosen = " ".join(f"-e {name}" for name in FIELDS)
    text = sh(f"tshark {CHECKS} -r {file} -T fields {chosen} 2>/dev/null")
    return [Row(dict(zip(FIELDS, line.split("\t"), strict=True))) for line in text.splitlines()]


def right(row: Row, version: int, *, checksum: str = GOOD) -> bool:
    """Whether tshark finds nothing wrong with a packet that was made up."""
    ip = GOOD if version == 4 else ""
    found = (row["ip.checksum.status"], row["tcp.checksum.status"], row["_ws.malformed"])
    return found == (ip, checksum, "") and " synthetic " in row["frame.comment"]


@contextmanager
def wire(net: Network, file: Path) -> Iterator[None]:
    """What passes host a's device, as tcpdump sees it."""
    command = [
        "ip",
        "netns",
        "exec",
        net.a,
        "tcpdump",
        "--immediate-mode",
        "-U",
        "-i",
        net.left,
        "-w",
        str(file),
        "tcp",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert "listening on" in running.stderr.readline()
        try:
            yield
        finally:
            time.sleep(0.5)
            running.send_signal(signal.SIGINT)


def server(version: int, connections: int) -> str:
    return python(f"""
        family = socket.AF_INET6 if {version} == 6 else socket.AF_INET
        s = socket.create_server(("{ADDRESSES[version][1]}", {PORT}), family=family)
        for _ in range({connections}):
            c = s.accept()[0]
            try:
                while c.recv(65536):
                    pass
            except ConnectionResetError:
                pass
            c.close()
    """)


def client(version: int, code: str) -> str:
    body = "\n".join(f"        {line}" for line in code.splitlines())
    return python(f"""
        import subprocess, struct
        def connect(port={PORT}):
            family = socket.AF_INET6 if {version} == 6 else socket.AF_INET
            s = socket.socket(family)
            s.settimeout(10)
            s.connect_ex(("{ADDRESSES[version][1]}", port))
            return s
{body}
    """)


def talk(net: Network, version: int, connections: int, code: str) -> str:
    """The server, and a client once it listens."""
    listens = f"until ss -Hltn 'sport = :{PORT}' | grep -q .; do sleep 0.05; done"
    waiting = net.in_b(f"sh -c {shlex.quote(listens)}")
    return f"{net.in_b(server(version, connections))} & {waiting}; {net.in_a(client(version, code))}; wait"


def lost(net: Network, version: int, code: str) -> str:
    """Client's code during which nothing reaches the server."""
    tables = "iptables" if version == 4 else "ip6tables"
    rule = net.in_b(f"{tables} -{{}} INPUT -p tcp --dport {PORT} -j DROP")
    run_rule = "subprocess.run({!r}, shell=True, check=True)"
    return "\n".join((run_rule.format(rule.format("I")), code, run_rule.format(rule.format("D"))))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("hook", ["rawtracepoint:tcp_retransmit_skb", "tracepoint:tcp:tcp_retransmit_skb"])
def test_a_retransmitted_segment_is_the_one_on_the_wire(net: Network, version: int, hook: str, tmp_path: Path) -> None:
    out, seen = tmp_path / "again.pcapng", tmp_path / "wire.pcap"
    code = 's = connect()\ns.send(b"first")\ntime.sleep(0.3)\n'
    code += lost(net, version, 's.send(b"lost " * 200)\ntime.sleep(0.9)') + "\ntime.sleep(1)\ns.close()"
    with wire(net, seen):
        program = f'{hook} /dst port {PORT} and netns == "{net.a}"/ {{ dump; }}'
        done = run("-e", program, "-w", str(out), "--cmd", talk(net, version, 1, code))
    assert done.status == 0, done.err
    found, sent = rows(out), rows(seen)
    assert found
    assert all(row["frame.packet_flags_direction"] == "0x00000002" for row in found)
    assert {row["frame.interface_name"] for row in found} == {net.left}
    if hook.startswith("tracepoint"):
        # where the kernel does not read pages, the payload is not there, but its length is
        assert all(right(row, version, checksum=UNVERIFIED) or right(row, version) for row in found)
        assert {row["tcp.len"] for row in found} == {"1000"}
        return
    assert all(right(row, version) for row in found)
    assert all(row["tcp.len"] == "1000" for row in found)
    # as often as it was sent beyond the first time, and the same each time
    again = [row for row in sent if row["tcp.len"] == "1000"]
    assert len(found) == len(again) - 1
    assert {row.segment for row in found} == {row.segment for row in again}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_syn_that_nobody_answers(net: Network, version: int, tmp_path: Path) -> None:
    out, seen = tmp_path / "syn.pcapng", tmp_path / "wire.pcap"
    code = lost(
        net,
        version,
        f"s = socket.socket(socket.AF_INET{6 if version == 6 else ''})\ns.settimeout(2.5)\n"
        f"s.connect_ex(('{ADDRESSES[version][1]}', {PORT}))",
    )
    with wire(net, seen):
        program = f'retrans /dst port {PORT} and netns == "{net.a}"/ {{ dump; }}'
        done = run("-e", program, "-w", str(out), "--cmd", net.in_a(client(version, code)))
    assert done.status == 0, done.err
    found, sent = rows(out), [row for row in rows(seen) if row["tcp.dstport"] == str(PORT)]
    assert found
    assert all(right(row, version) for row in found)
    assert {row.segment for row in found} == {row.segment for row in sent}
    assert {row.flags for row in found} == {SYN}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_syn_ack_that_nobody_answers(net: Network, version: int, tmp_path: Path) -> None:
    """A request for a connection knows both ends; it has no route, and so no MAC addresses."""
    out, seen = tmp_path / "synack.pcapng", tmp_path / "wire.pcap"
    tables = "iptables" if version == 4 else "ip6tables"
    sh(net.in_a(f"{tables} -I INPUT -p tcp --sport {PORT} -j DROP"))
    code = f"s = socket.socket(socket.AF_INET{6 if version == 6 else ''})\ns.settimeout(2.5)\n"
    code += f"s.connect_ex(('{ADDRESSES[version][1]}', {PORT}))"
    hooks = "rawtracepoint:tcp_retransmit_synack, tracepoint:tcp:tcp_retransmit_synack"
    with wire(net, seen):
        program = f'{hooks} /src port {PORT} and netns == "{net.b}"/ {{ dump; }}'
        done = run(
            "-e", program, "-w", str(out), "--cmd", f"timeout 8 {talk(net, version, 1, code).partition('; wait')[0]}"
        )
    assert done.status == 0, done.err
    found = rows(out)
    answers = [row for row in rows(seen) if row["tcp.srcport"] == str(PORT) and row.flags == SYN | ACK]
    assert found
    assert all(right(row, version) for row in found)
    assert {row.segment[2:] for row in found} == {row.segment[2:] for row in answers}
    assert {row["eth.src"] for row in found} == {""}


@pytest.mark.parametrize("version", VERSIONS)
def test_resets_of_both_kinds(net: Network, version: int, tmp_path: Path) -> None:
    """One that this side sends, and one that it receives; a closed port, and a connection that is thrown away."""
    out, seen = tmp_path / "reset.pcapng", tmp_path / "wire.pcap"
    code = (
        's = connect()\ns.send(b"hi")\ntime.sleep(0.3)\n'
        's.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))\ns.close()\n'
        f"time.sleep(0.3)\nconnect({CLOSED}).close()"
    )
    with wire(net, seen):
        program = (
            f'reset /skb == NULL and port {PORT} and netns == "{net.a}"/ {{ dump; }} '
            f'reset_received /port {PORT} and netns == "{net.b}"/ {{ dump; }} '
            f'reset_received /port {CLOSED} and netns == "{net.a}"/ {{ dump; }}'
        )
        program = f'import "reset"; {program}'
        done = run("-e", program, "-w", str(out), "--cmd", talk(net, version, 1, code))
    assert done.status == 0, done.err
    found, sent = rows(out), [row for row in rows(seen) if row.flags & RST]
    assert all(right(row, version) for row in found)
    by_hook = {(row["frame.comment"].split()[0], row["tcp.dstport"]): row for row in found}
    assert len(by_hook) == len(found) == 3
    thrown, refused = (
        next(row for row in sent if str(port) in (row["tcp.srcport"], row["tcp.dstport"])) for port in (PORT, CLOSED)
    )
    assert by_hook["reset", str(PORT)].segment == thrown.segment
    received = by_hook["reset_received", str(PORT)]
    assert (received.ends, received["tcp.seq_raw"]) == (thrown.ends, thrown["tcp.seq_raw"])
    assert received.flags == RST
    assert received["frame.packet_flags_direction"] == "0x00000001"
    answer = by_hook["reset_received", refused["tcp.dstport"]]
    assert answer.segment == refused.segment
    assert answer["frame.packet_flags_direction"] == "0x00000001"


@pytest.mark.parametrize("version", VERSIONS)
def test_states_from_both_ends(net: Network, version: int, tmp_path: Path) -> None:
    """What either end would acknowledge: numbers of the connection, from this end to the other."""
    out, seen = tmp_path / "states.pcapng", tmp_path / "wire.pcap"
    code = 's = connect()\ns.send(b"x" * 100)\ntime.sleep(0.3)\ns.close()\ntime.sleep(0.3)'
    with wire(net, seen):
        program = f"tracepoint:sock:inet_sock_set_state, state /tcp port {PORT}/ {{ dump; }}"
        done = run("-e", program, "-w", str(out), "--cmd", talk(net, version, 1, code))
    assert done.status == 0, done.err
    found, sent = rows(out), rows(seen)
    assert all(right(row, version) for row in found)
    near, far = ADDRESSES[version]
    address = "ip.src" if version == 4 else "ipv6.src"
    known = [row for row in found if row.flags & ACK]
    numbers = {(row[address], int(row["tcp.seq_raw"]) + step) for row in sent for step in (0, 1)}
    for end in (near, far):
        mine = [row for row in known if row[address] == end]
        assert mine
        assert {row.ends for row in mine if row["eth.src"]} == {row.ends for row in sent if row[address] == end}
        assert all((end, int(row["tcp.seq_raw"])) in numbers for row in mine)
        other = far if end == near else near
        assert all((other, int(row["tcp.ack_raw"])) in numbers for row in mine)
    assert {re.sub(r"\D", "", row["tcp.len"]) for row in found} == {"0"}


def test_a_packet_that_is_cut_claims_nothing(net: Network, tmp_path: Path) -> None:
    """With a snaplen the length stays, and the checksum cannot be looked at."""
    out = tmp_path / "cut.pcapng"
    code = 's = connect()\ns.send(b"first")\ntime.sleep(0.3)\n'
    code += lost(net, 4, 's.send(b"lost " * 200)\ntime.sleep(0.5)') + "\ntime.sleep(1)\ns.close()"
    program = f'retrans /dst port {PORT} and greater 1000 and netns == "{net.a}"/ {{ dump; print(len); }}'
    done = run("-e", program, "-s", "100", "-w", str(out), "--cmd", talk(net, 4, 1, code))
    found = rows(out)
    assert found
    assert done.out.split() == ["1054"] * len(found)
    assert all(right(row, 4, checksum=UNVERIFIED) for row in found)
    assert {(row["frame.len"], row["frame.cap_len"], row["tcp.len"]) for row in found} == {("1054", "100", "1000")}


def test_neighbours_that_are_not_known(net: Network, tmp_path: Path) -> None:
    """Without a neighbour there are no MAC addresses; through a gateway they are the gateway's."""
    out = tmp_path / "gateway.pcapng"
    sh(net.in_a("ip route add 198.51.100.0/24 via 10.78.0.2"))
    mac = sh(net.in_b(f"cat /sys/class/net/{net.right}/address")).strip()
    code = (
        "for host in ('198.51.100.7', '10.78.0.99'):\n    s = socket.socket()\n    s.settimeout(0.2)\n"
        f"    s.connect_ex((host, {PORT}))\n    s.close()"
    )
    sh(net.in_b("iptables -I FORWARD -j DROP"))
    program = f'state /tcp port {PORT} and netns == "{net.a}" and args.oldstate == SYN_SENT/ {{ dump; print(ifname); }}'
    done = run("-e", program, "-w", str(out), "--cmd", net.in_a(client(4, code)))
    found = {row["ip.dst"]: row for row in rows(out)}
    assert set(found) == {"198.51.100.7", "10.78.0.99"}, done.err
    assert found["198.51.100.7"]["eth.dst"] == mac
    assert found["10.78.0.99"]["eth.dst"] == ""
    assert done.out.split() == [net.left] * 2


def test_an_interface_is_the_route_of_a_socket(net: Network) -> None:
    """`-i` leaves out what goes elsewhere."""
    code = "s = connect()\ns.close()\ntime.sleep(0.2)"
    program = f"state /tcp port {PORT}/ {{ @[ifname] = count(); }}"
    done = run("-i", net.right, "-e", program, "--cmd", talk(net, 4, 1, code))
    assert re.fullmatch(rf"@\[{net.right}\]: \d+\n", done.out), done.out + done.err
