"""Which file attaches which kind of hook."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xcapscript.runtime.attach import rawtracepoint, tracepoint
from xcapscript.unit import Attachment, HookKind

ATTACH: Mapping[HookKind, Callable[[Attachment, int], int]] = {
    HookKind.RAWTRACEPOINT: rawtracepoint.attach,
    HookKind.TRACEPOINT: tracepoint.attach,
}
"""The kinds that the kernel calls; the others are run by user space."""
