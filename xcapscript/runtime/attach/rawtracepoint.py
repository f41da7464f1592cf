"""Raw tracepoints: a link that the kernel drops with its descriptor."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from xcapscript.errors import KernelError
from xcapscript.kernel.bpf import open_raw_tracepoint
from xcapscript.unit import Attachment


def attach(attachment: Attachment, programs: Sequence[int], _cookies: Sequence[int]) -> list[int]:
    """The link's descriptor; KernelError if the kernel refuses."""
    program = programs[0]
    try:
        # a typed program was loaded for its tracepoint, and takes no name
        return [open_raw_tracepoint(None, program)]
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EFAULT):
            raise KernelError(f"cannot attach to rawtracepoint:{attachment.target}: {error.strerror}") from error
    try:
        return [open_raw_tracepoint(attachment.target, program)]
    except OSError as error:
        raise KernelError(f"cannot attach to rawtracepoint:{attachment.target}: {error.strerror}") from error
