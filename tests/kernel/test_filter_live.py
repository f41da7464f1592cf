"""Expressions on live traffic: what `dump` writes is what tcpdump with the same expression selects, byte for byte.

Where tcpdump has no such expression (`inner "..."`), tshark's dissectors are the oracle.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from network import Network, sh
from xcap import XCAP, Done, Running, run

from tests.packets import arp, eth, frames, geneve, gre, icmp, ipv4, ipv6, tcp, udp, vlan, vxlan

pytestmark = pytest.mark.kernel

SNAPLEN = 262144
"""The most that xcap keeps of a packet: tcpdump is asked for as much."""

SYN = "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn"
GET = "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420"

SEND_FRAMES = """
import socket, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((sys.argv[1], 0))
for line in open(sys.argv[2]):
    link.send(bytes.fromhex(line))
"""
SERVE = """
import socket
server = socket.create_server(("10.78.0.2", 80))
print("ready", flush=True)
peer = server.accept()[0]
while peer.recv(1 << 20):
    pass
"""
REQUEST = """
import socket
s = socket.create_connection(("10.78.0.2", 80))
s.send(b"GET / HTTP/1.1\\r\\n\\r\\n")
s.send(bytes(3000) + b"far" + bytes(5000))
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
for _ in range(40):
    s.sendall(bytes(64 << 10))
s.shutdown(socket.SHUT_WR)
s.recv(1)
"""
TUN = """
import fcntl, os, struct, sys
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", sys.argv[1].encode(), 0x1001))  # TUNSETIFF: IFF_TUN | IFF_NO_PI
print("ready", flush=True)
while True:
    packet = bytearray(os.read(tun, 2048))
    if packet[0] >> 4 == 4 and packet[9] == 1:  # an echo request comes back as a reply
        packet[12:16], packet[16:20] = packet[16:20], packet[12:16]
        packet[20] = 0
        packet[22:24] = ((struct.unpack("!H", packet[22:24])[0] + 0x800) % 0xffff).to_bytes(2, "big")
        os.write(tun, packet)
"""


@dataclass(frozen=True)
class Tap:
    """Where both capture: a device in a namespace, its direction for tcpdump, and the hooks that see as much."""

    namespace: str
    device: str
    direction: str = "inout"
    hooks: str = "rx, tx"


@contextmanager
def background(*command: str) -> Iterator[None]:
    """A process that says when it is ready, for as long as it is needed."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.kill()
        process.communicate()


@contextmanager
def tcpdumps(tap: Tap, wanted: dict[Path, str]) -> Iterator[None]:
    """tcpdump writes what each expression selects to its file."""
    # at once, each packet takes 128 KiB of the buffer: there is room for all that a test sends, until there is a CPU
    options = f"-i {tap.device} -Q {tap.direction} -s {SNAPLEN} -B 65536 --immediate-mode -U -Z root".split()
    prefix = ["ip", "netns", "exec", tap.namespace, "tcpdump", *options]
    running = [
        subprocess.Popen([*prefix, "-w", str(path), expression], stderr=subprocess.PIPE, text=True)
        for path, expression in wanted.items()
    ]
    said = []
    try:
        for process in running:
            assert process.stderr is not None
            assert any("listening on" in line for line in process.stderr), process.args
        yield
    finally:
        for process in running:
            process.terminate()
            said.append(process.communicate(timeout=10)[1])
    assert all("\n0 packets dropped by kernel" in text for text in said), said


def texts(path: Path, expression: str = "") -> list[str]:
    """A file's packets with all their bytes, as tcpdump prints them; none of a file without an interface."""
    if path.suffix == ".pcapng":  # of raw IP libpcap 1.10 takes no second interface: it compares a LINKTYPE with a DLT
        sh(f"rm -f {path}.pcap; editcap -F pcap {path} {path}.pcap 2>/dev/null", check=False)
        path = Path(f"{path}.pcap")
    printed = sh(f"tcpdump -nr {path} -t -xx {shlex.quote(expression)} 2>/dev/null", check=False)
    return re.findall(r"(?:^(?!\t0x).*\n)*(?:^\t0x.*\n)+", printed, re.MULTILINE)


def capture(tap: Tap, wanted: Sequence[str], traffic: str, path: Path, theirs: dict[Path, str]) -> Done:
    """Let xcap and tcpdump capture while a command runs; xcap writes what it dumps of each expression to a file."""
    clauses = [f'{tap.hooks} /{text}/ {{ dump("{path}/ours{n}.pcapng"); }}' for n, text in enumerate(wanted)]
    xcap = Running("--why", "-i", tap.device, "-e", "\n".join(clauses))
    with tcpdumps(tap, theirs):
        sh(traffic)
        time.sleep(0.2)
        done = xcap.stop()
    assert (done.status, done.lost) == (0, 0), done.err
    return done


