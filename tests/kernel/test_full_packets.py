"""Packets whose bytes lie in pages are captured whole, and what was captured is what was sent."""

from __future__ import annotations

import random
import shlex
import subprocess
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dpkt
import pytest
from network import Network, sh
from tcpdump import Tcpdump
from traffic import python
from xcap import run

from xcapscript.kernel.pages import place_of_pages
from xcapscript.layout import PacketFlag
from xcapscript.sinks.metadata import CUSTOM_BINARY, Metadata

pytestmark = pytest.mark.kernel

PORT = 47010
SIZE = 1 << 20
LARGEST_COPY, LARGEST_SNAPLEN = 16384, 262144
"""Bytes of a packet that are kept where a record is copied as a whole, and where it is not."""

ENHANCED_PACKET, COMMENT = 6, 1

# from the page cache: the packets' payload is in its pages
SENDER = python(f"""
    import os, sys
    s = socket.create_connection((sys.argv[1], {PORT}))
    with open(sys.argv[2], "rb") as file:
        while os.sendfile(s.fileno(), file.fileno(), None, {SIZE}):
            pass
    s.shutdown(socket.SHUT_WR)
    s.recv(1)
""")
RECEIVER = python(f"""
    import sys
    s = socket.socket(socket.AF_INET6)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("::", {PORT}))
    s.listen()
    open(sys.argv[1], "w").close()
    connection, _ = s.accept()
    while connection.recv({SIZE}):
        pass
""")


@dataclass(frozen=True)
class Packet:
    """A packet of a file, as dpkt reads it, and what the structured option says of it."""

    data: bytes
    length: int
    comment: str
    metadata: Metadata


def packets_of(path: Path) -> list[Packet]:
    found = []
    text = path.read_bytes()
    while text:
        kind, size = (int.from_bytes(text[at : at + 4], "little") for at in (0, 4))
        if kind == ENHANCED_PACKET:
            block = dpkt.pcapng.EnhancedPacketBlockLE(text[:size])
            options = {option.code: bytes(option.data) for option in block.opts}
            metadata = Metadata.decode(options[CUSTOM_BINARY])
            assert metadata is not None
            found.append(Packet(bytes(block.pkt_data), block.pkt_len, options[COMMENT].decode(), metadata))
        text = text[size:]
    assert len(found) == int(sh(f"tshark -r {path} -T fields -e frame.number 2>/dev/null | wc -l"))
    return found


def check_segments(packets: Sequence[Packet], sent: bytes, snaplen: int) -> list[Packet]:
    """The payload of every packet of a connection must be what was sent; those that have some."""
    start, with_payload = 0, []
    for packet in packets:
        ip = dpkt.ethernet.Ethernet(packet.data).data
        segment = ip.data
        if segment.flags & dpkt.tcp.TH_SYN:
            start = segment.seq + 1
        headers = len(packet.data) - len(segment.data)
        if packet.length == headers:
            continue
        at = (segment.seq - start) % (1 << 32)
        assert len(packet.data) == min(snaplen or packet.length, packet.length)
        assert bytes(segment.data) == sent[at : at + len(segment.data)]
        assert at + packet.length - headers <= len(sent)
        with_payload.append(packet)
    return with_payload


def whole(packets: Iterable[bytes]) -> bytes:
    """What a connection carried, from packets that are whole."""
    start, found = 0, bytearray()
    for packet in packets:
        segment = dpkt.ethernet.Ethernet(packet).data.data
        if segment.flags & dpkt.tcp.TH_SYN:
            start = segment.seq + 1
            continue
        at = (segment.seq - start) % (1 << 32)
        found[at : at + len(segment.data)] = segment.data
    return bytes(found)


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """What is sent; it is in the file `content`."""
    data = random.Random(1).randbytes(SIZE)
    (tmp_path / "content").write_bytes(data)
    return data


