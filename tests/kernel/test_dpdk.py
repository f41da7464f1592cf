"""Packets of a real DPDK program: those of a file are forwarded, and all of them are dumped, byte for byte."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from programs import SOURCES, dumped, shown, udp_packets
from xcap import run

EXAMPLES = Path(__file__).parents[2] / "examples"
PCAP_DRIVER = "librte_net_pcap.so"
LIBRARIES = (Path("/usr/lib"), Path("/usr/lib64"), Path("/usr/local/lib"))


def flags() -> list[str] | None:
    """How a program is compiled with DPDK; None where it is not installed, or has no driver for files."""
    if shutil.which("pkg-config") is None or shutil.which("cc") is None:
        return None
    done = subprocess.run(["pkg-config", "--cflags", "--libs", "libdpdk"], check=False, capture_output=True, text=True)
    places = (f"{PCAP_DRIVER}*", f"*/{PCAP_DRIVER}*", f"*/dpdk/*/{PCAP_DRIVER}*")
    driver = any(next(directory.glob(place), None) for directory in LIBRARIES for place in places)
    return done.stdout.split() if done.returncode == 0 and driver else None


FLAGS = flags()
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.dpdk,
    pytest.mark.skipif(FLAGS is None, reason="needs DPDK: .ci/setup pkg-config libdpdk-dev"),
]


def made(directory: Path, *more: str) -> Path:
    program = directory / "forward"
    source = SOURCES / "forward.c"
    subprocess.run(["cc", "-O2", *more, "-o", program, source, *(FLAGS or [])], check=True, capture_output=True)
    return program


@pytest.fixture(scope="module")
def forward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The forwarder, without debugging information."""
    return made(tmp_path_factory.mktemp("dpdk"))


def file_of(path: Path, packets: Sequence[bytes]) -> Path:
    """A pcap file of these packets."""
    head = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    path.write_bytes(head + b"".join(struct.pack("=IIII", 1, 0, len(p), len(p)) + p for p in packets))
    return path


def command(program: Path, packets: Path) -> str:
    device = f"net_pcap0,rx_pcap={packets},tx_pcap={packets.with_name('sent.pcap')}"
    return f"{program} --no-huge -m 64 --no-pci --no-telemetry -l 0 --vdev={device} > {packets}.log 2>&1"


@pytest.mark.parametrize("place", ["process_packet(mbuf=arg0)", "process_burst(mbufs=arg0, n=arg1)"])
def test_all_packets_are_dumped_byte_for_byte(forward: Path, tmp_path: Path, place: str) -> None:
    """100 of 100, in bursts of up to 64; the larger ones are chains of mbufs."""
    packets = udp_packets(100, largest=8958)
    file, out = file_of(tmp_path / "in.pcap", packets), tmp_path / "out.pcapng"
    done = run("-e", f"uprobe:{forward}:{place} /udp/ {{ dump; }}", "-w", str(out), "--cmd", command(forward, file))
    assert done.status == 0, done.err
    assert dumped(tmp_path / "sent.pcap") == packets, "the forwarder itself has lost some"
    assert "100 hits, 100 matched, 0 lost" in done.err
    assert dumped(out) == packets
    rows = shown(out, "frame.interface_name", "udp.dstport", "frame.comment")
    assert [int(row[1]) for row in rows] == [int.from_bytes(packet[36:38], "big") for packet in packets]
    assert {row[0] for row in rows} == {str(forward)}
    assert all("comm=forward" in row[2] and "partial" not in row[2] for row in rows)


def test_a_filter_chooses_packets_of_a_burst(forward: Path, tmp_path: Path) -> None:
    packets = udp_packets(100, largest=8958)
    wanted = [packet for packet in packets if int.from_bytes(packet[36:38], "big") % 4 == 3]
    file, out = file_of(tmp_path / "in.pcap", packets), tmp_path / "out.pcapng"
    clause = f"uprobe:{forward}:process_burst(mbufs=arg0, n=arg1) /udp[2:2] & 3 == 3/ {{ dump; @[func] = count(); }}"
    done = run("-e", clause, "-w", str(out), "-c", "20", "--cmd", command(forward, file))
    assert done.status == 0, done.err
    assert dumped(out) == wanted[:20]


def test_the_layout_is_the_programs_own(tmp_path: Path) -> None:
    """By its debugging information, or as the binding group says, which is tried with what is wrong."""
    program = made(tmp_path, "-g")
    packets = udp_packets(20, largest=1472)
    file, out = file_of(tmp_path / "in.pcap", packets), tmp_path / "out.pcapng"
    clauses = f"""uprobe:{program}:process_packet(mbuf=arg0) {{ dump; }}
        uprobe:{program}:process_packet(mbuf=arg0, pkt_len=0x28) /len == 42/ {{ @wrong = count(); }}"""
    done = run("-e", clauses, "-w", str(out), "--cmd", command(program, file))
    assert done.status == 0, done.err
    assert dumped(out) == packets


def test_the_library_sees_what_a_program_receives_sends_and_drops(tmp_path: Path) -> None:
    """At functions of DPDK's own libraries; what was sent is what the device has written."""
    program = made(tmp_path, "-DHALF")
    packets = udp_packets(100, largest=8958)
    file = file_of(tmp_path / "in.pcap", packets)
    out = {name: tmp_path / f"{name}.pcapng" for name in ("dpdk", "dpdk_tx", "dpdk_unsent", "dpdk_freed")}
    clauses = "".join(f'{name} /udp/ {{ dump("{path}"); @[hook, comm] = count(); }}\n' for name, path in out.items())
    bursts = "dpdk, dpdk_tx { @bursts[dpdk_port(), dpdk_queue(), dpdk_burst()] = count(); }"
    done = run("-e", f'import "dpdk"; {clauses} {bursts}', "--cmd", command(program, file))
    assert done.status == 0, done.err
    assert " 0 lost" in done.err
    sent = dumped(tmp_path / "sent.pcap")
    unsent = [packet for packet in packets if packet not in sent]
    assert len(sent) == len(unsent) == 50
    expected = {"dpdk": packets, "dpdk_tx": packets, "dpdk_unsent": unsent, "dpdk_freed": unsent}
    for name, path in out.items():
        assert dumped(path) == expected[name], name
        assert f"@[{name}, forward]: {len(expected[name])}\n" in done.out
    found = re.findall(r"^@bursts\[0, 0, (\d+)\]: (\d+)$", done.out, re.MULTILINE)
    assert sum(int(hits) for _, hits in found) == 2 * len(packets) == 2 * sum(int(size) for size, _ in found)


def test_the_example(forward: Path, tmp_path: Path) -> None:
    packets = udp_packets(100, largest=8958)
    file, out = file_of(tmp_path / "in.pcap", packets), tmp_path / "out.pcapng"
    where = (f"--program={forward}", "--function=process_burst")
    done = run(str(EXAMPLES / "dpdk.xcap"), *where, "-w", str(out), "--cmd", command(forward, file))
    assert done.status == 0, done.err
    assert dumped(out) == packets
    assert "@packets[forward, 17, 10.0.0.2]: 100\n" in done.out
    large = sum(len(packet) >= 8192 for packet in packets)
    assert re.search(rf"^\[8K, 16K\) +{large} \|", done.out, re.MULTILINE)
