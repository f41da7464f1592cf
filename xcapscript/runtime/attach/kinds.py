"""Which file attaches which kind of hook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xcapscript.runtime.attach import fentry, kprobe, packetsocket, rawtracepoint, tc, tracepoint, uprobe, xdp
from xcapscript.runtime.attach.held import Held
from xcapscript.unit import Attachment, HookKind

ATTACH: Mapping[HookKind, Callable[[Attachment, Sequence[int], Sequence[int]], Sequence[int | Held]]] = {
    HookKind.KPROBE: kprobe.attach,
    HookKind.KRETPROBE: kprobe.attach,
    HookKind.FENTRY: fentry.attach,
    HookKind.FEXIT: fentry.attach,
    HookKind.UPROBE: uprobe.attach,
    HookKind.URETPROBE: uprobe.attach,
    HookKind.USDT: uprobe.attach,
    HookKind.RAWTRACEPOINT: rawtracepoint.attach,
    HookKind.TRACEPOINT: tracepoint.attach,
    HookKind.XDP: xdp.attach,
    HookKind.TC: tc.attach,
    HookKind.SOCKET: packetsocket.attach,
}
"""The kinds that the kernel calls; the others are run by user space. Each is told where, and given the copies of the
program and its functions' cookies; what comes back are the descriptors, or more, that hold it.
"""
