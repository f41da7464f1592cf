"""The two judges of a packet: libpcap, on what is on the wire, and the generated program, on the sk_buff."""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import IntEnum
from functools import cache
from typing import Any

from tests.answers import MATCH, UNREAD, answers
from tests.conformance.arena import PLACE
from tests.conformance.states import View
from xcapscript.codegen.filter import may_be_asked_again
from xcapscript.codegen.generate import Options
from xcapscript.compiler import compile_script
from xcapscript.kernel import bpf
from xcapscript.kernel.libbpf import RunOptions, load
from xcapscript.kernel.live import LiveKernel
from xcapscript.kernel.pages import flags_of
from xcapscript.kernel.typed import macros
from xcapscript.library import default_library
from xcapscript.pcap.cbpf import Ancillary, Class, Instruction, Mode
from xcapscript.pcap.libpcap import PcapError, compile_expression
from xcapscript.resources import bpf_directory
from xcapscript.runtime.control import Control
from xcapscript.sema.analyse import Settings
from xcapscript.sema.filter import Rules
from xcapscript.source import Source
from xcapscript.unit import Counter, LinkType, Unit

NETMASK = 0xFFFFFF00
"""For `ip broadcast`."""

LINK_ACCESS = re.compile(r"\b(ether|link)\s*\[")
WORD = 8
CFLAGS = ("-w", "-DXCAP_TYPED=0", *(f"-D{name}={number}" for name, number in macros().items()), *flags_of(PLACE))
"""Untyped: a program that is run by hand has no sk_buff which the verifier trusts."""


class Verdict(IntEnum):
    """What is counted for a packet; NONE_OF_THESE is what was not counted exactly once."""

    NO_PACKET = Counter.NO_PACKET
    NO_LINK = Counter.NO_LINK
    NO_MATCH = Counter.NO_MATCH
    UNREAD = Counter.UNREAD
    MATCHED = Counter.MATCHED
    NONE_OF_THESE = 99


class Libpcap:
    """What must come out for an expression."""

    def __init__(self, text: str) -> None:
        self._ethernet = compile_expression(text, LinkType.EN10MB, netmask=NETMASK)
        self._raw = None
        if not LINK_ACCESS.search(text):  # these compile for raw IP, and would read the IP header
            with suppress(PcapError):
                self._raw = compile_expression(text, LinkType.RAW, netmask=NETMASK)
        # of what is too long to run twice, only linear bytes are looked at
        self._again = may_be_asked_again((self._ethernet, self._raw or ()))
        self._asks = any(insn.ancillary is not None for insn in (*self._ethernet, *(self._raw or ())))
        self._answers: dict[tuple[LinkType, int, int], Callable[[bytes, int], int]] = {}

    def verdict(self, view: View | None) -> Verdict:
        """What the program must count for a packet."""
        if view is None:
            return Verdict.NO_PACKET
        program = self._ethernet if view.link is LinkType.EN10MB else self._raw
        if program is None:
            return Verdict.NO_LINK
        known = (view.pkt_type, view.ifindex) if self._asks else (0, 0)
        answer = self._answers.get((view.link, *known))
        if answer is None:
            answer = answers([_told(insn, *known) for insn in program])
            self._answers[view.link, *known] = answer
        captured = view.captured if self._again else view.captured[: view.linear]
        return {MATCH: Verdict.MATCHED, UNREAD: Verdict.UNREAD}.get(answer(captured, view.wire_len), Verdict.NO_MATCH)


def _told(insn: Instruction, pkt_type: int, ifindex: int) -> Instruction:
    """bpf_filter() knows the packet alone: a question to the kernel is replaced by its answer."""
    answers = {Ancillary.PKTTYPE: pkt_type, Ancillary.IFINDEX: ifindex}
    if insn.ancillary is None:
        return insn
    return Instruction(Class.BPF_LD | Mode.BPF_IMM, 0, 0, answers[insn.ancillary])


@cache
def _kernel() -> LiveKernel:
    return LiveKernel()


def translate(texts: Sequence[str]) -> Unit:
    """The unit of a script that has a clause for each expression; ScriptError if one is refused."""
    clauses = "\n".join(f"rawtracepoint:netif_receive_skb /{text}/ {{ @matched = count(); }}" for text in texts)
    settings = Settings(rules=Rules(netmask=NETMASK))
    source = Source("conformance", clauses)
    return compile_script(source, default_library(), _kernel(), settings, Options(buffer_size=4096)).unit


class Programs:
    """A loaded unit. Every CPU but the one that this process is bound to leaves the counters alone."""

    def __init__(self, bpf_class: Any, unit: Unit) -> None:
        # bcc closes the descriptors when its object goes
        self._module = bpf_class(text=unit.text, cflags=[*CFLAGS, f"-I{bpf_directory() / 'include'}"])
        self._kind, self._functions = bpf_class.RAW_TRACEPOINT, [program.function for program in unit.programs]
        self._counts = self._module["xcap_counts"].map_fd
        self._control = Control(self._module["xcap_controls"].map_fd)
        self._control.open_gate()
        (cpu,) = os.sched_getaffinity(0)
        self._first = cpu * len(Counter) * WORD
        self._values = ctypes.create_string_buffer(bpf.per_cpu_size(len(Counter) * WORD))

    def verdicts(self, number: int, addresses: Sequence[int]) -> list[Verdict]:
        """What program `number` counts for each sk_buff. bcc's exception if the kernel refuses it."""
        program = self._module.load_func(self._functions[number], self._kind).fd
        address = ctypes.c_uint64()
        context = ctypes.cast(ctypes.byref(address), ctypes.c_char_p)
        options = RunOptions(sz=ctypes.sizeof(RunOptions), ctx_in=context, ctx_size_in=WORD)
        key, values, size = struct.pack("=I", number), memoryview(self._values), len(Counter) * WORD
        part = values[self._first : self._first + size]
        # nothing but these two calls in a loop of millions
        library, counts, reference = _fast_library(), self._counts, ctypes.byref(options)
        run, look_up = library.bpf_prog_test_run_opts, library.bpf_map_lookup_elem
        found = []
        look_up(counts, key, self._values)
        before = int.from_bytes(part, "little")
        for address.value in addresses:
            failed = run(program, reference) or look_up(counts, key, self._values)
            now = int.from_bytes(part, "little")
            found.append(Verdict.NONE_OF_THESE if failed else _ONE_HIT.get(now - before, Verdict.NONE_OF_THESE))
            before = now
        return found

    def close(self) -> None:
        """Give all back to the kernel."""
        self._control.close()
        self._module.cleanup()


def _increment(counter: Counter) -> int:
    return 1 << 8 * WORD * counter


_ONE_HIT = {
    _increment(Counter.HITS) + _increment(Counter(verdict)): verdict
    for verdict in Verdict
    if verdict is not Verdict.NONE_OF_THESE
}
"""The counters of a program, taken as one number, grow by one of these."""


@cache
def _fast_library() -> ctypes.PyDLL:
    """libbpf without the errno, the checks of types and the locks that cost more than a run."""
    return ctypes.PyDLL(load()._name)
