"""Decoding and analysis of classic BPF, against tcpdump and libpcap themselves."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from xcapscript.pcap import libpcap
from xcapscript.pcap.cbpf import (
    Ancillary,
    Block,
    Class,
    Instruction,
    Jump,
    Loop,
    ancillary_loads,
    blocks,
    disassemble,
    disassemble_one,
    loops,
    refusal,
)
from xcapscript.pcap.libpcap import compile_expression
from xcapscript.pcap.window import header_window
from xcapscript.unit import LinkType

EXPRESSIONS = [
    line
    for line in (Path(__file__).parents[2] / "data" / "expressions.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
RETURN = Instruction(Class.BPF_RET, 0, 0, 1)


def ethernet(text: str) -> tuple[Instruction, ...]:
    return compile_expression(text, LinkType.EN10MB)


# ---- disassembly


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")
@pytest.mark.parametrize("text", [*EXPRESSIONS[::5], "inbound", "outbound and ifindex 3"])
def test_a_listing_is_that_of_tcpdump(text: str) -> None:
    command = ["tcpdump", "-y", "EN10MB", "-d", text]
    expected = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert disassemble(ethernet(text)) + "\n" == expected


@pytest.mark.parametrize("k", [0, 5, 0x7FFFFFF0, 0x80000000, 0xFFFFEFFF, *range(0xFFFFF000, 0xFFFFF044), 0xFFFFFFFF])
def test_every_code_is_shown_as_libpcap_shows_it(k: int) -> None:
    library = ctypes.CDLL(libpcap._SONAME)
    library.bpf_image.restype = ctypes.c_char_p
    for code in range(0x120):
        insn = Instruction(code, 1, 200, k)
        shown = library.bpf_image(ctypes.byref(libpcap._Instruction(*insn)), 7)
        assert disassemble_one((insn,) * 8, 7) == shown.decode()


# ---- control flow


def test_blocks_end_at_jumps_and_begin_at_their_targets() -> None:
    program = ethernet("ip or arp")
    assert blocks(program) == (Block(0, 2, (3, 2)), Block(2, 3, (3, 4)), Block(3, 4, ()), Block(4, 5, ()))


def test_what_cannot_be_reached_is_in_no_block() -> None:
    program = (Instruction(Class.BPF_JMP | Jump.BPF_JA, 0, 0, 1), RETURN, RETURN)
    assert blocks(program) == (Block(0, 1, (2,)), Block(2, 3, ()))


@pytest.mark.parametrize("program", [(), (Instruction(0, 0, 0, 1),), (Instruction(0x15, 0, 9, 1), RETURN)])
def test_a_program_that_does_not_return_is_refused(program: tuple[Instruction, ...]) -> None:
    with pytest.raises(ValueError, match="leaves"):
        blocks(program)


def test_protochain_alone_makes_loops() -> None:
    assert [text for text in EXPRESSIONS if loops(ethernet(text))] == [
        text for text in EXPRESSIONS if "protochain" in text
    ]


def test_a_loop_is_what_a_backward_jump_repeats() -> None:
    # both ways back, those of extension headers and of AH, lead to (004)
    assert loops(ethernet("ip6 protochain 17")) == (Loop(4, 32),)
    assert len(loops(ethernet("ip6 protochain 17 or ip protochain 6"))) == 2


# ---- what is not in the packet


def test_questions_to_the_kernel_are_found() -> None:
    assert ancillary_loads(ethernet("ifindex 3 and inbound")) == (Ancillary.IFINDEX, Ancillary.PKTTYPE)
    assert ancillary_loads(ethernet("tcp port 80")) == ()


@pytest.mark.parametrize("text", ["inbound", "outbound", "tcp and ifindex 3"])
def test_a_packets_direction_and_interface_are_known(text: str) -> None:
    assert refusal(ethernet(text)) is None


def test_an_offset_that_asks_the_kernel_nothing_is_no_question() -> None:
    """bpf_filter() finds no byte there, and the kernel refuses the filter, so that tcpdump runs it itself."""
    assert refusal(ethernet("ether[0xfffffffe] = 1")) is None
    assert refusal(ethernet("ether[0xfffff014:4] = 1")) is not None


# ---- the window


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("greater 100", 0),
        ("arp", 14),
        ("ip", 14),
        ("ip host 10.0.0.1", 34),
        ("ether[99:4] = 0", 103),
        # 14 + up to 60 bytes of IP header + the ports
        ("tcp port 80", 14 + 60 + 4),
        # ... + up to 60 bytes of TCP header + 4 bytes of payload
        ("tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420", 14 + 60 + 60 + 4),
        # a length in the packet may be anything: only what is read before counts
        ("ip[ip[2:2]] = 0", 18),
        ("ip[ip[8] / 16 + 3] = 0", 14 + 15 + 3 + 1),
        ("ip[ip[8] % 10] = 0", 14 + 9 + 1),
        ("ip[(ip[8] & 7) * 4] = 0", 14 + 28 + 1),
        ("ip[(ip[8] & 3) | 4] = 0", 23),
        ("ether[300] = 0", 0),
        ("ip[ip[8] - 5] = 0", 23),
        ("ip[1 << ip[8]] = 0", 23),
        ("ip6 protochain 6", 21),
        ("vlan and tcp port 80", 18 + 60 + 4),
    ],
)
def test_the_window_holds_the_headers_that_are_read(text: str, window: int) -> None:
    assert header_window(ethernet(text), 256) == window


def test_the_window_is_never_larger_than_its_limit() -> None:
    assert all(header_window(ethernet(text), 64) <= 64 for text in EXPRESSIONS)
