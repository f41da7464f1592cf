"""xdp hooks: a link at the driver's own XDP, else at the kernel's generic one, which every interface has.

Source: net/core/dev.c (dev_xdp_attach), Documentation/networking/af_xdp.rst.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from functools import partial

from xcapscript.errors import KernelError
from xcapscript.kernel.bpf import link_create
from xcapscript.kernel.netlink import xdp_program
from xcapscript.runtime.attach.devices import at_each
from xcapscript.runtime.attach.held import Held, Noted
from xcapscript.unit import Attachment, Device

_BPF_XDP = 37
_XDP_FLAGS_SKB_MODE, _XDP_FLAGS_DRV_MODE = 1 << 1, 1 << 2
_TAKEN = frozenset({errno.EBUSY, errno.EEXIST})


def attach(attachment: Attachment, programs: Sequence[int], _cookies: Sequence[int]) -> list[int | Held]:
    """The links; KernelError if the kernel refuses, or another program is there."""
    return at_each(attachment, partial(_attach, programs[0]))


def _attach(program: int, index: int, device: Device) -> Noted:
    try:
        return Noted(link_create(program, index, _BPF_XDP, _XDP_FLAGS_DRV_MODE), f"xdp at '{device}': in the driver")
    except OSError as error:
        if error.errno in _TAKEN:
            raise _taken(index, device) from error
        if error.errno == errno.EPERM:
            raise
        refused = error
    try:
        link = link_create(program, index, _BPF_XDP, _XDP_FLAGS_SKB_MODE)
    except OSError as error:
        if error.errno in _TAKEN:
            raise _taken(index, device) from error
        raise
    why = os.strerror(refused.errno or 0)
    return Noted(link, f"xdp at '{device}': generic, behind the driver, whose own XDP does not take it ({why})")


def _taken(index: int, device: Device) -> KernelError:
    """An interface has one XDP program."""
    owner = xdp_program(index) or "an XDP program"
    advice = (
        f"tc:{device}:ingress sees what that program passes on; with 'ip link set {device.name} xdp off' it is gone. "
        "Programs that share an interface through libxdp's dispatcher are not joined yet"
    )
    return KernelError(f"xdp:{device} is taken: interface '{device}' has {owner} already", advice=advice)
