"""A program's own memory: what does not fit on BPF's stack."""

from __future__ import annotations

from xcapscript.codegen.entry import SLACK, keeps_entry, saved_size, saved_text
from xcapscript.codegen.stmt import LINE_BYTES, Context, bytes_kept
from xcapscript.codegen.user import is_burst, is_user, keeps_arguments, turns_name
from xcapscript.codegen.user import saved_text as arguments_text
from xcapscript.ir import Probe

HIT_AND_SKB = 704
"""Bytes: no fewer than those of struct xcap_hit and of the kernel's struct sk_buff, which differs."""


def scratch_size(probe: Probe, context: Context) -> int:
    """How large the struct of scratch_text() is, or a little more than that."""
    rooms = sum(layout.size + LINE_BYTES * _has_line(name) for name, layout in context.values.scratch.items())
    saved = saved_size(context) if keeps_entry(probe) else 0
    return HIT_AND_SKB + bytes_kept(context) + SLACK + rooms + saved


def _has_line(name: str) -> bool:
    return name.startswith("stack_")


def scratch_text(probe: Probe, context: Context) -> str:
    """The struct of a program's own per-CPU memory, and its map."""
    number = context.program
    saved, saved_map = saved_text(context) if keeps_entry(probe) else ("", "")
    if keeps_arguments(probe):
        saved_map = arguments_text(number)
    lines = [
        f"{saved}struct xcap_scratch_{number} {{",
        "\tstruct xcap_hit hit;",
        f"\tu8 bytes[{bytes_kept(context) + SLACK:d}];",
    ]
    for name, layout in context.values.scratch.items():
        lines.append(f"\tstruct {layout.name} {name};")
        if _has_line(name):
            lines.append(f"\tu8 {name}_bytes[{LINE_BYTES}];")
    if context.dumps:
        lines.append(f"\tu32 dropped[{len(context.dumps)}]; /* packets, since the last that was sent */")
    lines.append("\tstruct sk_buff skb; /* where it must be copied */")
    if saved:
        lines.append(f"\tstruct xcap_saved_{number} saved;")
    if is_user(probe):
        lines += ["\tstruct xcap_arguments arguments; /* that the function was entered with */", "\tu64 busy;"]
    if is_burst(probe):
        lines.append("\tstruct xcap_burst burst;")
        saved_map += f"\nBPF_PROG_ARRAY({turns_name(number)}, 1);"
    return "\n".join(
        [*lines, "};", f"BPF_PERCPU_ARRAY(xcap_scratch_{number}_map, struct xcap_scratch_{number}, 1);{saved_map}"]
    )
