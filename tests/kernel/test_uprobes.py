"""Probes in programs: known packets go through functions, and all of them are dumped, byte for byte."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from programs import SOURCES, dumped, shown, udp_packets, written
from xcap import Running, run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler: the programs are made here"),
]
ETHERNET = 14


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that packets go through."""
    program = tmp_path_factory.mktemp("programs") / "frames"
    subprocess.run(["cc", "-O2", "-o", program, SOURCES / "frames.c"], check=True)
    return program


def test_a_buffer_is_dumped_byte_for_byte(frames: Path, tmp_path: Path) -> None:
    packets = udp_packets(100)
    file = written(tmp_path / "in", packets)
    out, told = tmp_path / "out.pcapng", tmp_path / "told"
    clause = f"uprobe:{frames}:process_frame(buf=arg0, len=arg1) /udp/ {{ dump; }}"
    done = run("-e", clause, "-w", str(out), "--cmd", f"{frames} {file} > {told}")
    assert done.status == 0, done.err
    assert "100 hits, 100 matched, 0 lost" in done.err
    assert dumped(out) == packets
    rows = shown(out, "frame.interface_name", "frame.comment", "udp.dstport", "frame.len")
    pid = told.read_text().strip()
    assert {row[0] for row in rows} == {str(frames)}
    assert all(f"pid={pid} comm=frames" in row[1] for row in rows)
    assert [int(row[2]) for row in rows] == [int.from_bytes(packet[36:38], "big") for packet in packets]
    assert [int(row[3]) for row in rows] == [len(packet) for packet in packets]


def test_a_filter_reads_behind_the_window(frames: Path, tmp_path: Path) -> None:
    """udp[400] lies where nothing has been read before the filter asks."""
    packets = udp_packets(100)
    file = written(tmp_path / "in", packets)
    wanted = [packet for packet in packets if len(packet) > ETHERNET + 20 + 400 and packet[ETHERNET + 20 + 400] < 128]
    out = tmp_path / "out.pcapng"
    clause = f"uprobe:{frames}:process_frame(buf=arg0, len=arg1) /udp[400] < 128/ {{ dump; }}"
    done = run("-e", clause, "-w", str(out), "--cmd", f"{frames} {file}")
    assert done.status == 0, done.err
    assert 0 < len(wanted) < len(packets)
    assert dumped(out) == wanted


def test_packets_of_ip_alone(frames: Path, tmp_path: Path) -> None:
    packets = [packet[ETHERNET:] for packet in udp_packets(20)]
    file = written(tmp_path / "in", packets)
    out = tmp_path / "out.pcapng"
    clause = f"u:{frames}:process_frame(buf=arg0, len=arg1, link=raw) /udp/ {{ dump; }}"
    done = run("-e", clause, "-w", str(out), "--cmd", f"{frames} {file}")
    assert done.status == 0, done.err
    assert dumped(out) == packets
    assert all(row[0].startswith("raw:ip:udp") for row in shown(out, "frame.protocols"))


def test_what_was_received_is_read_when_the_function_returns(frames: Path, tmp_path: Path) -> None:
    packets = udp_packets(50)
    file = written(tmp_path / "in", packets)
    out = tmp_path / "out.pcapng"
    program = f"""uretprobe:{frames}:receive_frame(buf=arg0, len=retval) /udp/ {{ dump; @room = max(arg1); }}
        uretprobe:{frames}:receive_frame /retval < 0/ {{ @failed = count(); }}"""
    done = run("-e", program, "-w", str(out), "--cmd", f"{frames} {file}")
    assert done.status == 0, done.err
    assert dumped(out) == packets
    assert "@failed: 1\n" in done.out
    assert "@room: 65536\n" in done.out


