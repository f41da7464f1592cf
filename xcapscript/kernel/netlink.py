"""What rtnetlink(7) tells of network interfaces: the XDP program that one has.

Source: include/uapi/linux/if_link.h (IFLA_XDP_*), net/core/rtnetlink.c.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from xcapscript.kernel.bpf import program_name

_MODES = {"xdp": "xdpdrv", "xdpgeneric": "xdpgeneric", "xdpoffload": "xdpoffload"}
"""What pyroute2 and ip-link(8) call the places where a program can be, XDP_ATTACHED_*."""

_SEVERAL = "xdpmulti"
_OF_SEVERAL = {
    "IFLA_XDP_DRV_PROG_ID": "xdpdrv",
    "IFLA_XDP_SKB_PROG_ID": "xdpgeneric",
    "IFLA_XDP_HW_PROG_ID": "xdpoffload",
}


@dataclass(frozen=True, slots=True)
class XdpProgram:
    """A program of XDP at an interface, and in which mode, as ip-link(8) calls it."""

    id: int
    mode: str

    def __str__(self) -> str:
        name = program_name(self.id)
        return f"the XDP program {self.id}{f' ({name})' if name else ''}"


def xdp_program(index: int) -> XdpProgram | None:
    """The XDP program at the interface of that index, or one of several; None if there is none, or no interface."""
    with IPRoute() as route:
        for message in _link(route, index):
            state = message.get_attr("IFLA_XDP")
            if state is None:
                continue
            attached, number = state.get_attr("IFLA_XDP_ATTACHED"), state.get_attr("IFLA_XDP_PROG_ID")
            if attached == _SEVERAL:
                found = [(state.get_attr(name), mode) for name, mode in _OF_SEVERAL.items()]
                return next((XdpProgram(one, mode) for one, mode in found if one), None)
            if number:
                return XdpProgram(number, _MODES.get(attached, "xdp"))
    return None


def _link(route: IPRoute, index: int) -> Sequence[Any]:
    try:
        return list(route.get_links(index))
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
        return ()
