"""Packets in a program's memory: a binding group says which arguments hold the address and the length."""

from __future__ import annotations

from xcapscript.diagnostics import Code, did_you_mean
from xcapscript.ir import Packet, PacketForm
from xcapscript.nodes.hook import HookArgument
from xcapscript.sema.hooks.bindings import Bindings
from xcapscript.sema.refusal import refuse
from xcapscript.unit import LinkType

BUF, LEN, LINK = "buf", "len", "link"
BUFFER_NAMES = (BUF, LEN, LINK)
LINKS = {"ethernet": LinkType.EN10MB, "raw": LinkType.RAW}
"""How a packet may begin: with an Ethernet header, or with that of IP."""


def buffer_packet(bindings: Bindings, arguments: tuple[HookArgument, ...], most: int) -> Packet | None:
    """The packet that a binding group says, None if it says none."""
    pointer = bindings.argument(BUF, arguments, most)
    length = bindings.argument(LEN, arguments, most)
    link = link_of(bindings)
    if pointer is None:
        if bindings.given:
            given = next(iter(bindings.given))
            refuse(Code.BAD_HOOK, bindings.attach, f"'{given}' goes with 'buf'", "write (buf=arg0, len=arg1)")
        return None
    if length is None:
        message = "how long the packet in 'buf' is must be said, too"
        refuse(Code.BAD_HOOK, bindings.attach, message, f"write (buf={bindings.given[BUF]}, len=arg1)")
    return Packet(PacketForm.BUFFER, pointer, length, link)


def link_of(bindings: Bindings) -> LinkType:
    """What the packets of a binding group begin with."""
    text = bindings.given.get(LINK, "ethernet")
    found = LINKS.get(text.lower())
    if found is None:
        hints = did_you_mean(text, LINKS) or (f"it is one of {' '.join(LINKS)}",)
        refuse(Code.BAD_HOOK, bindings.attach, f"'{text}' is nothing that a packet begins with", *hints)
    return found
