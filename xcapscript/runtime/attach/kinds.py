"""Which file attaches which kind of hook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xcapscript.runtime.attach import fentry, kprobe, rawtracepoint, tracepoint, uprobe
from xcapscript.unit import Attachment, HookKind

ATTACH: Mapping[HookKind, Callable[[Attachment, Sequence[int], Sequence[int]], list[int]]] = {
    HookKind.KPROBE: kprobe.attach,
    HookKind.KRETPROBE: kprobe.attach,
    HookKind.FENTRY: fentry.attach,
    HookKind.FEXIT: fentry.attach,
    HookKind.UPROBE: uprobe.attach,
    HookKind.URETPROBE: uprobe.attach,
    HookKind.USDT: uprobe.attach,
    HookKind.RAWTRACEPOINT: rawtracepoint.attach,
    HookKind.TRACEPOINT: tracepoint.attach,
}
"""The kinds that the kernel calls; the others are run by user space. Each is told where, and given the copies of the
program and its functions' cookies; what comes back are the descriptors that hold it.
"""
