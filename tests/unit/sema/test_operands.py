"""Places of static probes' arguments, as assemblers write them."""

from __future__ import annotations

import pytest

from xcapscript.nodes.hook import Operand
from xcapscript.sema.hooks.operands import operand


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("-4@%edi", Operand(32, signed=True, register="di")),
        ("8@%r12", Operand(64, signed=False, register="r12")),
        ("2@%r9w", Operand(16, signed=False, register="r9")),
        ("1@%ah", Operand(8, signed=False, register="ax", shift=8)),
        ("1@%sil", Operand(8, signed=False, register="si")),
        ("-4@$-5", Operand(32, signed=True, constant=-5)),
        ("8@$0x10", Operand(64, signed=False, constant=16)),
        ("8@-16(%rbp)", Operand(64, signed=False, register="bp", offset=-16, in_memory=True)),
        ("4@(%rax)", Operand(32, signed=False, register="ax", in_memory=True)),
        ("-8@8(%rax,%rcx,4)", Operand(64, signed=True, register="ax", index="cx", scale=4, offset=8, in_memory=True)),
        ("8f@%xmm0", None),
        ("8@%xmm0", None),
        ("8@sum(%rip)", None),
        ("3@%eax", None),
        ("", None),
    ],
)
def test_a_place(text: str, place: Operand | None) -> None:
    assert operand(text) == place
