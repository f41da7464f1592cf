"""Where a static probe's argument is: `-4@%edi`, `8@-16(%rbp)`, `4@(%rax,%rcx,4)`, `-4@$5`.

Source: https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation; System V ABI for x86-64.
"""

from __future__ import annotations

import re

from xcapscript.nodes.hook import Operand

_NUMBER = r"-?(?:0x[0-9a-fA-F]+|[0-9]+)"
_X86 = re.compile(
    rf"(?P<size>-?[1248])@(?:\$(?P<constant>{_NUMBER})|%(?P<register>\w+)|(?P<offset>{_NUMBER})?"
    r"\(%(?P<base>\w+)(?:,%(?P<index>\w+)(?:,(?P<scale>[1248]))?)?\))"
)
_OLD = "abcd"
_REGISTERS = {
    **{f"{prefix}{name}x": (f"{name}x", 0) for prefix in ("r", "e", "") for name in _OLD},
    **{f"{name}l": (f"{name}x", 0) for name in _OLD},
    **{f"{name}h": (f"{name}x", 8) for name in _OLD},
    **{f"{prefix}{name}": (name, 0) for prefix in ("r", "e", "") for name in ("si", "di", "bp", "sp")},
    **{f"{name}l": (name, 0) for name in ("si", "di", "bp", "sp")},
    **{f"r{number}{width}": (f"r{number}", 0) for number in range(8, 16) for width in ("", "d", "w", "b")},
    "rip": ("ip", 0),
}
"""What the assembler calls a register: what struct pt_regs calls it, and how many bits it begins behind that."""


def operand(text: str) -> Operand | None:
    """The place of an argument, as x86-64 has it; None for one that we cannot reach, as a floating-point number."""
    found = _X86.fullmatch(text)
    if found is None:
        return None
    size = int(found["size"])
    bits, signed = abs(size) * 8, size < 0
    if found["constant"]:
        return Operand(bits, signed, constant=int(found["constant"], 0))
    if found["register"]:
        register = _REGISTERS.get(found["register"])
        return Operand(bits, signed, register=register[0], shift=register[1]) if register else None
    base, index = _REGISTERS.get(found["base"]), _REGISTERS.get(found["index"] or "")
    if base is None or (found["index"] and index is None):
        return None
    return Operand(
        bits,
        signed,
        register=base[0],
        index=index[0] if index else "",
        scale=int(found["scale"] or 1),
        offset=int(found["offset"] or "0", 0),
        in_memory=True,
    )
