"""fentry and fexit: links of programs that were loaded for their functions."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from xcapscript.errors import KernelError
from xcapscript.kernel.bpf import open_raw_tracepoint
from xcapscript.kernel.libbpf import ENOTSUPP
from xcapscript.unit import Attachment


def attach(attachment: Attachment, programs: Sequence[int], _cookies: Sequence[int]) -> list[int]:
    """The links' descriptors. KernelError if the one function is refused, or all of a wildcard's."""
    found: list[int] = []
    refused: OSError | None = None
    for program in programs:
        try:
            found.append(open_raw_tracepoint(None, program))
        except OSError as error:
            refused = error
    if refused is not None and not found:
        where = f"{attachment.kind}:{attachment.target}"
        no_trampolines = refused.errno in (errno.EOPNOTSUPP, errno.EPERM, ENOTSUPP)
        advice = f"this kernel has no BPF trampolines: write kprobe:{attachment.target}" if no_trampolines else None
        raise KernelError(f"cannot attach to {where}: {refused.strerror}", advice=advice) from refused
    return found
