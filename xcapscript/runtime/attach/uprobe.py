"""uprobes, uretprobes and static probes: a perf event for each place."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from functools import partial

from xcapscript.errors import KernelError
from xcapscript.kernel.uprobes import PMU, open_uprobe
from xcapscript.runtime.attach.events import hold, hold_all
from xcapscript.unit import Attachment, HookKind, Site

ADVICE = {
    errno.ENOENT: "the file is not there any more",
    errno.EACCES: "run as root, or with CAP_PERFMON, CAP_BPF and, for newer kernels (6.16), CAP_SYS_ADMIN",
    errno.EPERM: "run as root, or with CAP_PERFMON and CAP_BPF",
    errno.EINVAL: "the kernel cannot put a probe at this place of the file",
    errno.EOPNOTSUPP: "the instruction there is none that the kernel can put a probe at",
    errno.ESRCH: "there is no such process",
    errno.EIO: "the file system of that file cannot be probed",
}


def attach(attachment: Attachment, programs: Sequence[int], cookies: Sequence[int]) -> list[int]:
    """The descriptors that hold it. KernelError if the one place is refused, or all of a wildcard's."""
    if not PMU.exists():
        raise KernelError(f"this kernel has no uprobes, and so no {attachment.kind}", advice="see 'xcap --doctor'")
    numbers = list(cookies) or [0] * len(attachment.functions)
    copies = programs if len(programs) > 1 else [programs[0]] * len(attachment.functions)
    found, refused = hold_all(
        [partial(_one, attachment, copies[site.function], site, numbers[site.function]) for site in attachment.sites]
    )
    if refused is not None and (not found or len(attachment.functions) == 1):
        for descriptor in found:
            os.close(descriptor)
        raise refused
    return found


def _one(attachment: Attachment, program: int, site: Site, cookie: int) -> int:
    returning = attachment.kind is HookKind.URETPROBE
    place = attachment.path, site.offset, site.semaphore, attachment.process
    where = f"{attachment.kind}:{attachment.path}:{attachment.functions[site.function]}"
    return hold(where, ADVICE, partial(open_uprobe, *place, returning=returning), program, cookie)
