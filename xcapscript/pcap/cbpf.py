"""Classic BPF: instructions decoded and shown as `tcpdump -d` shows them, and what can be known of a filter
without running it. Names are those of <linux/bpf_common.h> and <linux/filter.h>.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

BPF_X = 0x08
"""Source operand of ALU and JMP: register X; without it the constant k."""

BPF_A = 0x10
"""Value of RET: register A; without it the constant k."""

BPF_MEMWORDS = 16
"""Scratch words M[0] to M[15]."""

SKF_AD_OFF = 0xFFFFF000
"""Absolute loads from here on are no loads of the packet: they ask the kernel about the sk_buff."""


class Class(IntEnum):
    """BPF_CLASS(code)."""

    BPF_LD = 0x00
    BPF_LDX = 0x01
    BPF_ST = 0x02
    BPF_STX = 0x03
    BPF_ALU = 0x04
    BPF_JMP = 0x05
    BPF_RET = 0x06
    BPF_MISC = 0x07


class Size(IntEnum):
    """BPF_SIZE(code) of a load."""

    BPF_W = 0x00
    BPF_H = 0x08
    BPF_B = 0x10

    @property
    def octets(self) -> int:
        """How many bytes are loaded."""
        return 4 >> (self >> 3)


class Mode(IntEnum):
    """BPF_MODE(code) of a load."""

    BPF_IMM = 0x00
    BPF_ABS = 0x20
    BPF_IND = 0x40
    BPF_MEM = 0x60
    BPF_LEN = 0x80
    BPF_MSH = 0xA0


class Alu(IntEnum):
    """BPF_OP(code) of arithmetic."""

    BPF_ADD = 0x00
    BPF_SUB = 0x10
    BPF_MUL = 0x20
    BPF_DIV = 0x30
    BPF_OR = 0x40
    BPF_AND = 0x50
    BPF_LSH = 0x60
    BPF_RSH = 0x70
    BPF_NEG = 0x80
    BPF_MOD = 0x90
    BPF_XOR = 0xA0


class Jump(IntEnum):
    """BPF_OP(code) of a jump."""

    BPF_JA = 0x00
    BPF_JEQ = 0x10
    BPF_JGT = 0x20
    BPF_JGE = 0x30
    BPF_JSET = 0x40


class Misc(IntEnum):
    """BPF_MISCOP(code)."""

    BPF_TAX = 0x00
    BPF_TXA = 0x80


class Ancillary(IntEnum):
    """SKF_AD_*: what an absolute load at SKF_AD_OFF + value asks for; libpcap makes the first two and the VLAN ones."""

    PKTTYPE = 4
    IFINDEX = 8
    PROTOCOL = 0
    NLATTR = 12
    NLATTR_NEST = 16
    MARK = 20
    QUEUE = 24
    HATYPE = 28
    RXHASH = 32
    CPU = 36
    ALU_XOR_X = 40
    VLAN_TAG = 44
    VLAN_TAG_PRESENT = 48
    PAY_OFFSET = 52
    RANDOM = 56
    VLAN_TPID = 60


class Instruction(NamedTuple):
    """One `struct sock_filter`; jt and jf count from the next instruction."""

    code: int
    jt: int
    jf: int
    k: int

    @property
    def cls(self) -> Class:
        """BPF_CLASS."""
        return Class(self.code & 0x07)

    @property
    def size(self) -> Size:
        """BPF_SIZE of a load; ValueError if the code has none."""
        return Size(self.code & 0x18)

    @property
    def mode(self) -> Mode:
        """BPF_MODE of a load; ValueError if the code has none."""
        return Mode(self.code & 0xE0)

    @property
    def uses_x(self) -> bool:
        """Whether the second operand of arithmetic or of a comparison is X."""
        return bool(self.code & BPF_X)

    @property
    def ancillary(self) -> Ancillary | None:
        """What is asked for instead of packet bytes, as the kernel decides it."""
        if self.cls is not Class.BPF_LD or self.mode is not Mode.BPF_ABS or self.k < SKF_AD_OFF:
            return None
        return Ancillary(self.k - SKF_AD_OFF) if self.k - SKF_AD_OFF in set(Ancillary) else None


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions [start, end) that run one after another; `successors` are the starts of what may run next."""

    start: int
    end: int
    successors: tuple[int, ...]


