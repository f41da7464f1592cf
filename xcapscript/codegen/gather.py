"""Bytes in pages that have to be found by hand (gather.h): when they are read, and how much of them."""

from __future__ import annotations

from xcapscript.builtins import Needs
from xcapscript.codegen.access import may_gather
from xcapscript.codegen.emitter import Emitter
from xcapscript.codegen.filter import MAX_WINDOW
from xcapscript.codegen.stmt import Context
from xcapscript.ir import Probe
from xcapscript.nodes.expressions import Matches
from xcapscript.nodes.hook import Filter
from xcapscript.nodes.walk import walk

SEE_GATHERED = "xcap_see_gathered(&view, hit, xcap_scalar(&hit->room, (u64)scratch->bytes));"
"""What filters see then."""


def write_window(out: Emitter, probe: Probe, context: Context) -> None:
    """Read as much of pages as is asked for without a filter that could say that it was not there."""
    if reads_early(probe):
        wanted = _asked_early(probe, context)
        with out.block(f"if (xcap_lacks(hit, access, {wanted}))"):
            out.line(gathering(context, wanted))


def reads_early(probe: Probe) -> bool:
    """Whether more than the linear part may be needed for fields, tunnels or conditions."""
    early = probe.needs >= Needs.LAYERS or probe.inner or expressions_of(probe)
    return may_gather(probe.hook) and bool(early)


def _asked_early(probe: Probe, context: Context) -> str:
    return str(context.reach) if expressions_of(probe) and context.reach > MAX_WINDOW else "XCAP_WINDOW"


def expressions_of(probe: Probe) -> list[Filter]:
    """Those within conditions."""
    return [node.filter for node in walk((*probe.conditions, *probe.body)) if isinstance(node, Matches)]


def gathering(context: Context, limit: int | str) -> str:
    """C that reads the packet's first `limit` bytes."""
    return f"xcap_gather(hit, skb, access, &dynptr, scratch->bytes, {limit}, {context.has_socket:d});"
