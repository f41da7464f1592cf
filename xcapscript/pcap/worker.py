"""Compiling expressions within bounds: libpcap's optimiser takes 22 s for a list of 1,000 ports, and a name server that
is away takes longer. What can last is done in a process of its own, which is ended when its time is over.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import re
import resource
import select
import signal
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import NoReturn

from xcapscript.pcap.cbpf import Instruction
from xcapscript.pcap.libpcap import PcapError, compile_expression
from xcapscript.unit import LinkType

SECONDS = 60.0
NAME_SECONDS = 10.0
"""What a long expression may take, and one with names that have to be looked up. Without its optimiser libpcap takes
half as long for a list of ports, and makes a program 50 times as large, which cannot be loaded."""

MEMORY = 4 << 30
"""Bytes that its process may have: a list of 7,500 hosts would take 6 GB."""

SHORT_OF_MEMORY = frozenset({"malloc", "calloc"})
"""What libpcap says then."""

REPORT_SECONDS = 2.0
PR_SET_PDEATHSIG = 1

Progress = Callable[[float], None]
"""Told now and then how many seconds have gone."""

Outcome = tuple[Instruction, ...] | PcapError
"""The program of an expression, or why libpcap refuses it."""

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
    text: str,
    links: Sequence[LinkType],
    *,
    netmask: int | None = None,
    resolve_names: bool = True,
    progress: Progress = lambda _seconds: None,
) -> tuple[Outcome, ...]:
    """What compile_expression() gives or raises for each link type. PcapError when it takes too long."""
    asks = resolve_names and may_ask(text)
    compile_one = partial(_outcome, text, netmask=netmask, resolve_names=resolve_names)
    if len(text) < _SHORT and not asks:
        return tuple(compile_one(link) for link in links)
    seconds = NAME_SECONDS if asks else SECONDS
    start = monotonic()
    children = [_Child(partial(compile_one, link)) for link in links]
    try:
        return tuple(child.outcome(start, seconds, progress) for child in children)
    except TimeoutError:
        if asks:
            raise PcapError(f"a name in it could not be looked up within {seconds:.0f} seconds") from None
        message = f"libpcap needs more than {seconds:.0f} seconds for it; networks and portranges are faster than lists"
        raise PcapError(message) from None
    finally:
        for child in children:
            child.end()


def _outcome(text: str, link: LinkType, *, netmask: int | None, resolve_names: bool) -> Outcome:
    try:
        return compile_expression(text, link, netmask=netmask, resolve_names=resolve_names)
    except PcapError as error:
        if str(error) in SHORT_OF_MEMORY:
            return PcapError("libpcap has not enough memory for it; networks and portranges are smaller than lists")
        return error


def is_quick(text: str) -> bool:
    """Whether libpcap is done with an expression in no time, and asks nobody."""
    return len(text) < _SHORT and not may_ask(text)


def may_ask(text: str) -> bool:
    """Whether an expression has a word that libpcap may look up."""
    words = (match[0] for match in _WORD.finditer(re.sub(r"\b0[xX][0-9a-fA-F]+|[0-9a-fA-F]*:[0-9a-fA-F:.]*", "", text)))
    return any(word not in _WORDS and not _HEADER_FIELD.fullmatch(word) for word in words)


class _Child:
    """A forked process that does one thing and tells its outcome; it ends when the one that forked it does."""

    def __init__(self, what: Callable[[], Outcome]) -> None:
        self._reader, writer = os.pipe()
        parent = os.getpid()
        self._process = os.fork()
        if self._process == 0:
            _answer(writer, what, parent)
        os.close(writer)

    def outcome(self, start: float, seconds: float, progress: Progress) -> Outcome:
        """Wait for it; TimeoutError if it is not there `seconds` after `start` (of the monotonic clock)."""
        pieces: list[bytes] = []
        while True:
            wait = min(REPORT_SECONDS, start + seconds - monotonic())
            ready, _, _ = select.select([self._reader], [], [], max(0.0, wait))
            if not ready and monotonic() >= start + seconds:
                raise TimeoutError
            if not ready:
                progress(monotonic() - start)
                continue
            piece = os.read(self._reader, 1 << 16)
            if not piece:
                break
            pieces.append(piece)
        if not pieces:
            return PcapError("libpcap ended without an answer")
        # what comes out of the pipe is our own
        found: list[tuple[int, int, int, int]] | PcapError = pickle.loads(b"".join(pieces))  # noqa: S301
        return found if isinstance(found, PcapError) else tuple(Instruction(*instruction) for instruction in found)

    def end(self) -> None:
        """End it, whatever it is doing."""
        os.close(self._reader)
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)


def _answer(writer: int, what: Callable[[], Outcome], parent: int) -> NoReturn:
    """The child's part. It leaves the parent's files alone, which would be flushed twice."""
    try:
        # libpcap is not interrupted by Python's own handlers while it is at work
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        if soft == resource.RLIM_INFINITY or soft > MEMORY:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() == parent:
            outcome = what()
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(pickle.dumps(outcome if isinstance(outcome, PcapError) else [tuple(one) for one in outcome]))
    finally:
        os._exit(0)