def successors(instructions: Sequence[Instruction], at: int) -> tuple[int, ...]:
    """Where control may go from instruction `at`: (jt, jf) for a condition, nothing for a return."""
    insn = instructions[at]
    match insn.cls:
        case Class.BPF_RET:
            return ()
        case Class.BPF_JMP if insn.code & 0xF0 == Jump.BPF_JA:
            # libpcap's bpf_filter() takes the offset as signed: that is how `protochain` loops.
            return (at + 1 + (insn.k - (1 << 32) if insn.k >> 31 else insn.k),)
        case Class.BPF_JMP:
            return (at + 1 + insn.jt, at + 1 + insn.jf)
        case _:
            return (at + 1,)


def blocks(instructions: Sequence[Instruction]) -> tuple[Block, ...]:
    """The reachable basic blocks, by address; ValueError when a path leaves the program."""
    leaders, pending = {0}, [0]
    while pending:
        at = pending.pop()
        while True:
            if not 0 <= at < len(instructions):
                raise ValueError(f"control leaves the program at instruction {at}")
            targets = successors(instructions, at)
            if instructions[at].cls in (Class.BPF_RET, Class.BPF_JMP):
                break
            at += 1
        pending += set(targets) - leaders
        leaders.update(targets)
    return tuple(_block(instructions, leaders, start) for start in sorted(leaders))


def _block(instructions: Sequence[Instruction], leaders: set[int], start: int) -> Block:
    at = start
    while instructions[at].cls not in (Class.BPF_RET, Class.BPF_JMP) and at + 1 not in leaders:
        at += 1
    return Block(start, at + 1, successors(instructions, at))


def check(instructions: Sequence[Instruction]) -> None:
    """ValueError when what can be reached is no program: an unknown code, no M[k], or a path without a return."""
    for at in reachable(instructions):
        insn = instructions[at]
        if insn.code not in _CODES or (insn.code in _MEMORY and insn.k >= BPF_MEMWORDS):
            raise ValueError(f"instruction {at} is unknown: code 0x{insn.code:x}, k 0x{insn.k:x}")


@dataclass(frozen=True, slots=True)
class Loop:
    """Instructions [start, end) that can run again."""

    start: int
    end: int


def loops(instructions: Sequence[Instruction]) -> tuple[Loop, ...]:
    """What backward jumps repeat, as those of `protochain` do: loops that share instructions count as one."""
    found: list[Loop] = []
    back = ((target, block.end) for block in blocks(instructions) for target in block.successors if target < block.end)
    for start, end in sorted(back):
        if found and start < found[-1].end:
            found[-1] = Loop(found[-1].start, max(end, found[-1].end))
        else:
            found.append(Loop(start, end))
    return tuple(found)


def reachable(instructions: Sequence[Instruction]) -> Iterator[int]:
    """The addresses of the instructions that can run, in order."""
    for block in blocks(instructions):
        yield from range(block.start, block.end)


def ancillary_loads(instructions: Sequence[Instruction]) -> tuple[Ancillary, ...]:
    """What the reachable instructions ask the kernel about the sk_buff, each once, in order."""
    asked = (instructions[at].ancillary for at in reachable(instructions))
    return tuple(dict.fromkeys(area for area in asked if area is not None))


def refusal(instructions: Sequence[Instruction]) -> str | None:
    """Why a filter cannot be judged from a packet and what is KNOWN_STATE, in one sentence; None if it can."""
    asked = [area for area in ancillary_loads(instructions) if area not in KNOWN_STATE]
    if not asked:
        return None
    offset = f"0x{SKF_AD_OFF + asked[0]:x}"
    return f"an offset of {offset} asks for the kernel's own state, which is not in the packet"


def disassemble(instructions: Sequence[Instruction]) -> str:
    """The instructions as `tcpdump -d` prints them, a line each, without a newline at the end."""
    return "\n".join(disassemble_one(instructions, at) for at in range(len(instructions)))


def disassemble_one(instructions: Sequence[Instruction], at: int) -> str:
    """One line of `tcpdump -d`, as libpcap's bpf_image() writes it."""
    insn = instructions[at]
    op, operand = _operation(insn, at)
    line = f"({at:03d}) {op:<8} "
    if insn.cls is Class.BPF_JMP and insn.code & 0xF0 != Jump.BPF_JA:
        return f"{line}{operand:<16} jt {at + 1 + insn.jt}\tjf {at + 1 + insn.jf}"
    return line + operand


