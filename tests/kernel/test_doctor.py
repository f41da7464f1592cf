"""--doctor on this machine, against what its files and tools say; and that nothing stays behind."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from network import sh
from xcap import PATIENCE, XCAP

sys.path.insert(0, str(Path(__file__).parents[1] / "reliability"))

from attached import held, ids

pytestmark = pytest.mark.kernel

NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
ROW = re.compile(r"  (ok|no|\?)\s+(\S.*?)(?:  +(.*))?")


def doctor(prefix: Sequence[str] = ()) -> tuple[int, list[str]]:
    """The exit status and the lines."""
    command = [*prefix, *XCAP, "--doctor"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def marks(lines: Sequence[str]) -> dict[str, str]:
    """The mark of each finding."""
    return {match[2]: match[1] for line in lines if (match := ROW.fullmatch(line))}


def test_what_it_says_is_so() -> None:
    status, lines = doctor()
    found = marks(lines)
    assert status == 0
    assert lines[-1] == "xcap can capture on this machine."
    assert all(len(line) <= 80 for line in lines)
    assert not any("\x1b" in line for line in lines)
    devices = Path("/sys/bus/event_source/devices")
    for kind in ("kprobe", "uprobe"):
        assert (found[kind] == "ok") == (devices / kind).exists()
    assert found["tracepoint"] == found["rawtracepoint"] == found["begin"] == found["all together"] == "ok"
    assert (found["BTF"] == "ok") == Path("/sys/kernel/btf/vmlinux").exists()
    assert os.uname().release in lines[0]
    libpcap = re.search(r"libpcap version (\S+)", sh("tcpdump --version 2>&1"))
    assert libpcap is not None
    assert any(line.startswith(f"  ok  libpcap             {libpcap[1]}") for line in lines)


def test_nothing_stays_behind() -> None:
    pins = sorted(Path("/sys/fs/bpf").iterdir()) if Path("/sys/fs/bpf").is_dir() else []
    before = ids()
    # of others' devices some come and go meanwhile
    look = "ip -d -o link; ip netns identify; tc qdisc show"
    script = f'{look}; echo ---; "$0" --doctor >/dev/null || exit; {look}'
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", script, *XCAP], check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    was, _, now = done.stdout.partition("---\n")
    assert was == now != ""
    # what others attached meanwhile has a process, or is gone with it by the second look
    left = ids() - before - held()
    time.sleep(1)
    assert not left & ids()
    assert pins == (sorted(Path("/sys/fs/bpf").iterdir()) if Path("/sys/fs/bpf").is_dir() else [])


def test_without_rights_it_says_what_it_did_not_try() -> None:
    status, lines = doctor(NOBODY)
    found = marks(lines)
    assert status == 3
    assert found["rawtracepoint"] == found["xdp"] == found["all together"] == "?"
    assert found["CAP_BPF"] == "no"
    assert "  ?   rawtracepoint       it takes CAP_BPF and CAP_PERFMON" in lines
    assert lines[-1] == "xcap cannot capture on this machine: see above."


def test_with_capabilities_alone_it_captures() -> None:
    few = "+bpf,+perfmon"
    status, lines = doctor([*NOBODY, "--inh-caps", few, "--ambient-caps", few])
    found = marks(lines)
    assert status == 0
    assert found["rawtracepoint"] == found["all together"] == found["CAP_BPF"] == "ok"
    assert found["xdp"] == found["socket"] == "?"
    assert found["CAP_NET_ADMIN"] == "no"


def test_without_btf_it_says_what_works_all_the_same() -> None:
    """As on a kernel that was built without: the directory is hidden from it."""
    status, lines = doctor(["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$0" "$@"'])
    found = marks(lines)
    assert status == 3
    assert found["BTF"] == found["typed"] == found["all together"] == "no"
    assert found["tracepoint"] == found["xdp"] == found["tc"] == found["socket"] == "ok"
    assert lines[-1] == "xcap cannot capture on this machine: see above."


def test_a_terminal_sees_colours() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen([*XCAP, "--doctor"], stdout=theirs, env={**os.environ, "NO_COLOR": ""}) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # how a terminal says that its other end is gone
            pass
        assert process.wait(PATIENCE) == 0
    os.close(ours)
    assert b"\x1b[32mok \x1b[0m rawtracepoint" in shown
