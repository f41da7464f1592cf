"""What a filter must answer, by libpcap: not only whether a packet matches, but also whether it is missing bytes of a
packet that decide. bpf_filter() answers 0 either way; so it is given a program that says which 0 it is.

Before each load stands a question whether the packet is that long at all, before each division one for 0; what ends
there, or says no by itself, answers more than 0. Still 0 are loads of bytes that the packet has, and that are missing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence

from xcapscript.pcap.cbpf import BPF_A, BPF_MEMWORDS, BPF_X, Alu, Class, Instruction, Jump, Misc, Mode
from xcapscript.pcap.libpcap import offline_answers

NO, MATCH, UNREAD = range(3)
"""What became of a packet."""

_LENGTH = Instruction(Class.BPF_LD | Mode.BPF_LEN, 0, 0, 0)
_TO_X, _TO_A = (Instruction(Class.BPF_MISC | move, 0, 0, 0) for move in Misc)
_YES, _SAYS_NO = (Instruction(Class.BPF_RET, 0, 0, value) for value in (1, 2))
_ANSWERS = {0: UNREAD, 1: MATCH, 2: NO}


def answers(program: Sequence[Instruction]) -> Callable[[bytes, int], int]:
    """A function of the captured bytes and the length on the wire."""
    ask = offline_answers(_telling(program))
    return lambda packet, wire_len: _ANSWERS[ask(packet, wire_len)]


def _telling(program: Sequence[Instruction]) -> list[Instruction]:
    """The program that says which 0 it is. A jump over what has grown may be too far for a test: it jumps to a jump."""
    pieces = [list(_piece(insn, _unused(program) if _divides(insn) else 0)) for insn in program]
    starts = [0]
    for piece in pieces:
        starts.append(starts[-1] + len(piece))
    found: list[Instruction] = []
    for number, (insn, piece) in enumerate(zip(program, pieces, strict=True)):
        if insn.cls is not Class.BPF_JMP:
            found += piece
            continue
        to = [number + 1 + _signed(insn.k)] if _is_always(insn) else [number + 1 + insn.jt, number + 1 + insn.jf]
        found += piece[: -len(to)]
        for target in to:
            found.append(Instruction(Class.BPF_JMP | Jump.BPF_JA, 0, 0, starts[target] - len(found) - 1 & 0xFFFFFFFF))
    return found


def _piece(insn: Instruction, slot: int) -> Iterator[Instruction]:
    """What stands in an instruction's place; a jump's targets are still open. M[slot] is for us."""
    keep, kept = Instruction(Class.BPF_ST, 0, 0, slot), Instruction(Class.BPF_LD | Mode.BPF_MEM, 0, 0, slot)
    match insn.cls:
        case Class.BPF_RET if insn.code & 0x18 == BPF_A:
            yield from (_test(Jump.BPF_JEQ, 0, 0, 1), _SAYS_NO, _YES)
        case Class.BPF_RET:
            yield _YES if insn.k else _SAYS_NO
        case Class.BPF_JMP if _is_always(insn):
            yield insn
        case Class.BPF_JMP:
            yield from (insn._replace(jt=0, jf=1), insn, insn)
        case Class.BPF_LD | Class.BPF_LDX if insn.mode in (Mode.BPF_ABS, Mode.BPF_IND, Mode.BPF_MSH):
            yield from _asked(insn)
        case Class.BPF_ALU if _divides(insn) and insn.uses_x:
            yield from (keep, _TO_A, _test(Jump.BPF_JEQ, 0, 0, 1), _SAYS_NO, kept, insn)
        case Class.BPF_ALU if _divides(insn) and not insn.k:
            yield _SAYS_NO
        case _:
            yield insn


def _asked(insn: Instruction) -> Iterator[Instruction]:
    """A load, behind the question whether the packet is as long. Each finds a register that it may spoil."""
    end = insn.k + (1 if insn.mode is Mode.BPF_MSH else insn.size.octets)
    if end > 0xFFFFFFFF:
        yield _SAYS_NO
        return
    if insn.mode is Mode.BPF_MSH:
        yield _TO_X
    yield from (_LENGTH, _test(Jump.BPF_JGE, end, 1, 0), _SAYS_NO)
    if insn.mode is Mode.BPF_IND:
        yield Instruction(Class.BPF_ALU | Alu.BPF_SUB, 0, 0, end)
        yield from (_test(Jump.BPF_JGE | BPF_X, 0, 1, 0), _SAYS_NO)
    if insn.mode is Mode.BPF_MSH:
        yield _TO_A
    yield insn


def _unused(program: Sequence[Instruction]) -> int:
    """A word of M[] that the program leaves alone."""
    used = {insn.k for insn in program if insn.cls in (Class.BPF_ST, Class.BPF_STX)}
    return next(slot for slot in range(BPF_MEMWORDS) if slot not in used)


def _divides(insn: Instruction) -> bool:
    return insn.cls is Class.BPF_ALU and Alu(insn.code & 0xF0) in (Alu.BPF_DIV, Alu.BPF_MOD)


def _test(op: int, k: int, jt: int, jf: int) -> Instruction:
    return Instruction(Class.BPF_JMP | op, jt, jf, k)


def _is_always(insn: Instruction) -> bool:
    return insn.code & 0xF0 == Jump.BPF_JA


def _signed(k: int) -> int:
    return ctypes.c_int32(k).value
