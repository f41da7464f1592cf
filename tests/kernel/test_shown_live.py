"""What people and programs read of a run: on a terminal, as JSON, and as a flame graph."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest
from network import Network
from traffic import datagrams
from xcap import PATIENCE, XCAP, Running, run

from tests.event_schema import SCHEMA, check
from tests.screen import Screen
from xcapscript.kernel.symbols import Symbols

pytestmark = pytest.mark.kernel

PING = "ping -c 5 -i 0.2 -W 1 10.78.0.2"


def on_terminal(columns: int, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
    """Run to the end on a terminal of its own; all that was written to it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    settings = {**os.environ, "TERM": "xterm", **(environ or {})}
    settings.pop("COLUMNS", None)
    child = subprocess.Popen([*XCAP, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=settings)
    os.close(theirs)
    written = b""
    try:
        while data := _read(ours):
            written += data
        assert child.wait(PATIENCE) == 0, written
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    return written.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # all who had it open are gone
        return b""


def test_a_flood_on_a_terminal_is_counted_where_it_is_not_shown(net: Network) -> None:
    command = net.in_a(datagrams(8000, 901, 10))
    text = on_terminal(80, "-i", net.right, "-e", "rx /udp port 901/", "--cmd", command, environ={"NO_COLOR": "1"})
    assert "\x1b" not in text
    shown = len(re.findall(r"^\d\d:\d\d:\d\d\.\d{9} rx .* UDP, length 10$", text, re.MULTILINE))
    unseen = [int(number.replace(",", "")) for number in re.findall(r"^\.\.\. ([\d,]+) more$", text, re.MULTILINE)]
    matched, lost = (int(number) for number in re.findall(r"hits?, (\d+) matched, (\d+) lost", text)[0])
    assert matched == 8000
    assert shown + sum(unseen) == matched - lost
    assert unseen
    assert shown < matched / 4


def test_the_status_line_tears_nothing_and_leaves_nothing(net: Network, tmp_path: Path) -> None:
    net.drop_icmp()
    program = 'drop /icmp/ { dump; printf("seq %d\\n", icmp.type); }'
    arguments = [
        "-i",
        net.right,
        "-e",
        program,
        "-w",
        str(tmp_path / "p.pcapng"),
        "--cmd",
        f"{net.in_a(PING)} >/dev/null",
    ]
    for columns in (40, 100):
        text = on_terminal(columns, *arguments, "--progress")
        assert re.search(r"\r[1-5] packets, ", text), text
        screen = Screen(columns)
        screen.write(text)
        assert all(len(line) < columns for line in re.findall(r"\r([^\r\n]+)", text))
        seen = "\n".join(screen.lines())
        assert [line for line in screen.lines() if line.startswith("seq")] == ["seq 8"] * 5
        assert "packets, " not in seen
        assert "5 packets written" in seen
        assert on_terminal(columns, *arguments, "--progress", "-q").split("\n") == ["seq 8"] * 5 + [""]


def test_no_status_line_where_there_is_no_terminal(net: Network, tmp_path: Path) -> None:
    out = tmp_path / "p.pcapng"
    done = run("-e", "tx /icmp/ { dump; }", "-w", str(out), "--progress", "--cmd", f"{net.in_a(PING)} >/dev/null")
    assert done.status == 0
    assert "\r" not in done.err


def test_json_of_every_kind_is_as_the_schema_says(net: Network) -> None:
    net.drop_icmp()
    program = """
        begin { printf("%s\\n", "begins"); }
        drop /icmp/ {
            print; stack(3); hex;
            print(comm, reason, kstack(2), ip.src, eth.src, flow, len, skb, nsecs);
            printf("%s %d\\n", ifname, len);
            @[reason, kstack(2)] = count(); @sum[comm] = sum(len); @min = min(len); @max = max(len);
            @avg[ip.src] = avg(len); @stats[ifname] = stats(len); @hist = hist(len); @lhist = lhist(len, 0, 100, 10);
            @last[pid] = flow; @seen++;
        }
    """
    done = run("-i", net.right, "-f", "json", "-e", program, "--cmd", f"{net.in_a(PING)} >/dev/null; true")
    assert done.status == 0, done.err
    entries = [json.loads(line) for line in done.out.splitlines()]
    for entry in entries:
        check(entry)
    assert {reference["$ref"].removeprefix("#/$defs/") for reference in SCHEMA["oneOf"]} == {e["type"] for e in entries}
    kinds = {entry["aggregation"] for entry in entries if entry["type"] == "map"}
    assert kinds == set(SCHEMA["$defs"]["map"]["properties"]["aggregation"]["enum"])
    assert entries[-1]["type"] == "end"
    packets = [entry for entry in entries if entry["type"] == "packet"]
    assert len(packets) == 3 * net.icmp_drops()


def test_a_flame_graph_adds_up_to_what_was_counted(net: Network, tmp_path: Path) -> None:
    net.drop_icmp()
    picture, text = tmp_path / "f.svg", tmp_path / "f.folded"
    program = "drop /icmp/ { count(reason, kstack); }"
    command = f"{net.in_a(PING)} >/dev/null; true"
    for path in (picture, text):
        done = run("-i", net.right, "-e", program, "--flame", str(path), "--cmd", command)
        assert done.status == 0, done.err
        assert re.search(rf"\d+ stacks? drawn in {path}", done.err)
    lines = [line.rsplit(" ", 1) for line in text.read_text().splitlines()]
    assert net.icmp_drops() == 10
    assert sum(int(count) for _, count in lines) == 5
    for path, _ in lines:
        frames = path.split(";")
        assert frames[0] == "NETFILTER_DROP"
        assert "sk_skb_reason_drop" in frames[-1] or "kfree_skb" in frames[-1]
        assert frames.index("ip_local_deliver") < frames.index("nf_hook_slow")
        assert not any("bpf_trace_run" in frame or "+0x" in frame for frame in frames)
    titles = [title.text for title in ET.parse(picture).iter("{http://www.w3.org/2000/svg}title")]
    assert "all (5, 100.00%)" in titles
    assert "nf_hook_slow (5, 100.00%)" in titles


def programs() -> dict[int, str]:
    """The BPF programs that there are, by address."""
    lines = Path("/proc/kallsyms").read_text().splitlines()
    return {int(line.split()[0], 16): line.split()[2] for line in lines if line.endswith("\t[bpf]")}


def test_a_program_that_came_later_is_named() -> None:
    now = [0.0]
    symbols, before = Symbols(clock=lambda: now[0]), programs()
    assert symbols.resolve(1) == "0x1"
    running = Running("-e", "rx /udp port 1/ { count; }")
    found = programs()
    now[0] += 60
    named = {address: symbols.resolve(address + 4) for address in found}
    # others may load and unload theirs meanwhile
    kept = programs()
    running.stop()
    later = {a: name for a, name in found.items() if before.get(a) != name and kept.get(a) == name}
    assert later
    assert [named[address] for address in later] == [f"{name}+0x4 [bpf]" for name in later.values()]


def test_a_flame_graph_that_cannot_be_written_is_not_said_to_be() -> None:
    done = run("-e", "rx { count(kstack); }", "--flame", "/dev/full", "--time", "100ms")
    assert done.status == 3
    assert "cannot write '/dev/full': No space left on device" in done.err
    assert "drawn in" not in done.err


def test_a_flame_graph_of_nothing_is_refused(tmp_path: Path) -> None:
    done = run("-e", "drop { count(reason); }", "--flame", str(tmp_path / "f.svg"))
    assert done.status == 2
    assert "--flame: nothing in the program counts by stack" in done.err
    assert not (tmp_path / "f.svg").exists()
