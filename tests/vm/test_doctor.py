"""--doctor where kernel functions can be probed."""

from __future__ import annotations

import re

from network import sh
from xcap import run


def test_kernel_functions_work() -> None:
    done = run("--doctor")
    assert done.status == 0, done.out
    marks = {match[2]: match[1] for match in re.finditer(r"^  (ok|no|\?) +(\S+)", done.out, re.MULTILINE)}
    for kind in ("kprobe", "kretprobe", "fentry", "fexit", "rawtracepoint", "tracepoint", "typed", "uprobe"):
        assert marks[kind] == "ok", done.out
    # nothing is left of them
    assert sh("cat /sys/kernel/debug/kprobes/list 2>/dev/null || true").strip() == ""
    assert "xdp" not in sh("ip -o link show dev lo")
