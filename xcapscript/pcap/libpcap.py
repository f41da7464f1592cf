"""libpcap through ctypes: the library of tcpdump itself compiles expressions to classic BPF."""

from __future__ import annotations

import ctypes
import ctypes.util
import socket
from collections.abc import Callable, Sequence
from functools import cache

from xcapscript.errors import KernelError
from xcapscript.pcap.cbpf import Instruction
from xcapscript.unit import LinkType

SNAPLEN = 262144
"""What a filter returns for a match: tcpdump's own, so that listings are the same."""

PCAP_NETMASK_UNKNOWN = 0xFFFFFFFF

_DLT = {LinkType.EN10MB: 1, LinkType.RAW: 12}
"""Linux's values of DLT_*; those of files (LINKTYPE_*) differ for raw IP."""

_SONAME = "libpcap.so.0.8"
"""libpcap.so without a version is there with development packages only."""

_NAME_SERVICES = ("hosts", "networks", "services", "protocols", "ethers")


class PcapError(Exception):
    """libpcap refuses an expression; the message is libpcap's own."""


class RejectsAll(PcapError):
    """libpcap knows that no packet of this link type can match."""


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.POINTER(_Instruction)))


def compile_expression(
    text: str,
    link: LinkType,
    *,
    optimize: bool = True,
    netmask: int | None = None,
    resolve_names: bool = True,
) -> tuple[Instruction, ...]:
    """The classic BPF of a pcap-filter(7) expression for packets that begin at a `link` header.

    `netmask` (0xffffff00 for /24) serves `ip broadcast`, which is refused without it. Without `resolve_names` a host is
    looked up in /etc/hosts alone: that is a setting of the C library, and holds for the process from then on.
    Without `optimize` libpcap is fast on long lists, but does not tell whether an expression rejects all packets.

    PcapError: libpcap refuses the expression. RejectsAll: it can match nothing. KernelError: libpcap is missing, or the
    C library cannot keep names from DNS.
    """
    library = _library(_SONAME)
    expression = _encode(text)
    if not resolve_names:
        _look_up_in_files_only()
    handle = library.pcap_open_dead(_DLT[link], SNAPLEN)
    if not handle:
        raise MemoryError
    program = _Program()
    try:
        mask = PCAP_NETMASK_UNKNOWN if netmask is None else netmask
        if library.pcap_compile(handle, ctypes.byref(program), expression, optimize, mask) != 0:
            raise _refusal(library.pcap_geterr(handle).decode(errors="backslashreplace"))
        try:
            found = program.instructions[: program.length]
            return tuple(Instruction(insn.code, insn.jt, insn.jf, insn.k) for insn in found)
        finally:
            library.pcap_freecode(ctypes.byref(program))
    finally:
        library.pcap_close(handle)


def offline_match(instructions: Sequence[Instruction], packet: bytes, wire_len: int) -> bool:
    """What libpcap's bpf_filter() says to a packet of which `packet` was captured and `wire_len` bytes were sent."""
    return offline_matcher(instructions)(packet, wire_len)


def offline_matcher(instructions: Sequence[Instruction]) -> Callable[[bytes, int], bool]:
    """The same for many packets: a function of the captured bytes and the length on the wire."""
    answers = offline_answers(instructions)
    return lambda packet, wire_len: bool(answers(packet, wire_len))


def offline_answers(instructions: Sequence[Instruction]) -> Callable[[bytes, int], int]:
    """The same with what the program returns."""
    bpf_filter = _library(_SONAME).bpf_filter
    program = (_Instruction * len(instructions))(*(_Instruction(*insn) for insn in instructions))
    return lambda packet, wire_len: int(bpf_filter(program, packet, wire_len, len(packet)))


def interface_netmask(name: str) -> int | None:
    """The mask of an interface's IPv4 network as pcap_compile() takes it; None if it has none."""
    net, mask, message = ctypes.c_uint32(), ctypes.c_uint32(), ctypes.create_string_buffer(256)
    found = _library(_SONAME).pcap_lookupnet(name.encode(), ctypes.byref(net), ctypes.byref(mask), message)
    # it comes in network order, and is taken in the host's
    return socket.ntohl(mask.value) if found == 0 and mask.value else None


def library_version() -> str:
    """As `tcpdump --version` has it: 'libpcap version 1.10.3 (with TPACKET_V3)'."""
    version: bytes = _library(_SONAME).pcap_lib_version()
    return version.decode(errors="backslashreplace")


def _refusal(message: str) -> PcapError:
    return (RejectsAll if message == "expression rejects all packets" else PcapError)(message)


def _encode(text: str) -> bytes:
    if "\0" in text:
        raise PcapError("a filter expression cannot contain a NUL character")
    try:
        # A command line that is no UTF-8 comes with its bytes escaped so: libpcap gets them as tcpdump would.
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise PcapError("a filter expression cannot contain half a surrogate pair") from error


@cache
def _library(soname: str) -> ctypes.CDLL:
    library = _open(soname) or _open(ctypes.util.find_library("pcap"))
    if library is None:
        raise KernelError("libpcap is not installed", advice="install it (Debian: libpcap0.8, Fedora: libpcap)")
    _declare(library)
    return library


def _open(name: str | None) -> ctypes.CDLL | None:
    try:
        # CDLL(None) would be this very process.
        return None if name is None else ctypes.CDLL(name)
    except OSError:
        return None


def _declare(library: ctypes.CDLL) -> None:
    handle, program = ctypes.c_void_p, ctypes.POINTER(_Program)
    library.pcap_open_dead.argtypes, library.pcap_open_dead.restype = [ctypes.c_int, ctypes.c_int], handle
    library.pcap_compile.argtypes = [handle, program, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32]
    library.pcap_geterr.argtypes, library.pcap_geterr.restype = [handle], ctypes.c_char_p
    library.pcap_freecode.argtypes, library.pcap_freecode.restype = [program], None
    library.pcap_close.argtypes, library.pcap_close.restype = [handle], None
    numbers = ctypes.POINTER(ctypes.c_uint32)
    library.pcap_lookupnet.argtypes = [ctypes.c_char_p, numbers, numbers, ctypes.c_char_p]
    library.pcap_lib_version.argtypes, library.pcap_lib_version.restype = [], ctypes.c_char_p
    library.bpf_filter.argtypes = [ctypes.POINTER(_Instruction), ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint]
    library.bpf_filter.restype = ctypes.c_uint


@cache
def _look_up_in_files_only() -> None:
    configure = getattr(ctypes.CDLL(None), "__nss_configure_lookup", None)
    if configure is None:
        raise KernelError(
            "this C library cannot be told to leave DNS alone",
            advice="let names be resolved (without -n): an expression of addresses and numbers asks no server",
        )
    configure.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    for service in _NAME_SERVICES:
        if configure(service.encode(), b"files") != 0:
            raise KernelError(f"names of '{service}' cannot be kept to the files in /etc")
