"""What rtnetlink(7) tells of network interfaces: the XDP program that one has."""

from __future__ import annotations

from pyroute2 import IPRoute

from xcapscript.kernel.bpf import program_name


def xdp_program(index: int) -> str | None:
    """The XDP program at the interface of that index, in words; None if there is none. Raises OSError."""
    with IPRoute() as route:
        for message in route.get_links(index):
            state = message.get_attr("IFLA_XDP")
            number = state.get_attr("IFLA_XDP_PROG_ID") if state is not None else None
            if number:
                name = program_name(number)
                return f"the XDP program {number}{f' ({name})' if name else ''}"
    return None
