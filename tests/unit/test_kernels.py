"""What the standard library and the examples become on kernels of several ages: the facts in tests/data/kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stdlib import EXAMPLES, ROOT, STDLIB, calls, hooks
from xcapscript.codegen.generate import Options
from xcapscript.compiler import compile_script
from xcapscript.diagnostics import ScriptError
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.sema.analyse import Settings
from xcapscript.source import Source
from xcapscript.unit import Unit

NAMES = ("5.4", "5.15", "6.1", "6.18")
KERNELS = {name: FrozenKernel(ROOT / "tests/data/kernel" / f"linux-{name}.json") for name in NAMES}

TAKEN = {
    "afxdp": (1, 0, 0, 2),
    "arp": (1, 0, 0, 0),
    "bridge": (1, 0, 0, 0),
    "connect": (1, 0, 0, 0),
    "dequeue": (1, 0, 0, 0),
    "drop": (1, 0, 0, 0),
    "icmp": (1, 1, 0, 0),
    "latency": (1, 0, 0, 0),
    "listen": (1, 1, 1, 0),
    "neigh": (1, 0, 0, 0),
    "neigh_create": (1, 0, 0, 0),
    "neigh_timer": (1, 0, 0, 0),
    "netfilter": (1, 0, 0, 2),
    "qdisc": (None, 0, 0, 0),
    "rcvqueue_full": (None, 0, 0, 0),
    "redirect": (None, 0, 0, 0),
    "redirect_error": (None, 0, 0, 0),
    "reset": (1, 0, 0, 0),
    "reset_received": (1, 0, 0, 0),
    "retrans": (1, 0, 0, 0),
    "retrans_synack": (1, 0, 0, 0),
    "rx": (1, 0, 0, 0),
    "state": (1, 0, 0, 0),
    "top": (1, 0, 0, 0),
    "tx": (1, 0, 0, 0),
    "udp": (1, 0, 0, 0),
    "xdp_error": (None, 0, 0, 0),
}
"""Which of the things that a hook may stand for is taken on each kernel; None where there is none of them."""

NO_REASON = "'drop' does not give a drop reason"
REFUSED = {
    ("neigh", "5.4"): "'neigh_timer' has no argument 'neigh'",
    ("qdisc", "5.4"): "this kernel has none of the hooks that 'qdisc' stands for",
    ("qdisc", "5.15"): NO_REASON,
    (
        "udp",
        "5.4",
    ): "this kernel has none of the hooks that 'rcvqueue_full' stands for: rawtracepoint:sock_rcvqueue_full",
    ("xdp_error", "5.4"): "this kernel has none of the hooks that 'xdp_error' stands for: rawtracepoint:xdp_exception",
    ("drops", "5.4"): NO_REASON,
    ("drops", "5.15"): NO_REASON,
    ("iptables", "5.4"): NO_REASON,
    ("iptables", "5.15"): NO_REASON,
    ("resets", "5.4"): "'reset' has no argument 'reason'",
    ("resets", "5.15"): "'reset' has no argument 'reason'",
    ("resets", "6.1"): "'reset' has no argument 'reason'",
    ("udp-overflow", "5.4"): "'udp.dport' belongs to a packet, and 'udp' has none",
}
"""What is told where a library's functions, or an example, ask for what a kernel does not have."""


def compiled(kernel: str, text: str, name: str = "case") -> Unit:
    return compile_script(Source(name, text), default_library({}), KERNELS[kernel], Settings(), Options()).unit


def complaint(kernel: str, text: str, name: str = "case") -> str | None:
    """The first thing that is wrong, if anything is."""
    try:
        compiled(kernel, text, name)
    except ScriptError as error:
        return error.diagnostics[0].message
    return None


def test_every_hook_stands_in_the_table() -> None:
    assert sorted(TAKEN) == sorted(name for path in STDLIB for name in hooks(path))


@pytest.mark.parametrize("kernel", NAMES)
@pytest.mark.parametrize("library", STDLIB, ids=lambda path: path.stem)
def test_a_hook_falls_back_to_what_the_kernel_has(library: Path, kernel: str) -> None:
    for name, alternatives in hooks(library).items():
        program = f'import "{library.stem}"; {name} {{ @ = count(); }}'
        taken = TAKEN[name][NAMES.index(kernel)]
        if taken is None:
            said = f"this kernel has none of the hooks that '{name}' stands for: {', '.join(alternatives)}"
            assert complaint(kernel, program) == said
        else:
            attachment = compiled(kernel, program).programs[0].attachment
            assert f"{attachment.kind}:{attachment.target}" == alternatives[taken]


@pytest.mark.parametrize("kernel", NAMES)
@pytest.mark.parametrize("library", STDLIB, ids=lambda path: path.stem)
def test_a_librarys_functions_find_what_they_ask_for(library: Path, kernel: str) -> None:
    clauses = [f"{', '.join(hooks(library))} {{ @[hook] = count(); }}", *calls(library).values()]
    said = complaint(kernel, f'import "{library.stem}"; {" ".join(clauses)}')
    expected = REFUSED.get((library.stem, kernel))
    assert (said or "").startswith(expected or "")
    assert bool(said) == bool(expected)


@pytest.mark.parametrize("kernel", NAMES)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_or_says_what_is_missing(example: Path, kernel: str) -> None:
    text = example.read_text(encoding="utf-8")
    assert complaint(kernel, text, str(example)) == REFUSED.get((example.stem, kernel))
