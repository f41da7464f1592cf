"""The scripts of examples/, run on real traffic: what they print is what was sent, and what the kernel counts."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from network import Network, sh
from programs import SOURCES, dumped, udp_packets, written
from traffic import COMM, connections, counter, datagrams, python
from xcap import Done, run

pytestmark = pytest.mark.kernel

EXAMPLES = Path(__file__).parents[2] / "examples"
ABSENT = re.compile(r"this kernel has none of the hooks|enum \w+ has no '")


def example(name: str, command: str, *options: str) -> Done:
    """Run a script until a command ends."""
    done = run(str(EXAMPLES / f"{name}.xcap"), *options, "--cmd", f"({command}) >/dev/null")
    if done.status and ABSENT.search(done.err):
        pytest.skip(f"not on this kernel: {done.err}")
    assert done.status == 0, done.err
    return done


def numbers(pattern: str, text: str) -> list[int]:
    """The number in each line that matches."""
    return [int(found) for found in re.findall(pattern, text, re.MULTILINE)]


def histogram(name: str, text: str) -> dict[str, int]:
    """The buckets of a map's key, and how many values are in each."""
    _, _, rest = text.partition(f"{name}:\n")
    own = re.match(r"(\[.*\n|\(.*\n)*", rest)
    assert own
    return {found[0]: int(found[1]) for found in re.findall(r"^(\S+ \S+) +(\d+) \|", own[0], re.MULTILINE)}


def test_syns_by_source(net: Network) -> None:
    done = example("syn-sources", net.in_a(connections(7, 7001)), "-i", net.right)
    assert sum(numbers(r"^@syns\[10\.78\.0\.1\]: (\d+)$", done.out)) == 7 == counter(net.a, "TcpActiveOpens")
    assert numbers(r"^@ports\[10\.78\.0\.1, 10\.78\.0\.2, 7001\]: (\d+)$", done.out) == [7]


def test_retransmits_by_peer(net: Network) -> None:
    sh(net.in_b("iptables -A INPUT -p tcp --dport 7002 -j DROP"))
    done = example("retransmits", net.in_a(connections(1, 7002, 2.5)))
    again = counter(net.a, "TcpRetransSegs")
    assert again > 0
    assert numbers(r"^@retransmits\[10\.78\.0\.2, 7002, SYN_SENT\]: (\d+)$", done.out) == [again]


def test_bytes_by_process(net: Network) -> None:
    done = example("bytes-by-process", net.in_a(datagrams(50, 7003, 100)), "-i", net.left)
    assert numbers(rf"^@to\[{COMM}, 10\.78\.0\.2, 7003\]: (\d+)$", done.out) == [50 * (100 + 42)]
    assert 50 * (100 + 42) in numbers(rf"^@process\[{COMM}, \d+\]: (\d+)$", done.out)


def test_sizes_by_interface(net: Network) -> None:
    packets = f"echo packets $({net.in_a(f'cat /sys/class/net/{net.left}/statistics/tx_packets')}) >&2"
    traffic = f"{net.in_a(datagrams(20, 7004, 60))}; {net.in_a(datagrams(10, 7004, 1000))}"
    done = example("sizes", f"{packets}; {traffic}; {packets}", "-i", net.left)
    first, last = numbers(r"^packets (\d+)$", done.err)
    sent = histogram(f"@sent[{net.left}]", done.out)
    # what the kernel sends by itself before the first reading and behind the last is not in between
    assert 30 <= last - first <= sum(sent.values()) <= last - first + 4
    assert sent["[1K, 2K)"] == 10


def test_latency_is_at_least_what_the_reader_slept(net: Network) -> None:
    reader = python("""
        open("/proc/self/comm", "w").write("xt-reader")
        s = socket.create_server(("10.78.0.2", 7005))
        for _ in range(3):
            connection, _ = s.accept()
            time.sleep(0.1)
            connection.recv(1000)
            connection.close()
    """)
    sender = python("""
        for _ in range(3):
            s = socket.create_connection(("10.78.0.2", 7005))
            s.sendall(b"hello")
            s.recv(1)
    """)
    command = f"{net.in_b(reader)} & sleep 1; {net.in_a(sender)}; {net.in_a('ping -c 3 -i 0.2 10.78.0.2')}; wait"
    done = example("rx-to-reader", command, "--slow=90000")
    waits = numbers(r"^TCP 10\.78\.0\.1:\d+ > 10\.78\.0\.2:7005 waited (\d+) us for xt-reader \d+$", done.out)
    assert len(waits) == 3
    # accept() may return after the data have come
    assert all(90_000 < wait < 1_000_000 for wait in waits), waits
    assert sum(histogram("@us[ping]", done.out).values()) >= 3


def test_who_gets_resets(net: Network) -> None:
    done = example("resets", net.in_a(connections(3, 7006)))
    assert counter(net.b, "TcpOutRsts") == 3
    reset = r"^@refused\[10\.78\.0\.1, 10\.78\.0\.2, 7006, SK_RST_REASON_NO_SOCKET\]: (\d+)$"
    assert numbers(reset, done.out) == [3]
    received = r"^@received\[TCP 10\.78\.0\.2:7006 > 10\.78\.0\.1:\d+, SYN_SENT\]: (\d+)$"
    assert numbers(received, done.out) == [1, 1, 1]


