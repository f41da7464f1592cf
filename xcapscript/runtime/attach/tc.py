"""tc hooks: a tcx link where the kernel has such (Linux 6.6), before what else is there; else a filter of clsact."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import partial

from xcapscript.kernel.bpf import link_create
from xcapscript.kernel.kinds import AttachType
from xcapscript.runtime.attach import clsact
from xcapscript.runtime.attach.devices import at_each
from xcapscript.runtime.attach.held import Held
from xcapscript.unit import Attachment, Device

_BPF_F_BEFORE = 1 << 3
EGRESS = ":egress"


def attach(attachment: Attachment, programs: Sequence[int], _cookies: Sequence[int]) -> list[int | Held]:
    """What holds the program; KernelError if the kernel refuses."""
    return at_each(attachment, partial(_attach, programs[0], attachment.target.endswith(EGRESS)))


def _attach(program: int, egress: bool, index: int, device: Device) -> int | Held:  # noqa: FBT001 -- by partial()
    try:
        # first, for what others decide ends the walk
        return link_create(program, index, AttachType.TCX_EGRESS if egress else AttachType.TCX_INGRESS, _BPF_F_BEFORE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return clsact.attach(program, index, device, egress=egress)
