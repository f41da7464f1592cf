"""Interfaces and programs with odd names are hooked, and `xcap -l` prints what can be typed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from left import leaving_nothing
from network import Network, sh
from programs import SOURCES, dumped, udp_packets, written
from xcap import XCAP, run

from xcapscript.quotes import quoted

pytestmark = pytest.mark.kernel

NAMES = ['a"b;c|d', "ö.100@x", "(*){?}[$1],", os.fsdecode(b"\xff\\\xfe'\x1c")]
"""All that the kernel refuses is '/', ':', blanks, '.' and '..', and more than 15 bytes."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_interfaces(net: Network, name: str) -> None:
    ip("-n", net.a, "link", "add", "name", name, "type", "veth", "peer", "name", "odd", "netns", net.b)
    ip("-n", net.a, "addr", "add", "10.79.0.1/24", "dev", name)
    ip("-n", net.a, "link", "set", name, "up")
    ip("-n", net.b, "addr", "add", "10.79.0.2/24", "dev", "odd")
    ip("-n", net.b, "link", "set", "odd", "up")
    try:
        with leaving_nothing(net):
            place = f"{quoted(name)}@{net.a}"
            hooks = [f"xdp:{place}", f"tc:{place}:ingress", f"tc:{place}:egress", f"socket:{place}"]
            program = " ".join(f"{hook} /icmp/ {{ @[hook, ifname] = count(); }}" for hook in hooks)
            done = run("-e", program, "--cmd", net.in_a("ping -c 3 -i 0.05 10.79.0.2"))
            assert done.status == 0, done.err
            assert "3 received" in done.err
            counts = [line.rpartition(": ")[2] for line in done.out.splitlines() if line.startswith("@[")]
            assert sorted(counts) == ["3", "3", "3", "6"], done.out
            # what it lists can be typed, in that namespace
            listed = sh(net.in_a(f"{XCAP[0]} -l 'xdp:*'")).splitlines()
            assert f"xdp:{quoted(name)}" in listed
            alone = sh(net.in_a(f"{XCAP[0]} -l {shlex.quote(f'xdp:{quoted(name)}')}")).splitlines()
            assert alone == [f"xdp:{quoted(name)}"]
            for line in listed:
                assert run("--check", "-e", f"{line}@{net.a} {{ @ = count(); }}").status == 0, line
    finally:
        ip("-n", net.b, "link", "del", "odd")


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler: the programs are made here")
@pytest.mark.parametrize("name", ['my größe; (x), "y" {}', "a:b\\c*$1\nend\x1b"])
def test_programs(tmp_path: Path, name: str) -> None:
    program = tmp_path / name / "frames"
    program.parent.mkdir()
    subprocess.run(["cc", "-O2", "-o", program, SOURCES / "frames.c"], check=True)
    packets = udp_packets(10)
    file, out = written(tmp_path / "in", packets), tmp_path / "out.pcapng"
    listed = run("-l", f"uprobe:{quoted(str(program), path=True)}:process_f*")
    assert listed.out == f"uprobe:{quoted(str(program), path=True)}:process_frame\n"
    hook = f"{listed.out.strip()}(buf=arg0, len=arg1)"
    done = run("-e", f"{hook} /udp/ {{ dump; }}", "-w", str(out), "--cmd", f"'{program}' {file}")
    assert done.status == 0, done.err
    assert dumped(out) == packets
    clause = "uprobe:$1:process_frame(buf=arg0, len=arg1) /udp/ { dump; }"
    done = run("-w", str(out), "--cmd", f"'{program}' {file}", "-e", clause, str(program))
    assert done.status == 0, done.err
    assert dumped(out) == packets
