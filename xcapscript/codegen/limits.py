"""What a kernel program can have at most, told before it is compiled."""

from __future__ import annotations

from xcapscript.codegen.scratch import scratch_size
from xcapscript.codegen.stmt import Context
from xcapscript.diagnostics import Code, Diagnostic, ScriptError
from xcapscript.ir import Probe
from xcapscript.nodes.expressions import HasKey, MapValue
from xcapscript.nodes.statements import DeleteKey, SetKey, Update
from xcapscript.nodes.walk import walk

LARGEST_SCRATCH = 32768
"""PCPU_MIN_UNIT_SIZE: what the kernel gives of memory per CPU in one piece."""

MOST_MAPS = 59
"""MAX_USED_MAPS is 64, and five are our own."""


def check_limits(probe: Probe, context: Context) -> None:
    """ScriptError for a clause that no kernel would load."""
    size = scratch_size(probe, context)
    if size > LARGEST_SCRATCH:
        message = f"this clause needs {size} bytes of the kernel's memory, and has {LARGEST_SCRATCH}"
        hint = "split it into several clauses, keep less of each packet (option snaplen), or fewer frames of stacks"
        raise ScriptError([Diagnostic(Code.UNSUPPORTED, message, probe.span, (hint,))])
    nodes = walk((*probe.conditions, *probe.body))
    maps = {node.map for node in nodes if isinstance(node, Update | SetKey | DeleteKey | MapValue | HasKey)}
    if len(maps) > MOST_MAPS:
        message = f"this clause uses {len(maps)} maps, and one program of the kernel can have {MOST_MAPS}"
        raise ScriptError([Diagnostic(Code.UNSUPPORTED, message, probe.span, ("split it into several clauses",))])
