"""What xdp, tc and socket hooks have in common: a program is attached to interfaces, each in its network namespace."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from functools import partial

from xcapscript.errors import KernelError
from xcapscript.kernel.facts import NotFound
from xcapscript.kernel.interfaces import within
from xcapscript.kernel.places import namespace_path
from xcapscript.runtime.attach.held import Held, let_go
from xcapscript.unit import Attachment, Device

RIGHTS = "run as root, or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON"


def at_each(attachment: Attachment, attach: Callable[[int, Device], int | Held]) -> list[int | Held]:
    """What holds a program at each interface: `attach` is given its index, in its namespace. KernelError if one is
    refused: then none is left.
    """
    found: list[int | Held] = []
    try:
        for device in attachment.devices:
            found.append(_at_one(attachment, device, attach))  # noqa: PERF401 -- what was made is closed if one fails
    except BaseException:
        for one in found:
            let_go(one)
        raise
    return found


def _at_one(attachment: Attachment, device: Device, attach: Callable[[int, Device], int | Held]) -> int | Held:
    try:
        namespace = namespace_path(device.namespace) if device.namespace else None
        return within(namespace, partial(_found, device, attach))
    except NotFound as error:
        raise KernelError(error.message, advice=" ".join(error.hints) or None) from error
    except OSError as error:
        message = f"cannot attach to {attachment.kind}:{attachment.target} at '{device}': {error.strerror}"
        advice = RIGHTS if error.errno in (errno.EPERM, errno.EACCES) else None
        raise KernelError(message, advice=advice) from error


def _found(device: Device, attach: Callable[[int, Device], int | Held]) -> int | Held:
    try:
        index = socket.if_nametoindex(device.name)
    except OSError:
        raise KernelError(f"interface '{device}' is not there any more", advice="see 'ip link'") from None
    return attach(index, device)
