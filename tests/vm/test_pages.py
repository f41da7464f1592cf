"""Bytes in pages at the kernel's functions, where no function of the kernel can be asked for them."""

from __future__ import annotations

import random
from pathlib import Path

import dpkt
from network import Network, sh
from tcpdump import Tcpdump
from test_full_packets import LARGEST_COPY, PORT, SIZE, check_segments, packets_of, transfer
from xcap import run

from xcapscript.codegen.entry import LARGEST_SAVED

ASKS = "tcp[3000:2] & 1 = 1"


def test_packets_are_whole_at_functions(net: Network, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(SIZE)
    (tmp_path / "content").write_bytes(content)
    functions, saved, everything = (tmp_path / name for name in ("kprobe.pcapng", "kretprobe.pcapng", "all.pcap"))
    wanted = f"tcp and dst port {PORT}"
    program = f"""
        kprobe:dev_hard_start_xmit /{wanted}/ {{ dump("{functions}"); @all = count(); }}
        kretprobe:dev_hard_start_xmit /{wanted}/ {{ dump("{saved}"); }}
        fentry:dev_hard_start_xmit /{wanted} and {ASKS}/ {{ @odd = count(); }}
    """
    with Tcpdump(net.a, net.left, everything, wanted):
        done = run("-i", net.left, "-e", program, "--cmd", transfer(net, tmp_path))
    assert (done.status, done.lost) == (0, 0), done.err
    assert "were judged by" not in done.err
    odd = len(sh(f"tcpdump -nr {everything} '{ASKS}' 2>/dev/null").splitlines())
    assert odd
    assert f"@odd: {odd}\n" in done.out
    found = packets_of(functions)
    assert max(packet.length for packet in check_segments(found, content, LARGEST_COPY)) > LARGEST_COPY
    assert f"@all: {len(found)}\n" in done.out
    with everything.open("rb") as file:
        theirs = [data[:LARGEST_COPY] for _, data in dpkt.pcap.Reader(file)]
    assert [packet.data for packet in found] == theirs
    for packet in check_segments(packets_of(saved), content, LARGEST_SAVED):
        assert ("partial" in packet.comment.split()) == (packet.length > LARGEST_SAVED)
