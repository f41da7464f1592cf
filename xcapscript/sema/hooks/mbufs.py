"""Packets of DPDK: where the members of a struct rte_mbuf are, by the program's own debugging information, a binding
group, or what all releases since 20.11 have in common.

Source: lib/mbuf/rte_mbuf_core.h of DPDK 20.11, 21.11, 22.11, 23.11 and 24.11.
"""

from __future__ import annotations

import re

from xcapscript.diagnostics import Code
from xcapscript.elf.binary import Binary, NotReadable
from xcapscript.elf.dwarf import member_offsets
from xcapscript.ir import MbufLayout, Packet, PacketForm
from xcapscript.nodes.hook import HookArgument
from xcapscript.sema.hooks.bindings import Bindings
from xcapscript.sema.hooks.buffers import BUF, LEN, link_of
from xcapscript.sema.refusal import refuse

MBUF, MBUFS, COUNT = "mbuf", "mbufs", "n"
USUAL = MbufLayout(buf_addr=0, data_off=16, pkt_len=36, data_len=40, next=64)
"""Of builds with physical addresses in the mbufs, the default on x86-64. Without (RTE_IOVA_AS_PA, later called
RTE_IOVA_IN_MBUF, is 0) `next` has their place, 8.
"""

MEMBERS = tuple(MbufLayout.__dataclass_fields__)
MBUF_NAMES = (MBUF, MBUFS, COUNT, *MEMBERS)
_OFFSET = re.compile(r"0x[0-9a-fA-F]{1,3}|[0-9]{1,4}")


def mbuf_packet(bindings: Bindings, arguments: tuple[HookArgument, ...], most: int, binary: Binary) -> Packet | None:
    """The packet, or the packets of a burst, that a binding group says; None if it says none."""
    given = bindings.given
    one, many = bindings.argument(MBUF, arguments, most), bindings.argument(MBUFS, arguments, most)
    if one is None and many is None:
        if wrong := next((name for name in given if name in MBUF_NAMES), None):
            hint = "write (mbuf=arg0), or (mbufs=arg0, n=arg1)"
            refuse(Code.BAD_HOOK, bindings.attach, f"'{wrong}' goes with 'mbuf' or 'mbufs'", hint)
        return None
    if wrong := next((name for name in (BUF, LEN) if name in given), None) or (MBUFS if one and many else None):
        refuse(Code.BAD_HOOK, bindings.attach, f"'{wrong}' is one packet too many: a hook has one kind of packet")
    count = bindings.argument(COUNT, arguments, most)
    if many is not None and count is None:
        message = f"how many packets are in '{MBUFS}' must be said, too"
        refuse(Code.BAD_HOOK, bindings.attach, message, f"write ({MBUFS}={given[MBUFS]}, {COUNT}=arg1)")
    if one is not None and count is not None:
        hint = f"several are ({MBUFS}=arg0, {COUNT}=arg1)"
        refuse(Code.BAD_HOOK, bindings.attach, f"'{MBUF}' is one packet, and has no '{COUNT}'", hint)
    layout = _layout(bindings, binary)
    if many is not None:
        return Packet(PacketForm.MBUFS, many, count, link_of(bindings), layout)
    assert one is not None
    return Packet(PacketForm.MBUF, one, None, link_of(bindings), layout)


def _layout(bindings: Bindings, binary: Binary) -> MbufLayout:
    try:
        told = member_offsets(binary, "rte_mbuf", MEMBERS)
    except NotReadable as error:
        refuse(Code.MISSING_HOOK, bindings.attach, str(error), "without it: strip -g -o COPY PROGRAM")
    said = {name: _offset(bindings, name) for name in MEMBERS if name in bindings.given}
    return MbufLayout(**{name: getattr(USUAL, name) for name in MEMBERS} | dict(told or {}) | said)


def _offset(bindings: Bindings, name: str) -> int:
    text = bindings.given[name]
    if not _OFFSET.fullmatch(text):
        message = f"'{text}' is no offset of a member of struct rte_mbuf"
        refuse(Code.BAD_HOOK, bindings.attach, message, f"write bytes, as in {name}={getattr(USUAL, name)}")
    return int(text, 0)
