"""Compiling expressions within bounds: libpcap's optimiser takes 22 s for a list of 1,000 ports, and a name server that
is away takes longer. What can last is done in a process of its own, which is ended when its time is over.
"""

from __future__ import annotations

import os
import pickle
import re
import select
import signal
from time import monotonic

from xcapscript.pcap.cbpf import Instruction
from xcapscript.pcap.libpcap import PcapError, compile_expression
from xcapscript.unit import LinkType

OPTIMIZER_SECONDS = 2.0
NAME_SECONDS = 10.0

_SHORT = 500
"""Characters of an expression that the optimiser is done with in no time."""

# The words of pcap-filter(7); any other one, unless it is a number or an address, may be a name to be looked up.
_WORDS = frozenset(
    """action address1 address2 address3 address4 addr1 addr2 addr3 addr4 aarp ah and arp atalk atm broadcast bcc
    byte carp connectmsg csma decnet dir direction dpc dst esp ether ether proto fddi fisu gateway geneve greater
    host hopc icmp icmp6 ifindex ifname igmp igrp inbound ip ip6 ipx iso isis iso clnp esis isis l1 l2 iih lsp snp
    csnp psnp lane lat len length less link llc lsap mask metac metaconnect moprc mopdl mpls mtp2 mtp3 multicast net
    netbeui not oam oamf4 oamf4ec oamf4sc on opc or outbound pim port portrange ppp pppoed pppoes proto protochain ra
    radio rarp reason rnr rset rulenum ruleset sc sca sctp shost sio slip sls src srcnode ssap stp subrulenum subtype
    tcp ta tr type udp vci vlan vpi vrrp vxlan wlan""".split()  # noqa: SIM905 -- a hundred words are read better so
)
_WORD = re.compile(r"[A-Za-z_][\w.-]*")
_HEADER_FIELD = re.compile(r"(icmp6?|tcp)-?[a-z0-9-]+|tcpflags|icmp6?(type|code)")


def compile_bounded(
    text: str, link: LinkType, *, netmask: int | None = None, resolve_names: bool = True
) -> tuple[Instruction, ...]:
    """compile_expression() in bounded time: without the optimiser when that takes too long.

    PcapError also when names could not be looked up in time.
    """
    asks = resolve_names and may_ask(text)
    if len(text) < _SHORT and not asks:
        return compile_expression(text, link, netmask=netmask, resolve_names=resolve_names)
    for optimize in (True, False):
        seconds = NAME_SECONDS if asks else OPTIMIZER_SECONDS
        found = _in_child(text, link, seconds, optimize=optimize, netmask=netmask, resolve_names=resolve_names)
        if found is not None:
            return found
        if asks:
            break
    if asks:
        raise PcapError(f"a name in it could not be looked up within {NAME_SECONDS:.0f} seconds")
    raise PcapError("libpcap did not finish with it in time")


def may_ask(text: str) -> bool:
    """Whether an expression has a word that libpcap may look up."""
    words = (match[0] for match in _WORD.finditer(re.sub(r"\b0[xX][0-9a-fA-F]+|[0-9a-fA-F]*:[0-9a-fA-F:.]*", "", text)))
    return any(word not in _WORDS and not _HEADER_FIELD.fullmatch(word) for word in words)


def _in_child(
    text: str, link: LinkType, seconds: float, *, optimize: bool, netmask: int | None, resolve_names: bool
) -> tuple[Instruction, ...] | None:
    """What compile_expression() gives or raises, in a process of its own; None if it takes too long."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(writer, text, link, optimize=optimize, netmask=netmask, resolve_names=resolve_names)
    os.close(writer)
    try:
        answer = _read(reader, monotonic() + seconds)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if answer is None:
        return None
    # what comes out of the pipe is our own
    outcome = pickle.loads(answer) if answer else PcapError("libpcap ended without an answer")  # noqa: S301
    if isinstance(outcome, PcapError):
        raise outcome
    return tuple(Instruction(*instruction) for instruction in outcome)


def _answer(
    writer: int, text: str, link: LinkType, *, optimize: bool, netmask: int | None, resolve_names: bool
) -> None:
    """The child's part; it does not return."""
    outcome: object
    try:
        outcome = [
            tuple(instruction)
            for instruction in compile_expression(
                text, link, optimize=optimize, netmask=netmask, resolve_names=resolve_names
            )
        ]
    except PcapError as error:
        outcome = error
    finally:
        # no clean-up of the parent's: files that it has open would be flushed twice
        try:
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(pickle.dumps(outcome))
        finally:
            os._exit(0)


def _read(reader: int, deadline: float) -> bytes | None:
    """All that comes until the end, None if it does not come to one in time."""
    pieces: list[bytes] = []
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - monotonic()))
        if not ready:
            return None
        piece = os.read(reader, 1 << 16)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