def test_dns_queries_with_their_process(net: Network) -> None:
    query = python(r"""
        import os, sys
        head = bytes((0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0))
        name = bytes((7,)) + b"example" + bytes((3,)) + b"com" + bytes((0, 0, 1, 0, 1))
        s = socket.socket(type=socket.SOCK_DGRAM)
        s.sendto(head + name, ("10.78.0.2", 53))
        print("pid", os.getpid(), file=sys.stderr)
    """)
    done = example("dns", net.in_a(query), "-i", net.left)
    (pid,) = numbers(r"^pid (\d+)$", done.err)
    assert f"{COMM} {pid} asks 10.78.0.2: example\\x03com\n" in done.out
    assert f"@queries[{COMM}]: 1\n" in done.out


def test_path_through_namespaces(net: Network) -> None:
    done = example("path", net.in_a("ping -c 3 -i 0.2 10.78.0.2"), "--host=10.78.0.2")
    for host, device in ((net.a, net.left), (net.b, net.right)):
        assert f"@path[{net.netns(host)}, tx, {device}]: 3\n" in done.out
        assert f"@path[{net.netns(host)}, rx, {device}]: 3\n" in done.out
        ours = rf"^ICMP \S+ > \S+ netns={net.netns(host)} [rt]x {device} \+(\d+) us$"
        steps = numbers(ours, done.out)
        assert len(steps) == 6
        assert max(steps) < 1_000_000


def test_packets_that_are_too_old_or_too_large(net: Network) -> None:
    for command in (
        "sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'",
        "ip link add xm0 type veth peer name xm1",
        "ip link set xm0 mtu 1000 up",
        "ip link set xm1 up",
        "ip address add 10.99.0.1/16 dev xm0",
    ):
        sh(net.in_b(command))
    sh(net.in_a("ip route add 10.99.0.0/16 via 10.78.0.2"))
    old = net.in_a("ping -c 2 -i 0.2 -t 1 -W 1 10.99.0.5")
    large = net.in_a("ping -c 1 -W 1 -M do -s 1200 10.99.0.5")
    done = example("ttl-mtu", f"{old}; {large}; true", "-i", net.right)
    assert f"@too_old[10.78.0.1, 10.99.0.5, {net.right}]: 2\n" in done.out
    assert f"@too_large[10.78.0.1, 10.99.0.5, {net.right}]: 1\n" in done.out
    assert "@bytes: 1228\n" in done.out
    assert counter(net.b, "IcmpOutTimeExcds") == 2
    assert counter(net.b, "IcmpOutDestUnreachs") == 1


def test_arp_storms(net: Network) -> None:
    """Requests of a host that is not there, so that the kernel's own do not count among them."""
    sender = python(f"""
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        s.bind(("{net.left}", 0))
        mac, host = bytes.fromhex("020000000099"), bytes((10, 78, 0, 99))
        head = bytes.fromhex("ffffffffffff") + mac + bytes.fromhex("08060001080006040001")
        for last in range(100, 120):
            s.send(head + mac + host + bytes(6) + bytes((10, 78, 0, last)))
    """)
    done = example("arp-storm", net.in_a(sender), "-i", net.right, "--limit=5")
    assert f"storm: 02:00:00:00:00:99 (10.78.0.99) on {net.right}, asks for 10.78.0.105\n" in done.out
    assert f"@requests[10.78.0.99, 02:00:00:00:00:99, {net.right}]: 20\n" in done.out


def test_udp_overflow_by_port(net: Network) -> None:
    receiver = python(f"""
        import subprocess
        s = socket.socket(type=socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        s.bind(("10.78.0.2", 7011))
        subprocess.run({shlex.split(net.in_a(datagrams(30, 7011, 500)))!r})
    """)
    done = example("udp-overflow", net.in_b(receiver))
    lost = counter(net.b, "UdpRcvbufErrors")
    assert lost > 0
    assert numbers(rf"^@lost\[7011, {net.netns(net.b)}\]: (\d+)$", done.out) == [lost]
    assert numbers(r"^@senders\[10\.78\.0\.1, 7011\]: (\d+)$", done.out) == [lost]


def test_top_talkers(net: Network) -> None:
    done = example("top-talkers", net.in_a(datagrams(100, 7012, 500)), "-i", net.left, "--top=1")
    sent = numbers(r"^@flow\[UDP 10\.78\.0\.1:\d+ > 10\.78\.0\.2:7012\]: (\d+)$", done.out)
    assert sum(sent) == 100 * (500 + 42) == sum(numbers(rf"^@process\[{COMM}, \d+\]: (\d+)$", done.out))


def test_connection_failures_with_their_reasons(net: Network) -> None:
    done = example("connect-failures", net.in_a(connections(2, 7013)))
    assert re.findall("^connect: (.*)$", done.err, re.MULTILINE) == ["Connection refused", "Connection refused"]
    assert f"{COMM}: 10.78.0.2 port 7013: refused\n" in done.out
    assert f"@failures[{COMM}, 10.78.0.2, 7013, refused]: 2\n" in done.out


