"""How much of a packet's start a filter reads: the largest value of each register, followed through the program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from xcapscript.pcap.cbpf import (
    BPF_MEMWORDS,
    Alu,
    Class,
    Instruction,
    Misc,
    Mode,
    blocks,
    reachable,
    successors,
)


def header_window(instructions: Sequence[Instruction], limit: int) -> int:
    """How many bytes from the packet's start a filter reads at offsets that cannot lie beyond `limit` bytes.

    Counted are loads at constants, and those behind X where X is bounded: by `ldx 4*([k]&0xf)`, or by arithmetic on
    bytes (a TCP header's length). A load whose offset may be anywhere counts for nothing.
    """
    return max((extent for extent in _extents(instructions) if extent <= limit), default=0)


def reach(instructions: Sequence[Instruction], limit: int) -> int:
    """The end of all bytes that a filter may read; `limit` if that is further, or can be anywhere."""
    return max((min(extent, limit) for extent in _extents(instructions)), default=0)


def _extents(instructions: Sequence[Instruction]) -> Iterator[int]:
    """Where the bytes that each instruction reads end, at most."""
    states = {0: _START}
    for block in blocks(instructions):
        # At the head of a loop anything may be in the registers.
        states.update({target: _ANYTHING for target in block.successors if target <= block.start})
    for at in reachable(instructions):
        yield _extent(instructions[at], states[at])
        after = _step(instructions[at], states[at])
        for target in successors(instructions, at):
            states[target] = states[target].join(after) if target in states else after


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The largest value that each register may hold."""

    a: int
    x: int
    mem: tuple[int, ...]

    def join(self, other: _Bounds) -> _Bounds:
        return _Bounds(max(self.a, other.a), max(self.x, other.x), tuple(map(max, self.mem, other.mem)))


_MAX = 0xFFFFFFFF
_START = _Bounds(0, 0, (0,) * BPF_MEMWORDS)
_ANYTHING = _Bounds(_MAX, _MAX, (_MAX,) * BPF_MEMWORDS)


def _extent(insn: Instruction, bounds: _Bounds) -> int:
    """The end of the bytes that a load reads, at most; 0 for what reads no packet."""
    if insn.cls not in (Class.BPF_LD, Class.BPF_LDX):
        return 0
    match insn.mode:
        case Mode.BPF_ABS:
            return insn.k + insn.size.octets
        case Mode.BPF_IND:
            return bounds.x + insn.k + insn.size.octets
        case Mode.BPF_MSH:
            return insn.k + 1
        case _:
            return 0


def _step(insn: Instruction, now: _Bounds) -> _Bounds:
    match insn.cls:
        case Class.BPF_LD:
            return replace(now, a=_loaded(insn, now))
        case Class.BPF_LDX:
            return replace(now, x=_loaded(insn, now))
        case Class.BPF_ST | Class.BPF_STX:
            value = now.a if insn.cls is Class.BPF_ST else now.x
            return replace(now, mem=(*now.mem[: insn.k], value, *now.mem[insn.k + 1 :]))
        case Class.BPF_ALU:
            return replace(now, a=min(_computed(insn, now.a, now.x if insn.uses_x else insn.k), _MAX))
        case Class.BPF_MISC:
            return replace(now, x=now.a) if insn.code & 0xF8 == Misc.BPF_TAX else replace(now, a=now.x)
        case Class.BPF_JMP | Class.BPF_RET:
            return now
        case _:
            assert_never(insn.cls)


def _loaded(insn: Instruction, now: _Bounds) -> int:
    match insn.mode:
        case Mode.BPF_ABS | Mode.BPF_IND:
            return (1 << 8 * insn.size.octets) - 1
        case Mode.BPF_MSH:
            return 4 * 0xF
        case Mode.BPF_IMM:
            return insn.k
        case Mode.BPF_MEM:
            return now.mem[insn.k]
        case Mode.BPF_LEN:
            return _MAX
        case _:
            assert_never(insn.mode)


def _computed(insn: Instruction, a: int, operand: int) -> int:
    constant = not insn.uses_x
    match Alu(insn.code & 0xF0):
        case Alu.BPF_ADD:
            return a + operand
        case Alu.BPF_MUL:
            return a * operand
        case Alu.BPF_DIV:
            return a // operand if constant and operand else a
        case Alu.BPF_MOD:
            return min(a, max(operand - 1, 0))
        case Alu.BPF_AND:
            return min(a, operand)
        case Alu.BPF_OR | Alu.BPF_XOR:
            return (1 << max(a, operand).bit_length()) - 1
        case Alu.BPF_LSH:
            return a << operand if constant and operand < 32 else _MAX
        case Alu.BPF_RSH:
            return a >> operand if constant else a
        case Alu.BPF_SUB | Alu.BPF_NEG:
            return _MAX
        case never:
            assert_never(never)