@pytest.fixture(params=["C", "Python"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads the ring and writes the file."""
    if request.param == "Python":
        monkeypatch.setenv("XCAP_NATIVE", "0")


def transfer(net: Network, path: Path, sender: str = SENDER, address: str = "10.78.0.2") -> str:
    """The command by which host a sends the file `content` to host b."""
    ready = path / "ready"
    return (
        f"{net.in_b(RECEIVER)} {ready} & until [ -e {ready} ]; do sleep 0.05; done; rm {ready}; "
        f"{net.in_a(sender)} {address} {path / 'content'}; wait"
    )


def capture(net: Network, path: Path, hook: str, *options: str) -> list[Packet]:
    """What a hook sees of a transfer."""
    out = path / "out.pcapng"
    program = f"{hook} /tcp and dst port {PORT}/ {{ dump; }}"
    done = run("-i", net.left, "-e", program, "-w", str(out), *options, "--cmd", transfer(net, path))
    assert done.status == 0, done.err
    assert done.lost == 0
    return packets_of(out)


@pytest.mark.parametrize("snaplen", [0, 128, 20000])
def test_segments_with_pages_are_what_was_sent(net: Network, tmp_path: Path, content: bytes, snaplen: int) -> None:
    packets = capture(net, tmp_path, "tx", "-s", str(snaplen))
    found = check_segments(packets, content, snaplen)
    assert max(packet.length for packet in found) > 20000
    assert not any("partial" in packet.comment or packet.metadata.flags & PacketFlag.PARTIAL for packet in packets)
    if not snaplen:
        assert whole(packet.data for packet in packets) == content


def test_super_packets_keep_their_length_and_the_size_of_their_segments(
    net: Network, tmp_path: Path, content: bytes
) -> None:
    packets = check_segments(capture(net, tmp_path, "tx"), content, 0)
    for packet in packets:
        ip = dpkt.ethernet.Ethernet(packet.data).data
        payload = packet.length - (len(packet.data) - len(ip.data.data))
        largest = 1500 - 4 * ip.hl - 4 * ip.data.off
        segments = -(-payload // largest)
        assert packet.length == 14 + ip.len
        assert (packet.metadata.gso_size, packet.metadata.gso_segs) == ((largest, segments) if segments > 1 else (0, 1))


@pytest.mark.usefixtures("reader")
def test_several_files_of_one_clause_have_each_their_snaplen(net: Network, tmp_path: Path, content: bytes) -> None:
    files = {tmp_path / f"{snaplen}.pcapng": snaplen for snaplen in (128, 20000, 0)}
    dumps = "".join(f'dump("{path}"{f", snaplen={snaplen}" if snaplen else ""}); ' for path, snaplen in files.items())
    program = f'tx /tcp and dst port {PORT}/ {{ {dumps}ring("{tmp_path}/kept.pcapng", 2000); }}'
    program += f' end {{ commit("{tmp_path}/kept.pcapng"); }}'
    done = run("-i", net.left, "-e", program, "--cmd", transfer(net, tmp_path))
    assert done.status == 0, done.err
    assert done.lost == 0
    for path, snaplen in files.items():
        assert max(packet.length for packet in check_segments(packets_of(path), content, snaplen)) > 20000
    for name in ("0.pcapng", "kept.pcapng"):
        assert whole(packet.data for packet in packets_of(tmp_path / name)) == content


@pytest.mark.usefixtures("reader")
def test_a_large_segment_of_the_loopback_device(net: Network, tmp_path: Path) -> None:
    data = random.Random(2).randbytes(9000)
    (tmp_path / "data").write_bytes(data)
    talk = python(f"""
        import sys
        data = open(sys.argv[1], "rb").read()
        server = socket.create_server(("127.0.0.1", {PORT}))
        client = socket.create_connection(("127.0.0.1", {PORT}))
        client.sendall(data)
        connection, _ = server.accept()
        assert connection.recv(len(data), socket.MSG_WAITALL) == data
    """)
    program = " ".join(f"{hook} /tcp and dst port {PORT}/ {{ dump; }}" for hook in ("tx", "rx"))
    out = tmp_path / "out.pcapng"
    done = run("-i", "lo", "-e", program, "-w", str(out), "--cmd", net.in_a(f"{talk} {tmp_path / 'data'}"))
    assert done.status == 0, done.err
    sent = [packet for packet in packets_of(out) if packet.length > 9000]
    assert [packet.comment.split()[0] for packet in sent] == ["tx", "rx"]
    for packet in sent:
        assert dpkt.ethernet.Ethernet(packet.data).data.data.data == data


def gso_code(segment: int) -> str:
    """Python that sends a file's bytes at once, to be cut into datagrams by whoever sends them out."""
    sol_udp, udp_segment = 17, 103
    return f"""
        import sys
        s = socket.socket(type=socket.SOCK_DGRAM)
        if {segment}:
            s.setsockopt({sol_udp}, {udp_segment}, {segment})
        s.sendto(open(sys.argv[1], "rb").read(), ("10.78.0.2", {PORT}))
    """


def gso_datagram(data: Path, segment: int) -> str:
    return f"{python(gso_code(segment))} {shlex.quote(str(data))}"


def one_datagram(net: Network, path: Path, hook: str, size: int, segment: int) -> tuple[Packet, bytes]:
    """The only packet that a hook sees of a datagram, and its payload as it was sent."""
    data, out = random.Random(3).randbytes(size), path / "out.pcapng"
    (path / "data").write_bytes(data)
    program = f"{hook} /udp and dst port {PORT}/ {{ dump; }}"
    done = run("-e", program, "-w", str(out), "--cmd", net.in_a(gso_datagram(path / "data", segment)))
    assert done.status == 0, done.err
    (packet,) = packets_of(out)
    return packet, data


def test_a_datagram_that_is_to_be_cut_keeps_its_length(net: Network, tmp_path: Path) -> None:
    packet, data = one_datagram(net, tmp_path, "tx", 20500, 1000)
    assert packet.length == len(packet.data) == 14 + 20 + 8 + 20500
    assert packet.data[42:] == data
    assert (packet.metadata.gso_size, packet.metadata.gso_segs) == (1000, 21)


@pytest.mark.parametrize(("size", "segment"), [(20500, 1000), (30000, 0), (12000, 0)])
def test_a_dropped_packet_of_pages_or_of_fragments(net: Network, tmp_path: Path, size: int, segment: int) -> None:
    """Without `segment` it comes as IP fragments, which are one packet with a list of others when it is dropped."""
    sh(net.in_b(f"iptables -A INPUT -p udp --dport {PORT} -j DROP"))
    packet, data = one_datagram(net, tmp_path, "drop", size, segment)
    assert packet.length == len(packet.data) == 14 + 20 + 8 + size
    assert packet.data[42:] == data
    assert "partial" not in packet.comment


def tagged_datagram(net: Network, data: Path) -> str:
    """The command that sends a datagram of segments with a VLAN tag, which is in the skb until the device has it.

    A program at the device's egress (tcx) puts it there, as long as the command runs; it ends with 3 where it cannot.
    """
    sched_cls, tcx_egress, skb_vlan_push = 3, 47, 18
    code = f"""
        import struct, sys
        from xcapscript.kernel import bpf, libbpf
        instructions = [
            (0xB7, 2, 0, socket.htons(0x8100)),
            (0xB7, 3, 0, 7),
            (0x85, 0, 0, {skb_vlan_push}),
            (0xB7, 0, 0, 0),
            (0x95, 0, 0, 0),
        ]
        text = b"".join(struct.pack("=BBhi", *one) for one in instructions)
        try:
            program = libbpf.check(libbpf.load().bpf_prog_load({sched_cls}, b"push", b"GPL", text, 5, None))
            link = bpf.link_create(program, socket.if_nametoindex("{net.left}"), {tcx_egress})
        except OSError:
            sys.exit(3)
    """
    return f"{python(textwrap.dedent(code) + textwrap.dedent(gso_code(1000)))} {shlex.quote(str(data))}"


@pytest.mark.parametrize("size", [5000, 20500])
def test_a_tag_in_the_skb_is_in_its_place_before_pages(net: Network, tmp_path: Path, size: int) -> None:
    data, out = random.Random(4).randbytes(size), tmp_path / "out.pcapng"
    (tmp_path / "data").write_bytes(data)
    program = f"tx /vlan and udp dst port {PORT}/ {{ dump; }}"
    command = net.in_a(tagged_datagram(net, tmp_path / "data"))
    done = run("-i", net.left, "-e", program, "-w", str(out), "--cmd", f"{command}; echo status $? >&2")
    if "status 3" in done.err:
        pytest.skip("this kernel has no tcx")
    assert done.status == 0, done.err
    (packet,) = packets_of(out)
    assert dpkt.ethernet.Ethernet(packet.data).vlan_tags[0].id == 7
    assert packet.length == len(packet.data)
    assert packet.data[46:] == data


UNTYPED = "tracepoint:net:net_dev_queue"
"""Its program cannot ask the kernel for bytes in pages: it finds them by itself."""

by_hand = pytest.mark.skipif(place_of_pages() is None, reason="where pages are cannot be found here")


@by_hand
@pytest.mark.parametrize("snaplen", [0, 128, 5000])
def test_pages_are_found_by_hand(net: Network, tmp_path: Path, content: bytes, snaplen: int) -> None:
    packets = capture(net, tmp_path, UNTYPED, "-s", str(snaplen))
    found = check_segments(packets, content, min(snaplen or LARGEST_COPY, LARGEST_COPY))
    assert max(packet.length for packet in found) > LARGEST_COPY
    for packet in packets:
        partial = not snaplen and packet.length > LARGEST_COPY
        assert ("partial" in packet.comment.split()) == partial
        assert bool(packet.metadata.flags & PacketFlag.PARTIAL) == partial


@by_hand
@pytest.mark.parametrize("size", [30000, 12000])
def test_a_list_of_fragments_is_found_by_hand(net: Network, tmp_path: Path, size: int) -> None:
    """Datagrams that are dropped after they were put together: the first fragment has the others in its list."""
    sh(net.in_b(f"iptables -A INPUT -p udp --dport {PORT} -j DROP"))
    packet, data = one_datagram(net, tmp_path, "tracepoint:skb:kfree_skb", size, 0)
    assert packet.length == 14 + 20 + 8 + size
    assert len(packet.data) == min(packet.length, LARGEST_COPY)
    assert packet.data[42:] == data[: LARGEST_COPY - 42]
    assert ("partial" in packet.comment.split()) == (packet.length > LARGEST_COPY)


@by_hand
def test_expressions_about_bytes_in_pages(net: Network, tmp_path: Path, content: bytes) -> None:
    """Beside tcpdump, which has the packets at the same place."""
    assert content
    at = 3000
    expressions = [
        f"tcp and dst port {PORT} and tcp[{at}:2] & 1 = 1",
        f"tcp and dst port {PORT} and tcp[40:4] > 0x80000000",
        f"tcp and dst port {PORT} and len < 16000 and not ether[len - 1] & 1 = 1",
        f"tcp and dst port {PORT} and ether[20000] >= 0",
    ]
    everything = tmp_path / "all.pcap"
    program = " ".join(f"{UNTYPED} /{text}/ {{ @n[{number}] = count(); }}" for number, text in enumerate(expressions))
    program += f' {UNTYPED} /comm == "x" or ({expressions[0]})/ {{ @n[9] = count(); }}'
    program += f" {UNTYPED} /{expressions[0]}/ {{ if (len > 9999999) {{ dump; }} @n[8] = count(); }}"
    with Tcpdump(net.a, net.left, everything, f"tcp and dst port {PORT}"):
        done = run("-i", net.left, "-e", program, "--why", "--cmd", transfer(net, tmp_path))
    assert done.status == 0, done.err
    wanted = [len(sh(f"tcpdump -nr {everything} '{text}' 2>/dev/null").splitlines()) for text in expressions]
    assert all(wanted), wanted
    for number, count in (*enumerate(wanted[:3]), (8, wanted[0]), (9, wanted[0])):
        assert f"@n[{number}]: {count}" in done.out.splitlines(), (wanted, done.out, done.err)
    assert "@n[3]" not in done.out
    assert f"{wanted[3]} packets were judged by a part of their bytes" in done.err


def test_bytes_that_no_filter_asked_for_are_not_missed(net: Network, tmp_path: Path, content: bytes) -> None:
    assert content
    program = f"tracepoint:net:net_dev_queue /udp and dst port {PORT}/ {{ @ = count(); }}"
    done = run("-i", net.left, "-e", program, "--why", "--cmd", transfer(net, tmp_path))
    assert done.status == 0, done.err
    assert "were judged by" not in done.err


def test_a_perf_buffer_has_what_fits_a_copy(net: Network, tmp_path: Path, content: bytes) -> None:
    packets = capture(net, tmp_path, "tx", "--buffer", "perf")
    assert max(len(packet.data) for packet in packets) == LARGEST_COPY
    check_segments(packets, content, LARGEST_COPY)
    for packet in packets:
        assert ("partial" in packet.comment.split()) == (packet.length > LARGEST_COPY)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("largest", [200_000, 300_000])
def test_ipv6_packets_of_more_than_64_kib(net: Network, tmp_path: Path, content: bytes, largest: int) -> None:
    """BIG TCP: they have a header for their length, which expressions such as `tcp` stop at."""
    for host, device in ((net.a, net.left), (net.b, net.right)):
        words = f"ip -n {host} link set dev {device} mtu 9000 gso_max_size {largest} gro_max_size {largest}".split()
        if subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("this kernel, or ip, knows no such packets")
    out, repeated = tmp_path / "out.pcapng", 8
    program = "tx /ip6 dst host fd78::2 and not icmp6/ { dump; }"
    send = python(f"""
        import sys
        s = socket.create_connection((sys.argv[1], {PORT}))
        s.sendall(open(sys.argv[2], "rb").read() * {repeated})
        s.shutdown(socket.SHUT_WR)
        s.recv(1)
    """)
    command = transfer(net, tmp_path, send, "fd78::2")
    done = run("-i", net.left, "-e", program, "-w", str(out), "--cmd", command)
    assert done.status == 0, done.err
    packets = packets_of(out)
    assert max(packet.length for packet in check_segments(packets, content * repeated, LARGEST_SNAPLEN)) > 65549
    if largest <= LARGEST_SNAPLEN:
        assert whole(packet.data for packet in packets) == content * repeated


def test_hex_shows_a_whole_super_packet(net: Network, tmp_path: Path) -> None:
    data = random.Random(5).randbytes(20500)
    (tmp_path / "data").write_bytes(data)
    program = f"tx /udp and dst port {PORT}/ {{ hex; }}"
    done = run("-e", program, "-f", "json", "--cmd", net.in_a(gso_datagram(tmp_path / "data", 1000)))
    assert done.status == 0, done.err
    assert data.hex() in done.out


def test_tcpdump_and_dpkt_read_super_packets_from_pcap(net: Network, tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "f.pcap"
    program = f"tx /tcp and dst port {PORT}/ {{ dump; }}"
    done = run("-i", net.left, "-e", program, "-w", str(out), "--cmd", transfer(net, tmp_path))
    assert done.status == 0, done.err
    with out.open("rb") as file:
        read = [data for _, data in dpkt.pcap.Reader(file)]
    assert whole(read) == content
    assert len(sh(f"tcpdump -nnr {out} 2>/dev/null").splitlines()) == len(read)