def _operation(insn: Instruction, at: int) -> tuple[str, str]:
    code, k = insn.code, insn.k
    signed = k - (1 << 32) if k >> 31 else k
    if code in _LOADS:
        op, form = _LOADS[code]
        area = insn.ancillary if insn.mode is Mode.BPF_ABS else None
        return op, f"[{_ANCILLARY_NAMES[area]}]" if area is not None else form.format(k=k, d=signed)
    match insn.cls:
        case Class.BPF_ALU if code & ~(0xF0 | BPF_X) == Class.BPF_ALU and code & 0xF0 in set(Alu):
            return _arithmetic(insn, signed)
        case Class.BPF_JMP if code == Class.BPF_JMP | Jump.BPF_JA:
            return "ja", str(at + 1 + signed)
        case Class.BPF_JMP if code & ~(0xF0 | BPF_X) == Class.BPF_JMP and Jump.BPF_JEQ <= code & 0xF0 <= Jump.BPF_JSET:
            return Jump(code & 0xF0).name[4:].lower(), "x" if insn.uses_x else f"#0x{k:x}"
        case _:
            op, form = _OTHERS.get(code, ("unimp", f"0x{code:x}"))
            return op, form.format(d=signed)


def _arithmetic(insn: Instruction, signed: int) -> tuple[str, str]:
    alu = Alu(insn.code & 0xF0)
    op = alu.name[4:].lower()
    if alu is Alu.BPF_NEG:
        return ("unimp", f"0x{insn.code:x}") if insn.uses_x else (op, "")
    if insn.uses_x:
        return op, "x"
    return op, f"#0x{insn.k:x}" if alu in (Alu.BPF_AND, Alu.BPF_OR, Alu.BPF_XOR) else f"#{signed}"


_LOADS = {
    **{
        Class.BPF_LD | size | mode: (op, form)
        for size, op in ((Size.BPF_W, "ld"), (Size.BPF_H, "ldh"), (Size.BPF_B, "ldb"))
        for mode, form in ((Mode.BPF_ABS, "[{d}]"), (Mode.BPF_IND, "[x + {d}]"))
    },
    **{
        cls | mode: (op, form)
        for cls, op in ((Class.BPF_LD, "ld"), (Class.BPF_LDX, "ldx"))
        for mode, form in ((Mode.BPF_IMM, "#0x{k:x}"), (Mode.BPF_MEM, "M[{d}]"))
    },
    Class.BPF_LD | Mode.BPF_LEN: ("ld", "#pktlen"),
    Class.BPF_LDX | Size.BPF_B | Mode.BPF_MSH: ("ldxb", "4*([{d}]&0xf)"),
}

_OTHERS = {
    Class.BPF_ST: ("st", "M[{d}]"),
    Class.BPF_STX: ("stx", "M[{d}]"),
    Class.BPF_RET: ("ret", "#{d}"),
    Class.BPF_RET | BPF_A: ("ret", ""),
    Class.BPF_MISC | Misc.BPF_TAX: ("tax", ""),
    Class.BPF_MISC | Misc.BPF_TXA: ("txa", ""),
}

_MEMORY = {Class.BPF_ST, Class.BPF_STX, Class.BPF_LD | Mode.BPF_MEM, Class.BPF_LDX | Mode.BPF_MEM}

_CODES = {
    *_LOADS,
    *_OTHERS,
    Class.BPF_LDX | Mode.BPF_LEN,  # bpf_filter() knows it, bpf_image() does not
    *(Class.BPF_ALU | op | source for op in Alu for source in (0, BPF_X) if (op, source) != (Alu.BPF_NEG, BPF_X)),
    *(Class.BPF_JMP | op | source for op in Jump for source in (0, BPF_X) if (op, source) != (Jump.BPF_JA, BPF_X)),
}

_ANCILLARY_NAMES = {area: area.name.lower() for area in Ancillary} | {
    Ancillary.PROTOCOL: "proto",
    Ancillary.PKTTYPE: "type",
    Ancillary.IFINDEX: "ifidx",
    Ancillary.NLATTR: "nla",
    Ancillary.NLATTR_NEST: "nlan",
    Ancillary.ALU_XOR_X: "xor_x",
    Ancillary.VLAN_TAG: "vlan_tci",
    Ancillary.VLAN_TAG_PRESENT: "vlanp",
    Ancillary.PAY_OFFSET: "poff",
}

KNOWN_STATE = frozenset({Ancillary.PKTTYPE, Ancillary.IFINDEX})
"""What `inbound`, `outbound` and `ifindex` ask for: a packet has it wherever it is seen."""