@pytest.mark.parametrize("there", [1000, 5000])
def test_what_is_not_mapped_is_not_made_up(frames: Path, tmp_path: Path, there: int) -> None:
    """The packet is said to be longer than what is there of it."""
    packets = [packet for packet in udp_packets(100) if len(packet) > 8000][:3]
    file = written(tmp_path / "in", packets)
    out = tmp_path / "out.pcapng"
    clause = f"uprobe:{frames}:process_edge(buf=arg0, len=arg1) /udp/ {{ dump; }}"
    done = run("-e", clause, "-w", str(out), "--why", "--cmd", f"{frames} {file} {there}")
    assert done.status == 0, done.err
    readable = [packet[: there // 4096 * 4096 + there % 4096] for packet in packets]
    assert dumped(out) == readable
    rows = shown(out, "frame.len", "frame.comment")
    assert [int(row[0]) for row in rows] == [len(packet) for packet in packets]
    assert all(" partial " in row[1] for row in rows)
    assert re.search(r"bad reads  missed\n.* 3 +0$", done.err, re.MULTILINE), done.err


def test_one_process_alone(frames: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "in", udp_packets(10))
    waits = subprocess.Popen(["sh", "-c", f"read go; exec {frames} {file}"], stdin=subprocess.PIPE, text=True)
    try:
        clause = f"uprobe:{frames}:process_frame {{ @[pid] = count(); }}"
        running = Running("-p", str(waits.pid), "-e", clause)
        subprocess.run([frames, file], check=True, capture_output=True)
        waits.communicate("go\n", timeout=20)
        done = running.stop()
    finally:
        waits.kill()
    assert done.status == 0, done.err
    assert f"@[{waits.pid}]: 10\n" in done.out
    assert done.out.count("@[") == 1


def test_a_wildcard_names_the_function(frames: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "in", udp_packets(30))
    program = f"uprobe:{frames}:stage_*(buf=arg0, len=arg1) /udp/ {{ count(func, comm); }}"
    done = run("-e", program, "--cmd", f"{frames} {file}")
    assert done.status == 0, done.err
    assert "2 probes attached" in done.err
    assert "@count[stage_one, frames]: 30\n" in done.out
    assert "@count[stage_two, frames]: 30\n" in done.out


def test_strings_of_a_program_and_functions_of_a_library(frames: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "in", udp_packets(1))
    program = f"""uprobe:{frames}:greet {{ printf("%s, %d\\n", str(arg0), netns == 0); }}
        uprobe:libc:fopen* /comm == "frames"/ {{ @opened[str(arg0)] = count(); }}"""
    done = run("-e", program, "--cmd", f"{frames} {file}")
    assert done.status == 0, done.err
    assert "good morning, 0\n" in done.out
    assert f"@opened[{str(file)[:63]}]: 1\n" in done.out


def test_a_stripped_program_by_its_addresses(frames: Path, tmp_path: Path) -> None:
    table = subprocess.run(["nm", frames], check=True, capture_output=True, text=True).stdout
    address = re.search(r"^0*([0-9a-f]+) T process_frame$", table, re.MULTILINE)
    assert address is not None
    bare = tmp_path / "bare"
    subprocess.run(["strip", "-o", bare, frames], check=True)
    packets = udp_packets(10)
    file = written(tmp_path / "in", packets)
    refused = run("-e", f"uprobe:{bare}:process_frame {{ exit; }}")
    assert refused.status == 3
    assert "it is stripped" in refused.err
    out = tmp_path / "out.pcapng"
    clause = f"uprobe:{bare}:0x{address[1]}(buf=arg0, len=arg1) {{ dump; }}"
    done = run("-e", clause, "-w", str(out), "--cmd", f"{bare} {file}")
    assert done.status == 0, done.err
    assert dumped(out) == packets


def test_a_static_probe_that_the_program_must_be_asked_for(frames: Path, tmp_path: Path) -> None:
    """Its arguments are in a register, in memory and in the note itself; it is reached only while somebody looks."""
    packets = udp_packets(30)
    file, out = written(tmp_path / "in", packets), tmp_path / "out.pcapng"
    program = f"usdt:{frames}:frames:frame(buf=arg0, len=arg1) /udp/ {{ dump; @[func, arg2, arg3] = count(); }}"
    done = run("-e", program, "-w", str(out), "--cmd", f"{frames} {file}")
    assert done.status == 0, done.err
    assert dumped(out) == packets
    assert "@[frame, -7, -5]: 30\n" in done.out