def compare(
    tap: Tap, expressions: Sequence[str], traffic: str, path: Path, spelled: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """The packets that each expression selected, which were those of tcpdump, with the words it understands."""
    theirs = {text: path / f"theirs{n}.pcap" for n, text in enumerate(expressions)}
    capture(tap, expressions, traffic, path, {file: (spelled or {}).get(text, text) for text, file in theirs.items()})
    return equal(path, {text: texts(file) for text, file in theirs.items()})


def compare_tagged(tap: Tap, expressions: Sequence[str], traffic: str, path: Path) -> dict[str, list[str]]:
    """The same where there are VLAN tags: tcpdump selects from all that it captured.

    The kernel takes tags out of frames before it filters them for tcpdump. There, only expressions that say `vlan` are
    about the frame as it is on the wire; `tcp` would find tagged ones.
    """
    every = path / "every.pcap"
    live = {text: path / f"theirs{n}.pcap" for n, text in enumerate(expressions) if "vlan" in text}
    capture(tap, expressions, traffic, path, {every: ""} | {file: text for text, file in live.items()})
    selected = equal(path, {text: texts(every, text) for text in expressions})
    assert {text: texts(file) for text, file in live.items()}.items() <= selected.items()
    return selected


def equal(path: Path, selected: dict[str, list[str]]) -> dict[str, list[str]]:
    """What was selected by each expression, and is the same in our files."""
    for number, (text, packets) in enumerate(selected.items()):
        assert texts(path / f"ours{number}.pcapng") == packets, text
    return selected


def hush(net: Network) -> None:
    """Nobody looks for neighbours or routers while others' packets are compared."""
    for name, device, other in ((net.a, net.left, 2), (net.b, net.right, 1)):
        sh(f"ip netns exec {name} sh -c 'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6'")
        (address,) = re.findall(r"lladdr (\S+)", sh(f"ip -n {name} neigh show 10.78.0.{other} dev {device}"))
        sh(f"ip -n {name} neigh replace 10.78.0.{other} lladdr {address} dev {device} nud permanent")


def sender(net: Network, path: Path, made: Sequence[bytes]) -> str:
    """The command that puts these frames on the left device."""
    (path / "frames").write_text("\n".join(frame.hex() for frame in made))
    return net.in_a(f"{sys.executable} -c {shlex.quote(SEND_FRAMES)} {net.left} {path}/frames")


def test_frames_of_every_protocol(net: Network, tmp_path: Path) -> None:
    """At rx a VLAN tag is still in the frame; tcpdump is given it beside the frame, and puts it back."""
    hush(net)
    expressions = [
        *("vlan", "vlan 100", "vlan 100 and tcp", "vlan 10 and vlan 100", "vlan and arp", "not vlan"),
        *("arp", "icmp6", "ip6 and tcp port 80", "ip[6:2] & 0x3fff != 0", "greater 300", SYN, "ether multicast"),
        *("mpls", "mpls 100000 and mpls 1024", "pppoes", "pppoes 0x27 and ip"),
        *("geneve", "geneve 0x123456 and tcp", "ip proto 47"),
    ]
    whole = [frame for frame in frames() if len(frame) >= 14]
    found = compare_tagged(Tap(net.b, net.right, "in", "rx"), expressions, sender(net, tmp_path, whole), tmp_path)
    assert all(found.values()), found
    assert len(found["vlan"]) + len(found["not vlan"]) == len(whole)
    assert len(found["vlan 10 and vlan 100"]) == 1


def test_a_tag_that_the_kernel_keeps_beside_the_packet(net: Network, tmp_path: Path) -> None:
    """A bridge forwards frames with the tag taken out of them, and drops so what it can send nowhere."""
    hush(net)
    sh(f"ip -n {net.b} link add xbr type bridge; ip -n {net.b} link set {net.right} master xbr")
    sh(f"ip -n {net.b} link set xbr up")
    inside = ipv4(6, tcp(40000, 80, 2)), ipv4(17, udp(1, 53))
    made = [
        *(eth(0x8100, vlan(tci, 0x0800, data)) for tci in (100, 0xE064, 200) for data in inside),
        eth(0x88A8, vlan(10, 0x8100, vlan(100, 0x0800, inside[0]))),
        eth(0x8100, vlan(100, 0x86DD, ipv6(6, tcp(40000, 80, 2)))),
        eth(0x0806, arp(1)),
    ]
    traffic = sender(net, tmp_path, made)
    expressions = ["vlan", "vlan 100", "vlan 100 and tcp", "vlan 100 and udp port 53", "vlan 10 and vlan 100", "arp"]
    numbers = [8, 5, 3, 2, 1, 1]
    found = compare_tagged(Tap(net.b, net.right, "in", "drop"), expressions, traffic, tmp_path)
    assert [len(packets) for packets in found.values()] == numbers
    sh(f"ip -n {net.b} link add xp type veth peer name xq; ip -n {net.b} link set xp up master xbr")
    sh(f"ip -n {net.b} link set xq up")
    for port in (Tap(net.b, "xp", "out", "tx"), Tap(net.b, "xq", "in", "rx")):
        found = compare_tagged(port, expressions, traffic, tmp_path)
        assert [len(packets) for packets in found.values()] == numbers, port


@pytest.mark.parametrize("side", ["a", "b"])
def test_hosts_that_talk(net: Network, tmp_path: Path, side: str) -> None:
    """Address resolution, fragments, a TCP connection with segments of up to 64 KB and payload that lies in pages."""
    tap = Tap(net.a, net.left) if side == "a" else Tap(net.b, net.right)
    here, there = ("10.78.0.1", "10.78.0.2") if side == "a" else ("10.78.0.2", "10.78.0.1")
    index = sh(f"ip netns exec {tap.namespace} cat /sys/class/net/{tap.device}/ifindex").strip()
    expressions = [
        *("arp", "icmp6 and net fd78::/64", SYN, "ip[6:2] & 0x3fff != 0", "greater 10000", "less 60 or len > 60000"),
        *(GET, "ether[3000:2] = 0 and tcp", f"ether[{14 + 20 + 32 + 3000}:2] = 0x6661", "tcp and ether[len - 1] = 0"),
    ]
    # libpcap filters the first packets itself, and finds neither their direction nor their device
    spelled = {
        "icmp and inbound": f"icmp and src {there}",
        "icmp and outbound": f"icmp and src {here}",
        f"icmp and ifindex {index}": "icmp",
        "icmp and not ifindex 9999": "icmp",
    }
    request = f"{sys.executable} -c {shlex.quote(REQUEST)}"
    pings = "ping -c 2 -i 0.2 10.78.0.2", "ping -c 2 -i 0.2 -s 4000 10.78.0.2", "ping -6 -c 2 -i 0.2 fd78::2"
    # one CPU, or each of both may see packets of two CPUs in its own order
    one = "taskset -c 0 "
    traffic = "; ".join(one + net.in_a(command) for command in (*pings, request))
    net.forget()
    with background(*one.split(), "ip", "netns", "exec", net.b, sys.executable, "-c", SERVE):
        found = compare(tap, [*expressions, *spelled], traffic, tmp_path, spelled)
    assert all(found.values()), [text for text, packets in found.items() if not packets]
    assert len(found[SYN]) == len(found[GET]) == 1
    assert len(found["ip[6:2] & 0x3fff != 0"]) == 12
    assert [len(found[text]) for text in spelled] == [8, 8, 16, 16]
    lengths = [int(length) for packet in found["greater 10000"] for length in re.findall(r"length (\d+)", packet)]
    assert max(lengths) > 60000


def test_raw_ip(net: Network, tmp_path: Path) -> None:
    """A tun device has no link header: what asks for one matches nothing, and says so."""
    hush(net)
    device = net.left.replace("xl", "xt")
    with background("ip", "netns", "exec", net.a, sys.executable, "-c", TUN, device):
        sh(f"ip -n {net.a} address add 10.79.0.1/24 dev {device}; ip -n {net.a} link set {device} up")
        ping = net.in_a("ping -c 3 -i 0.2 10.79.0.2")
        tap, expressions = Tap(net.a, device), ["icmp", "not arp", "ip[8] = 64", "src host 10.79.0.2", "greater 84"]
        found = compare(tap, expressions, ping, tmp_path)
        assert [len(packets) for packets in found.values()] == [6, 6, 6, 3, 6]
        unlinked = ["ether[0] & 1 = 0", "arp", "vlan", "link[12:2] = 0x800 or icmp", "ether host 1:2:3:4:5:6"]
        done = capture(tap, unlinked, ping, tmp_path, {})
    for row in (f"{hook} (line {line})" for line in range(1, len(unlinked) + 1) for hook in ("rx", "tx")):
        assert why(done, row) == {"seen": 3, "no link header": 3}, done.err


def why(done: Done, row: str) -> dict[str, int]:
    """What --why counted for a hook at the packets of -i, without zeros and without what -i kept out."""
    lines = done.err.splitlines()
    (head,) = (line for line in lines if line.lstrip().startswith("seen  no packet"))
    (found,) = (line for line in lines if line.startswith(row))
    counts = dict(zip(re.split(r"  +", head.strip()), map(int, found[len(row) :].split()), strict=True))
    counts["seen"] -= counts.pop("filter said no")
    return {name: count for name, count in counts.items() if count}


def test_loopback(net: Network, tmp_path: Path) -> None:
    """Every namespace has a device of this name: the addresses are this test's own."""
    expressions = ["icmp and host 127.78.0.9", "udp and host 127.78.0.9", "ether[0:4] = 0 and host 127.78.0.9"]
    code = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(bytes(30000), ('127.78.0.9', 9))"
    traffic = f"{net.in_a('ping -c 2 -i 0.2 127.78.0.9')}; {net.in_a(f'{sys.executable} -c {shlex.quote(code)}')}"
    for hook in ("rx", "tx"):
        found = compare(Tap(net.a, "lo", hooks=hook), expressions, traffic, tmp_path)
        assert [len(packets) for packets in found.values()] == [5, 1, 6]


def test_broadcasts_of_the_network_of_an_interface(net: Network, tmp_path: Path) -> None:
    """Spelled out for tcpdump: it looks for the mask with -f only, and takes its bytes in the wrong order then."""
    ours, theirs = tmp_path / "ours.pcapng", tmp_path / "theirs.pcap"
    targets = "10.78.0.255", "255.255.255.255", "10.78.1.0", "10.255.255.254", "10.78.0.2"
    made = [eth(0x0800, ipv4(17, udp(1, 9), ("10.78.0.1", target))) for target in targets]
    command = ["-i", net.left, "-e", "rx, tx /ip broadcast/ { dump; }", "-w", str(ours)]
    with tcpdumps(Tap(net.a, net.left), {theirs: "ip[19] = 255 or ip[19] = 0"}):
        inside = ["ip", "netns", "exec", net.a, *XCAP, *command, "--cmd", f"{sender(net, tmp_path, made)}; sleep 0.2"]
        done = subprocess.run(inside, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(texts(theirs)) == 3
    assert texts(ours) == texts(theirs)
    without = run(*command[2:])
    assert without.status == 1
    assert "netmask not known, so 'ip broadcast' not supported" in without.err


def compare_inner(tap: Tap, rows: Sequence[tuple[str, str, int]], traffic: str, path: Path) -> None:
    """A row is an expression of ours, a display filter of tshark, and how many packets both must select."""
    every = path / "every.pcap"
    capture(tap, [ours for ours, _, _ in rows], traffic, path, {every: ""})
    for number, (ours, words, count) in enumerate(rows):
        sh(f"tshark -r {every} -Y {shlex.quote(words)} -w {every}.part 2>/dev/null")
        wanted = texts(Path(f"{every}.part"))
        assert texts(path / f"ours{number}.pcapng") == wanted, ours
        assert len(wanted) == count, ours


def test_the_packet_inside_a_tunnel(net: Network, tmp_path: Path) -> None:
    hush(net)
    syn, ping, dns = ipv4(6, tcp(40000, 80, 2)), ipv4(1, icmp(8)), ipv6(17, udp(1, 53))
    options = b"\0\0\0\1\0\0\0\0"
    carried = [
        (17, udp(1, 4789, vxlan(7, eth(0x0800, syn)))),
        (17, udp(1, 4789, vxlan(7, eth(0x0806, arp(1))))),
        (17, udp(1, 4789, vxlan(7, eth(0x8100, vlan(100, 0x86DD, dns))))),
        (17, udp(1, 6081, geneve(7, 0x6558, eth(0x0800, ping)))),
        (17, udp(1, 6081, geneve(7, 0x0800, syn, options))),
        (17, udp(1, 6081, geneve(7, 0x86DD, dns, options))),
        *((47, gre(0x0800, data)) for data in (syn, ping)),
        (47, gre(0x86DD, dns, key=9)),
        (47, gre(0x6558, eth(0x0806, arp(1)), key=9)),
        *((4, data) for data in (syn, ping)),
        (41, dns),
        (6, syn[20:]),
    ]
    made = [
        *(eth(0x0800, ipv4(protocol, data, ("10.78.0.1", "10.78.0.2"))) for protocol, data in carried),
        *(eth(0x86DD, ipv6(protocol, data)) for protocol, data in carried),
    ]
    rows = [
        ('udp port 4789 and inner "tcp port 80"', "vxlan && tcp.dstport == 80", 2),
        ('udp port 4789 and inner "arp"', "vxlan && arp", 2),
        ('udp port 4789 and inner "vlan 100 and udp port 53"', "vxlan && vlan.id == 100 && udp.port == 53", 2),
        ('inner "icmp" and udp port 6081', "geneve && icmp", 2),
        ('geneve 7 and inner "tcp[tcpflags] = tcp-syn"', "geneve && tcp.flags == 2", 2),
        ('ip and inner "ip6"', "eth.type == 0x800 && ip.proto in {17, 41, 47} && ipv6 && !vlan", 3),
        ('proto 47 and inner "ip net 10.0.0.0/24 and not icmp"', "gre && tcp", 2),
        ('proto 47 and inner "arp"', "gre && arp", 2),
        ('proto 4 and inner "greater 60"', "(ip.proto == 4 || ipv6.nxt == 4) && icmp", 2),
        ('inner "udp port 53"', "udp.dstport == 53 && !vlan", 6),
        ('inner "tcp"', "tcp && (udp || gre || ip.proto == 4 || ipv6.nxt == 4)", 8),
    ]
    compare_inner(Tap(net.b, net.right, "in", "rx"), rows, sender(net, tmp_path, made), tmp_path)


def test_the_packet_inside_a_vxlan_device(net: Network, tmp_path: Path) -> None:
    hush(net)
    for name, here, there in ((net.a, 1, 2), (net.b, 2, 1)):
        link = f"type vxlan id 7 remote 10.78.0.{there} dstport 4789 noudpcsum"
        sh(f"ip -n {name} link add xvx {link} dev {net.left if here == 1 else net.right}")
        sh(f"ip -n {name} address add 10.80.0.{here}/24 dev xvx; ip -n {name} link set xvx up")
    code = "import socket; socket.socket().connect_ex(('10.80.0.2', 80))"
    ping, connect = "ping -c 3 -i 0.2 -s 1000 10.80.0.2", f"{sys.executable} -c {shlex.quote(code)}"
    traffic = f"{net.in_a(ping)}; {net.in_a(connect)}"
    rows = [
        ('udp port 4789 and inner "icmp"', "vxlan && icmp", 6),
        ('udp port 4789 and inner "arp"', "vxlan && arp", 2),
        (f'inner "{SYN}"', "vxlan && tcp.flags == 2", 1),
        ('inner "icmp[icmptype] = icmp-echo and greater 1042"', "vxlan && icmp.type == 8", 3),
    ]
    compare_inner(Tap(net.a, net.left), rows, traffic, tmp_path)


REFUSED = (
    *("tcp port", "port foo", "host", "vlan 5000", "ether host 1.2.3.4", "ip6 host 10.0.0.1", "tcp and (udp"),
    *("arp and tcp", "wlan type mgt", "proto foo", "len >", "ip[1:3] = 1", "gateway 10.0.0.1", "net 10.0.0.1/8"),
    *("portrange 1-x", "ip6 broadcast", "on eth0", "icmp[icmptypo] = 1", "atalk port 80", "1 = 2 and", "ether[0] = x"),
)


def test_what_libpcap_refuses(tmp_path: Path) -> None:
    """In its own words, and before anything is loaded: without its capabilities the process could not."""
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(bytes.fromhex("d4c3b2a10200040000000000000000000000040001000000"))
    words = []
    for expression in REFUSED:
        command = ["tcpdump", "-nr", empty, "--", expression]
        theirs = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10)
        words.append(theirs.stderr.splitlines()[-1].removeprefix("tcpdump: ") if theirs.returncode else "")
    assert all(words), [e for e, w in zip(REFUSED, words, strict=True) if not w]
    program = "\n".join(f"rx /{expression}/ {{ count; }}" for expression in REFUSED)
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *XCAP, "-n", "-e", program]
    done = subprocess.run(bare, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, " attached" in done.stderr) == (1, False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("-e:")]
    assert len(lines) == len(REFUSED)
    for number, (line, expected) in enumerate(zip(lines, words, strict=True), 1):
        assert re.match(rf"-e:{number}:\d+: error: {re.escape(expected)}", line), (REFUSED[number - 1], expected, line)
