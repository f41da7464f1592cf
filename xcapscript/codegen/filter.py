"""Classic BPF to a C function over the packet's bytes, with the semantics of libpcap's bpf_filter()."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import assert_never

from xcapscript.codegen.emitter import Emitter
from xcapscript.errors import CompilerBug
from xcapscript.pcap.cbpf import (
    BPF_A,
    Alu,
    Ancillary,
    Block,
    Class,
    Instruction,
    Jump,
    Loop,
    Misc,
    Mode,
    blocks,
    check,
    disassemble_one,
    loops,
    reachable,
    refusal,
)
from xcapscript.pcap.window import header_window, reach

MIN_WINDOW, MAX_WINDOW = 64, 256
"""Bytes of a packet that are read at once. More than 256 are copied slower than a far load or two take."""

_STATE: Mapping[Ancillary | None, str] = {Ancillary.PKTTYPE: "pkt_type", Ancillary.IFINDEX: "ifindex"}
"""Members of struct xcap_view; see pcap.cbpf.KNOWN_STATE."""

LONGEST_JUMP = 0x7FFF
"""A BPF jump counts instructions in 16 bits, and LLVM 14 cuts off what does not fit, without a word."""

TURNS = 17
"""How often a loop is written: `protochain` follows 16 extension headers, and behind more it finds nothing."""

LONGEST_ASKED_AGAIN = 500
"""Instructions of classic BPF: the verifier follows a filter that may run twice many times as long, and gives up."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_FORM = "static inline __attribute__((always_inline)) u64 {}(const struct xcap_view *v)"

_COMPARISONS = {Jump.BPF_JEQ: "==", Jump.BPF_JGT: ">", Jump.BPF_JGE: ">=", Jump.BPF_JSET: "&"}
_OPERATORS = {
    Alu.BPF_ADD: "+",
    Alu.BPF_SUB: "-",
    Alu.BPF_MUL: "*",
    Alu.BPF_DIV: "/",
    Alu.BPF_MOD: "%",
    Alu.BPF_OR: "|",
    Alu.BPF_AND: "&",
    Alu.BPF_XOR: "^",
    Alu.BPF_LSH: "<<",
    Alu.BPF_RSH: ">>",
}


class UnsupportedFilter(Exception):
    """libpcap compiles the expression, and we cannot translate it; the message says why."""


def filter_function(name: str, instructions: Iterable[tuple[int, int, int, int]]) -> str:
    """The C function `u64 name(const struct xcap_view *v)`, which returns XCAP_MATCH, 0 for no match, or where bytes
    end that it asked for and that cannot be read.

    It needs <xcap/filter.h>. UnsupportedFilter: it asks for what is not in a packet, or is too long to be loaded.
    """
    if not _NAME.fullmatch(name):
        raise CompilerBug(f"'{name}' is no name for a filter function")
    program = tuple(map(Instruction._make, instructions))
    try:
        check(program)
    except ValueError as error:
        raise CompilerBug(f"libpcap made a program that cannot be understood: {error}") from error
    if reason := refusal(program) or _too_long(program):
        raise UnsupportedFilter(reason)
    return _Function(program).text(name)


def window_size(filters: Iterable[Iterable[tuple[int, int, int, int]]]) -> int:
    """XCAP_WINDOW for programs that run these filters: a power of two that holds the headers they read."""
    programs = [tuple(map(Instruction._make, instructions)) for instructions in filters]
    needed = max((header_window(program, MAX_WINDOW) for program in programs), default=0)
    return max(MIN_WINDOW, 1 << (needed - 1).bit_length() if needed else 0)


def filter_reach(filters: Iterable[Iterable[tuple[int, int, int, int]]], limit: int) -> int:
    """How many bytes from a packet's start these filters may ask for; `limit` if more, or if nobody knows."""
    return max((reach(tuple(map(Instruction._make, one)), limit) for one in filters), default=0)


def may_be_asked_again(filters: Iterable[Iterable[tuple[int, int, int, int]]]) -> bool:
    """Whether these filters may run a second time, when bytes are there that they did not find the first time."""
    return sum(len(tuple(one)) for one in filters) <= LONGEST_ASKED_AGAIN


