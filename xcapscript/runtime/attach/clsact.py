"""tc hooks where there is no tcx: a filter that only looks, at the clsact qdisc, which is made if it is missing.

The kernel does not drop a filter with the process that made it. So its name says whose it is, and what such filters
have been left by processes that are gone is removed before the next one is made.

Source: tc-bpf(8), net/sched/cls_bpf.c, include/uapi/linux/pkt_cls.h.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from xcapscript.errors import KernelError
from xcapscript.kernel.interfaces import within
from xcapscript.runtime.attach.devices import RIGHTS
from xcapscript.unit import Device

PROC = Path("/proc")
ETH_P_ALL = 0x0003
INGRESS, EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
"""TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS) and ..._EGRESS."""

FIRST = 1
"""The priority that runs before all others; of several filters that have it, the newest runs first."""

OWNER = re.compile(r"(?P<who>xcap-(?P<namespace>\d+)-(?P<process>\d+)-\d+)-\d+(?:-q)?")
_numbers = itertools.count(1)
"""A process may have several at one place, each of which goes alone."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One of our filters, at the interface of that index; `namespace` is a descriptor of its network namespace."""

    namespace: int
    index: int
    parent: int
    name: str
    note: str

    def close(self) -> None:
        """Remove it, and the qdisc if we made it and nobody else uses it. What is not there any more is no error: the
        interface took it along.
        """
        try:
            with suppress(OSError, NetlinkError):
                within(PROC / "self" / "fd" / str(self.namespace), self._remove)
        finally:
            os.close(self.namespace)

    def is_gone(self) -> bool:
        """Whether the interface is."""
        try:
            within(PROC / "self" / "fd" / str(self.namespace), partial(socket.if_indextoname, self.index))
        except OSError:
            return True
        return False

    def _remove(self) -> None:
        with IPRoute() as route:
            _remove(route, self.index, self.parent, self.name)


def attach(program: int, index: int, device: Device, *, egress: bool) -> Filter:
    """The filter; it is called in the interface's namespace. KernelError if the kernel refuses."""
    parent = EGRESS if egress else INGRESS
    with ExitStack() as undo:
        # first: without it the filter could not be removed
        namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        undo.callback(os.close, namespace)
        name = _make(program, index, parent, device)
        undo.pop_all()
    return Filter(namespace, index, parent, name, f"tc at '{device}': a filter of clsact, as there is no tcx")


def _make(program: int, index: int, parent: int, device: Device) -> str:
    """Make a filter, and the qdisc if it is missing; the filter's name. KernelError if the kernel refuses."""
    try:
        with IPRoute() as route:
            for left in list(_left_behind(route, index)):
                # another xcap that starts just now may do the same
                with suppress(NetlinkError):
                    _remove(route, index, *left)
            made = _make_qdisc(route, index) or _is_ours(route, index)
            name = f"{own_name()}-{next(_numbers)}{'-q' * made}"
            try:
                _make_filter(route, program, index, parent, name)
            except NetlinkError:
                _remove_qdisc(route, index, name)
                raise
    except NetlinkError as error:
        way = "egress" if parent == EGRESS else "ingress"
        message = f"cannot attach to tc:{device}:{way}: {os.strerror(error.code)}"
        advice = "this kernel has neither tcx (Linux 6.6) nor cls_bpf and clsact: try 'modprobe cls_bpf'"
        raise KernelError(message, advice=advice if error.code != errno.EPERM else RIGHTS) from error
    return name


def own_name(process: int | None = None) -> str:
    """How the filters of this process are called, or of another: the number of a process alone may be given again."""
    who = PROC / (str(process) if process is not None else "self")
    # proc(5): the program's name, in parentheses, may have blanks; the time of the start is the field 22
    fields = (who / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    namespace = (who / "ns" / "pid").stat().st_ino
    return f"xcap-{namespace}-{process if process is not None else os.getpid()}-{fields[19]}"


def _left_behind(route: IPRoute, index: int) -> Iterator[tuple[int, str]]:
    """Where filters are, and what they are called, whose process is gone. Of other PID namespaces we cannot tell."""
    ours = (PROC / "self" / "ns" / "pid").stat().st_ino
    for parent in (INGRESS, EGRESS):
        for _, _, name in _filters(route, index, parent):
            owner = OWNER.fullmatch(name)
            if owner is None or int(owner["namespace"]) != ours:
                continue
            try:
                alive = own_name(int(owner["process"])) == owner["who"]
            except OSError:
                alive = False
            if not alive:
                yield parent, name


def _is_ours(route: IPRoute, index: int) -> bool:
    """Whether another filter of ours says that it, or one before it, made the qdisc: whoever is last removes that."""
    names = [name for parent in (INGRESS, EGRESS) for _, _, name in _filters(route, index, parent)]
    return any(OWNER.fullmatch(name) and name.endswith("-q") for name in names)


def _filters(route: IPRoute, index: int, parent: int) -> list[tuple[int, int, str]]:
    """Handle, priority and protocol, and name of each filter; the name is empty if it is not one of BPF."""
    found = []
    for message in route.get_filters(index=index, parent=parent):
        options = message.get_attr("TCA_OPTIONS")
        name = options.get_attr("TCA_BPF_NAME") if message["handle"] and hasattr(options, "get_attr") else None
        found.append((message["handle"], message["info"], name or ""))
    return found


def _make_qdisc(route: IPRoute, index: int) -> bool:
    """Whether it was not there. The ingress qdisc, which it takes the place of, has no egress."""
    try:
        route.tc("add", "clsact", index)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
        return False
    return True


def _make_filter(route: IPRoute, program: int, index: int, parent: int, name: str) -> None:
    settings = {"fd": program, "name": name, "parent": parent, "direct_action": True, "protocol": ETH_P_ALL}
    try:
        route.tc("add-filter", "bpf", index, prio=FIRST, **settings)
    except NetlinkError as error:
        if error.code != errno.EINVAL:
            raise
        # that priority belongs to filters of another kind: the kernel chooses
        route.tc("add-filter", "bpf", index, prio=0, **settings)


def _remove(route: IPRoute, index: int, parent: int, name: str) -> None:
    for handle, info, found in _filters(route, index, parent):
        if found == name:
            route.tc("del-filter", "bpf", index, handle=handle, parent=parent, info=info)
    _remove_qdisc(route, index, name)


def _remove_qdisc(route: IPRoute, index: int, name: str) -> None:
    """Remove it if the filter of that name made it; another of ours that is still there removes it after this one."""
    if not name.endswith("-q"):
        return
    left = [(parent, *one) for parent in (INGRESS, EGRESS) for one in _filters(route, index, parent)]
    if not left:
        route.tc("del", "clsact", index)
