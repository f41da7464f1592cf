"""xdp hooks: a link at the driver's own XDP, else at the kernel's generic one, which every interface has.

Source: net/core/dev.c (dev_xdp_attach), Documentation/networking/af_xdp.rst.
"""

from __future__ import annotations

import errno
import shlex
from collections.abc import Sequence
from functools import partial

from xcapscript.errors import KernelError
from xcapscript.kernel.bpf import link_create
from xcapscript.kernel.kinds import AttachType
from xcapscript.kernel.links import holders, link_of
from xcapscript.kernel.netlink import XdpProgram, xdp_program
from xcapscript.kernel.places import NAMESPACES, namespace_path
from xcapscript.kernel.rights import and_list
from xcapscript.runtime.attach.devices import at_each
from xcapscript.runtime.attach.held import Held, Noted
from xcapscript.unit import Attachment, Device

_XDP_FLAGS_SKB_MODE, _XDP_FLAGS_DRV_MODE = 1 << 1, 1 << 2
_TAKEN = frozenset({errno.EBUSY, errno.EEXIST})


def attach(attachment: Attachment, programs: Sequence[int], _cookies: Sequence[int]) -> list[int | Held]:
    """The links; KernelError if the kernel refuses, or another program is there."""
    return at_each(attachment, partial(_attach, programs[0]))


def _attach(program: int, index: int, device: Device) -> Noted:
    try:
        return Noted(
            link_create(program, index, AttachType.XDP, _XDP_FLAGS_DRV_MODE), f"xdp at '{device}': in the driver"
        )
    except OSError as error:
        if error.errno in _TAKEN:
            raise _taken(index, device) from error
        if error.errno == errno.EPERM:
            raise
        refused = error
    try:
        link = link_create(program, index, AttachType.XDP, _XDP_FLAGS_SKB_MODE)
    except OSError as error:
        if error.errno in _TAKEN:
            raise _taken(index, device) from error
        raise
    why = refused.strerror
    return Noted(link, f"xdp at '{device}': generic, behind the driver, whose own XDP does not take it ({why})")


def _taken(index: int, device: Device) -> KernelError:
    """An interface has one XDP program."""
    owner = xdp_program(index)
    advice = (
        f"tc:{device}:ingress sees what that program passes on. {_removal(owner, index, device) if owner else ''}"
        "Programs that share an interface through libxdp's dispatcher are not joined yet"
    )
    what = owner or "an XDP program"
    return KernelError(f"xdp:{device} is taken: interface '{device}' has {what} already", advice=advice)


def _removal(owner: XdpProgram, index: int, device: Device) -> str:
    """How its owner, or root, takes it off: a sentence."""
    link = link_of(owner.id, index)
    if link is None:
        # 'xdp off' is about one of the modes alone
        return f"'{_ip(device)} {owner.mode} off' takes it off. "
    held = holders(link.id)
    who = and_list(f"process {process} ({name})" for process, name in held) or "no process that can be seen from here"
    return f"It is there by BPF link {link.id}, which {who} holds: 'bpftool link detach id {link.id}' takes it off. "


def _ip(device: Device) -> str:
    """The command that sets something of an interface, in its namespace."""
    words = ["ip", "link", "set", "dev", device.name]
    if device.namespace:
        path = str(namespace_path(device.namespace))
        named = path.startswith(f"{NAMESPACES}/")
        words = ["ip", "-n", device.namespace, *words[1:]] if named else ["nsenter", f"--net={path}", *words]
    return shlex.join(words)