def _too_long(program: Sequence[Instruction]) -> str | None:
    again = {at for loop in loops(program) for at in range(loop.start, loop.end)}
    size = sum(_largest_size(program[at]) * (TURNS if at in again else 1) for at in reachable(program))
    if size <= LONGEST_JUMP:
        return None
    return (
        f"the expression is too long: it may need {size} BPF instructions, and a jump can cross {LONGEST_JUMP}; "
        "networks and portranges are shorter than lists"
    )


def _largest_size(insn: Instruction) -> int:
    """How many BPF instructions one of classic BPF becomes at most, as LLVM 14 was seen to do; half is usual."""
    if insn.cls not in (Class.BPF_LD, Class.BPF_LDX):
        return 3
    match insn.mode:
        case Mode.BPF_ABS:
            return 10 if insn.k + insn.size.octets <= MAX_WINDOW else 24
        case Mode.BPF_IND:
            return 30
        case Mode.BPF_MSH:
            return 12
        case _:
            return 2


class _Function:
    """One function in the making: a label for each basic block that is jumped to, a statement for each instruction.

    The blocks of a loop are written TURNS times, one turn behind the other: before kernel 5.3 the verifier takes no
    loop, and up to 6.1 none that clang turns so that its last instruction runs into its first.
    """

    def __init__(self, program: Sequence[Instruction]) -> None:
        self._program = program
        self._loops = loops(program)
        self._emitter = Emitter()
        self._next = ""

    def text(self, name: str) -> str:
        places = list(self._places())
        following = [_label(block.start, turn) for block, turn in places[1:]] + [""]
        targets = (
            {self._target(target, block, turn) for target in block.successors} - {behind}
            for (block, turn), behind in zip(places, following, strict=True)
        )
        jumped_to = set().union(*targets)
        with self._emitter.function(_FORM.format(name)):
            self._declare()
            for (block, turn), self._next in zip(places, following, strict=True):
                if _label(block.start, turn) in jumped_to:
                    self._emitter.label(_label(block.start, turn))
                for at in range(block.start, block.end):
                    self._emitter.comment(disassemble_one(self._program, at).rstrip())
                    self._instruction(self._program[at], block, turn)
                if self._program[block.end - 1].cls not in (Class.BPF_JMP, Class.BPF_RET):
                    self._goto(self._target(block.end, block, turn))
        return self._emitter.text()

    def _places(self) -> Iterator[tuple[Block, int]]:
        """The blocks in the order in which they are written, each with its turn."""
        for loop, inside in groupby(blocks(self._program), lambda block: self._loop(block.start)):
            found = tuple(inside)
            for turn in range(TURNS if loop else 1):
                yield from ((block, turn) for block in found)

    def _loop(self, at: int) -> Loop | None:
        return next((loop for loop in self._loops if loop.start <= at < loop.end), None)

    def _target(self, target: int, block: Block, turn: int) -> str | None:
        """The label of a successor; None behind the last turn."""
        loop = self._loop(target)
        if loop is None or loop is not self._loop(block.start):
            return _label(target, 0)
        if target >= block.end:
            return _label(target, turn)
        return _label(target, turn + 1) if turn + 1 < TURNS else None

    def _declare(self) -> None:
        slots = sorted(
            {
                insn.k
                for insn in (self._program[at] for at in reachable(self._program))
                if insn.cls in (Class.BPF_ST, Class.BPF_STX)
                or (insn.cls in (Class.BPF_LD, Class.BPF_LDX) and insn.mode is Mode.BPF_MEM)
            }
        )
        registers = ", ".join(f"{register} = 0" for register in ("a", "x", *(f"m{slot}" for slot in slots)))
        self._emitter.line(f"u32 {registers}, far;")
        self._emitter.line()

    def _instruction(self, insn: Instruction, block: Block, turn: int) -> None:
        match insn.cls:
            case Class.BPF_LD:
                self._load("a", insn)
            case Class.BPF_LDX:
                self._load("x", insn)
            case Class.BPF_ST:
                self._copy(f"m{insn.k}", "a")
            case Class.BPF_STX:
                self._copy(f"m{insn.k}", "x")
            case Class.BPF_ALU:
                self._arithmetic(Alu(insn.code & 0xF0), insn)
            case Class.BPF_JMP:
                self._jump(insn, block, turn)
            case Class.BPF_RET:
                value = "a ? XCAP_MATCH : 0" if insn.code & 0x18 == BPF_A else "XCAP_MATCH" if insn.k else "0"
                self._emitter.line(f"return {value};")
            case Class.BPF_MISC:
                self._copy(*("xa" if Misc(insn.code & 0xF8) is Misc.BPF_TAX else "ax"))
            case _:
                assert_never(insn.cls)

    def _load(self, register: str, insn: Instruction) -> None:
        match insn.mode:
            case Mode.BPF_IMM:
                self._emitter.line(f"{register} = {_number(insn.k)};")
            case Mode.BPF_MEM:
                self._emitter.line(f"{register} = m{insn.k};")
            case Mode.BPF_LEN:
                self._emitter.line(f"{register} = v->wire_len;")
            case Mode.BPF_ABS if insn.ancillary in _STATE:
                self._emitter.line(f"{register} = v->{_STATE[insn.ancillary]};")
            case Mode.BPF_ABS:
                end = f"{insn.k + insn.size.octets}ULL"
                self._guard(f"!xcap_load(v, {insn.k}, {insn.size.octets}, &{register}, &far)", end)
            case Mode.BPF_IND:
                end = f"(u64)x + {insn.k + insn.size.octets}ULL"
                self._guard(f"!xcap_load_x(v, x, {insn.k}, {insn.size.octets}, &{register}, &far)", end)
            case Mode.BPF_MSH:
                self._guard(f"!xcap_load(v, {insn.k}, 1, &{register}, &far)", f"{insn.k + 1}ULL")
                self._emitter.line(f"{register} = ({register} & 0xf) << 2;")
            case _:
                assert_never(insn.mode)

    def _arithmetic(self, op: Alu, insn: Instruction) -> None:
        if op is Alu.BPF_NEG:
            self._emitter.line("a = -a;")
            return
        operand = "x" if insn.uses_x else _number(insn.k)
        if op in (Alu.BPF_DIV, Alu.BPF_MOD) and insn.uses_x:
            self._guard("x == 0")
        statement = f"a {_OPERATORS[op]}= {operand};"
        if op in (Alu.BPF_LSH, Alu.BPF_RSH):
            # In C such a shift is undefined, and clang folds what hangs on it.
            if insn.uses_x:
                statement = f"a = x < 32 ? a {_OPERATORS[op]} x : 0;"
            elif insn.k >= 32:
                statement = "a = 0;"
        elif op in (Alu.BPF_DIV, Alu.BPF_MOD) and not insn.uses_x and insn.k == 0:
            statement = "return 0;"
        self._emitter.line(statement)

    def _jump(self, insn: Instruction, block: Block, turn: int) -> None:
        targets = [self._target(target, block, turn) for target in block.successors]
        if block.successors[0] < block.end:
            self._emitter.line("a ^= xcap_unknown_zero(v);")
            self._emitter.line("x ^= xcap_unknown_zero(v);")
        if len(set(targets)) == 1:
            self._goto(targets[0])
            return
        where_true, where_false = targets
        operand = "x" if insn.uses_x else _number(insn.k)
        condition = f"a {_COMPARISONS[Jump(insn.code & 0xF0)]} {operand}"
        if where_true == self._next:
            self._emitter.line(f"if (!({condition}))")
            self._emitter.line(f"\tgoto {where_false};")
            return
        self._emitter.line(f"if ({condition})")
        self._emitter.line(f"\tgoto {where_true};")
        self._goto(where_false)

    def _goto(self, target: str | None) -> None:
        if target is None:
            self._emitter.line("return 0;")
        elif target != self._next:
            self._emitter.line(f"goto {target};")

    def _copy(self, target: str, source: str) -> None:
        self._emitter.line(f"{target} = {source};")
        self._emitter.line(f"XCAP_PIN({target});")

    def _guard(self, failure: str, answer: str = "0") -> None:
        self._emitter.line(f"if ({failure})")
        self._emitter.line(f"\treturn {answer};")


def _label(at: int, turn: int) -> str:
    return f"L{at}_{turn}" if turn else f"L{at}"


def _number(value: int) -> str:
    return f"{value}u" if value < 10 else f"0x{value:x}u"
