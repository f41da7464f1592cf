"""Hits that no program was run for: a program that hits its own hook twice misses both."""

from __future__ import annotations

import json
import re

import pytest
from network import Network
from xcap import run

from xcapscript.kernel import misses
from xcapscript.kernel.btf import Btf
from xcapscript.types import StructType

pytestmark = pytest.mark.kernel

PROGRAM = """c \"\"\"
static u64 say(u64 x) { bpf_trace_printk("xcap says %d", sizeof("xcap says %d"), x); return x; }
\"\"\"
rawtracepoint:bpf_trace_printk { @said = count(); $a = say(1); $b = say(2); }
rx /icmp and src host 10.78.0.1/ { @rx = count(); $a = say(3); }
"""
"""bpf_trace_printk() hits the tracepoint of its name: the kernel's own guard then leaves the program out."""


def test_hits_in_our_own_program_are_told(net: Network) -> None:
    done = run("--why", "-e", PROGRAM, "--cmd", f"{net.in_a('ping -c 3 -i 0.2 10.78.0.2')} >&2")
    assert done.status == 0, done.err
    said = int(re.search(r"@said: (\d+)", done.out)[1])  # type: ignore[index]
    assert said >= 3
    assert "@rx: 3\n" in done.out
    assert f", 0 lost, {2 * said} missed" in done.err
    rows = {line.split()[0]: line.split()[-1] for line in done.err.splitlines() if "(line " in line}
    assert rows == {"rawtracepoint:bpf_trace_printk": str(2 * said), "rx": "0"}


def test_json_has_them_by_hook(net: Network) -> None:
    done = run("-f", "json", "-e", PROGRAM, "--cmd", f"{net.in_a('ping -c 3 -i 0.2 10.78.0.2')} >&2")
    assert done.status == 0, done.err
    hooks = {entry["hook"]: entry for entry in json.loads(done.out.splitlines()[-1])["hooks"]}
    said = hooks["rawtracepoint:bpf_trace_printk"]
    assert said["missed"] == 2 * said["hits"] >= 6
    assert hooks["rx"]["missed"] == 0


def test_who_misses_nothing_says_nothing(net: Network) -> None:
    done = run("-e", "rx /icmp/ { @ = count(); }", "--cmd", f"{net.in_a('ping -c 1 10.78.0.2')} >&2")
    assert done.status == 0, done.err
    assert "missed" not in done.err


def test_the_kernel_has_its_numbers_where_we_read_them() -> None:
    btf = Btf()

    def place(struct: str, *path: str) -> int:
        """In bytes, by the kernel's own description."""
        at, shape = 0, btf.struct(struct)
        for name in path:
            assert shape is not None
            member = shape.member(name)
            assert member is not None, name
            at += member.bit_offset // 8
            shape = btf.struct_of(member.type) if isinstance(member.type, StructType) else None
        return at

    assert place("bpf_prog_info", "recursion_misses") == misses._RECURSION_MISSES
    assert place("bpf_link_info", "kprobe_multi", "missed") == misses._MULTI_MISSED
    assert place("bpf_link_info", "perf_event", "type") == misses._EVENT_KIND
    assert place("bpf_link_info", "perf_event", "kprobe", "missed") == misses._EVENT_MISSED
