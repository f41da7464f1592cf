"""Raw tracepoints: a link that the kernel drops with its descriptor."""

from __future__ import annotations

from xcapscript.errors import KernelError
from xcapscript.kernel.bpf import open_raw_tracepoint
from xcapscript.unit import Attachment


def attach(attachment: Attachment, program: int) -> int:
    """The link's descriptor; KernelError if the kernel refuses."""
    try:
        return open_raw_tracepoint(attachment.target, program)
    except OSError as error:
        raise KernelError(f"cannot attach to rawtracepoint:{attachment.target}: {error.strerror}") from error