def test_a_connection_that_finds_no_way(net: Network) -> None:
    sh(net.in_a("ip route add 10.79.0.0/16 via 10.78.0.77"))
    unreachable = connections(1, 7014, 10).replace("10.78.0.2", "10.79.0.1")
    done = example("connect-failures", net.in_a(unreachable))
    assert re.findall("^connect: (.*)$", done.err, re.MULTILINE) == ["No route to host"]
    assert f"@failures[{COMM}, 10.79.0.1, 7014, no route to host]: 1\n" in done.out


def test_first_packets_of_each_flow(net: Network, tmp_path: Path) -> None:
    server = python("""
        s = socket.create_server(("10.78.0.2", 7015))
        for _ in range(2):
            connection, _ = s.accept()
            connection.sendall(bytes(100_000))
            connection.close()
    """)
    client = python("""
        for _ in range(2):
            s = socket.create_connection(("10.78.0.2", 7015))
            while s.recv(100_000):
                pass
    """)
    out = tmp_path / "first.pcapng"
    command = f"{net.in_b(server)} & sleep 1; {net.in_a(client)}; wait"
    example("first-packets", command, "-i", net.left, "-w", str(out), "--packets=2")
    rows = sh(f"tshark -r {out} -Y tcp.dstport==7015 -T fields -e tcp.stream -e tcp.flags.syn 2>/dev/null")
    # the SYN, and what comes after it, of either connection
    flags = [row.split("\t") for row in rows.replace("True", "1").replace("False", "0").splitlines()]
    assert flags == [["0", "1"], ["0", "0"], ["1", "1"], ["1", "0"]]


def test_accept_queues_that_are_full(net: Network) -> None:
    server = python("""
        s = socket.create_server(("10.78.0.2", 7016), backlog=1)
        time.sleep(3)
    """)
    client = python("""
        kept = []
        for _ in range(6):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("10.78.0.2", 7016))
            kept.append(s)
            time.sleep(0.1)
    """)
    seen = f"{net.in_b('ss -Hltn sport = 7016')} >&2"
    done = example("listen-overflow", f"{net.in_b(server)} & sleep 1; {net.in_a(client)}; {seen}; wait")
    (queue,) = re.findall(r"^LISTEN +(\d+) +1 ", done.err, re.MULTILINE)
    assert counter(net.b, "TcpExtListenOverflows") > 0
    assert f"@waiting[7016, {net.netns(net.b)}]: {queue}\n" in done.out
    assert f"@full[7016, {net.netns(net.b)}]: 1\n" in done.out


def test_what_the_firewall_drops(net: Network, tmp_path: Path) -> None:
    net.drop_icmp()
    sh(net.in_b("iptables -A INPUT -p udp --dport 7017 -j DROP"))
    out = tmp_path / "f.pcapng"
    traffic = f"{net.in_a('ping -c 4 -i 0.2 -W 1 10.78.0.2')}; {net.in_a(datagrams(3, 7017, 10))}; true"
    done = example("iptables", traffic, "-i", net.right, "-w", str(out))
    assert net.icmp_drops() == 4 + 3  # all rules that drop
    lines = [line for line in done.out.splitlines() if f"drop {net.right} IP" in line]
    assert [int(re.search(r"seq (\d+)", line)[1]) for line in lines] == [1, 2, 3, 4]  # type: ignore[index]
    assert all("ICMP echo request" in line and line.endswith("  NETFILTER_DROP") for line in lines)
    stack = re.search(rf"@count\[NETFILTER_DROP, {net.right},\n((?: +\S.*\n)+)\]: 4\n", done.out)
    assert stack
    # the rule was asked from where a packet is delivered on this host
    assert "nf_hook_slow" in stack[1]
    assert "ip_local_deliver" in stack[1]
    # one count of four, at whatever place is known
    assert numbers(rf"^@netfilter\[\w+, \w+, {net.right}\]: (\d+)$", done.out) == [4]
    assert sh(f"tshark -r {out} -T fields -e icmp.seq 2>/dev/null").split() == ["1", "2", "3", "4"]


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler: the program is made here")
def test_packets_in_the_memory_of_a_program(tmp_path: Path) -> None:
    """dpdk.xcap, its sibling, is run in test_dpdk.py."""
    program, out = tmp_path / "frames", tmp_path / "umem.pcapng"
    subprocess.run(["cc", "-O2", "-o", program, SOURCES / "frames.c"], check=True)
    packets = udp_packets(60, largest=1472)
    file = written(tmp_path / "in", packets)
    where = (f"--program={program}", "--function=process_frame", "--len=arg1")
    done = example("umem", f"{program} {file}", "-w", str(out), *where)
    assert dumped(out) == packets
    assert "@packets[frames, 10.0.0.1, 10.0.0.2]: 60\n" in done.out
    assert f"@bytes[frames]: {sum(map(len, packets))}\n" in done.out
