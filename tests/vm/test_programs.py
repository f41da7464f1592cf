"""Packets in the memory of programs, which the verifier of another kernel must let us read, byte for byte."""

from __future__ import annotations

import subprocess
from pathlib import Path

from programs import SOURCES, dumped, shown, udp_packets, written
from xcap import run

TRANSPORT = 14 + 20
MAPPED = 5000
"""Bytes of a packet of which the program has unmapped the rest."""


def test_buffers_of_a_program(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    subprocess.run(["cc", "-O2", "-o", frames, SOURCES / "frames.c"], check=True)
    packets = udp_packets(100)
    entered, far, returned, edge = (tmp_path / f"{name}.pcapng" for name in ("entered", "far", "returned", "edge"))
    program = f"""
        uprobe:{frames}:process_frame(buf=arg0, len=arg1) /udp/ {{ dump("{entered}"); }}
        uprobe:{frames}:process_frame(buf=arg0, len=arg1) /udp[400] < 128/ {{ dump("{far}"); }}
        uretprobe:{frames}:receive_frame(buf=arg0, len=retval) /udp/ {{ dump("{returned}"); }}
        uprobe:{frames}:process_edge(buf=arg0, len=arg1) /udp and greater 8000/ {{ dump("{edge}"); }}
    """
    done = run("-e", program, "--cmd", f"{frames} {written(tmp_path / 'in', packets)} {MAPPED}")
    assert (done.status, done.lost) == (0, 0), done.err
    assert dumped(entered) == dumped(returned) == packets
    wanted = [packet for packet in packets if len(packet) > TRANSPORT + 400 and packet[TRANSPORT + 400] < 128]
    assert 0 < len(wanted) < len(packets)
    assert dumped(far) == wanted
    long = [packet for packet in packets if len(packet) >= 8000]
    assert dumped(edge) == [packet[:MAPPED] for packet in long]
    assert all(" partial " in row[0] for row in shown(edge, "frame.comment"))
