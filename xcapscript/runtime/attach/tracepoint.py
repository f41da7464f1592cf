"""Tracepoints: a perf event, which the kernel closes with its descriptor."""

from __future__ import annotations

from collections.abc import Sequence

from xcapscript.errors import KernelError
from xcapscript.kernel.perfevents import open_tracepoint
from xcapscript.unit import Attachment


def attach(attachment: Attachment, programs: Sequence[int], _cookies: Sequence[int]) -> list[int]:
    """The perf event's descriptor; KernelError if the kernel refuses."""
    try:
        return [open_tracepoint(attachment.id, programs[0])]
    except OSError as error:
        raise KernelError(f"cannot attach to tracepoint:{attachment.target}: {error.strerror}") from error
