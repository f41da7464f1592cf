"""The mutation check: does any test notice when the translator or the packet's start is broken?

Each mutation is one small change to a copy of the tree, on which the unit tests of the translator (for what they can
see) and the quick conformance run are tried. One that nothing notices survives, and then the exit status is 1.
"""

# ruff: noqa: T201 -- it prints figures
from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("xcapscript", "bpf", "stdlib", "tests", "pyproject.toml")
FILTER_C, FILTER_PY = "bpf/include/xcap/filter.h", "xcapscript/codegen/filter.py"
PACKET_C, PROGRAM_PY = "bpf/include/xcap/packet.h", "xcapscript/codegen/program.py"
PAGES_C = "bpf/include/xcap/pages.h"
UNIT_TESTS = "tests/unit/codegen/test_filter.py"
SECONDS = 600


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change of `old`, which stands in the file once, to `new`."""

    what: str
    path: str
    old: str
    new: str


MUTATIONS = (
    # what a filter reads
    Mutation("16-bit loads in the host's byte order", FILTER_C, "__builtin_bswap16(value)", "(value)"),
    Mutation("32-bit loads in the host's byte order", FILTER_C, "__builtin_bswap32(value)", "(value)"),
    Mutation(
        "the last byte of the window cannot be read",
        FILTER_C,
        "if (offset + size > v->window_len)",
        "if (offset + size >= v->window_len)",
    ),
    Mutation(
        "one byte behind the packet can be read",
        FILTER_C,
        "if (offset + size > v->window_len)",
        "if (offset + size > v->window_len + 1)",
    ),
    Mutation(
        "far loads end where they should begin",
        FILTER_C,
        "if (offset + size > v->cap_len)",
        "if (offset > v->cap_len)",
    ),
    Mutation("X + k wraps", FILTER_C, "u64 offset = (u64)x + k;", "u64 offset = (u32)(x + k);"),
    # what a filter computes
    Mutation(
        "a shift by X >= 32 is left to C", FILTER_PY, "a = x < 32 ? a {_OPERATORS[op]} x : 0;", "a {_OPERATORS[op]}= x;"
    ),
    Mutation(
        "a shift by X is masked, as the kernel's",
        FILTER_PY,
        "x < 32 ? a {_OPERATORS[op]} x : 0",
        "a {_OPERATORS[op]} (x & 31)",
    ),
    Mutation(
        "division by X = 0 divides by 1", FILTER_PY, 'self._guard("x == 0")', 'self._emitter.line("x += x == 0;")'
    ),
    Mutation("4*([k]&0xf) is not masked", FILTER_PY, "& 0xf) << 2", "& 0xff) << 2"),
    Mutation("#pktlen is what was captured", FILTER_PY, "v->wire_len;", "v->cap_len;"),
    Mutation("registers do not start at 0", FILTER_PY, 'f"{register} = 0"', 'f"{register} = 1"'),
    Mutation("jt and jf swapped", FILTER_PY, "where_true, where_false =", "where_false, where_true ="),
    Mutation("jgt is jge", FILTER_PY, 'Jump.BPF_JGT: ">"', 'Jump.BPF_JGT: ">="'),
    Mutation("numbers have a sign", FILTER_PY, 'f"u32 {registers}, far;"', 'f"s32 {registers}; u32 far;"'),
    Mutation("the negative of A is its complement", FILTER_PY, '"a = -a;"', '"a = ~a;"'),
    # where a packet begins, and how long it is
    Mutation("a frame begins at skb->data", PACKET_C, "hit->start = mac;", "hit->start = data;"),
    Mutation("a tag in the skb is left out", PACKET_C, "hit->tag_len = xcap_has_tag(skb) &&", "hit->tag_len = 0 &&"),
    Mutation("the tag's id in the host's byte order", PACKET_C, "__builtin_bswap16(skb->vlan_tci)", "skb->vlan_tci"),
    Mutation(
        "the tag adds nothing to the length",
        PACKET_C,
        "hit->data = data - hit->start + hit->tag_len;",
        "hit->data = data - hit->start;",
    ),
    Mutation("the length is skb->len", PACKET_C, "hit->wire_len = skb->len + hit->data;", "hit->wire_len = skb->len;"),
    Mutation(
        "bytes behind the linear part are read",
        PACKET_C,
        "hit->linear_len = tail - hit->start + hit->tag_len;",
        "hit->linear_len = hit->wire_len;",
    ),
    Mutation("a stale MAC header is believed", PACKET_C, "has_mac && mac <= data &&", "has_mac &&"),
    Mutation(
        "every packet begins at its network header", PACKET_C, "if (has_mac && mac <= data", "if (0 && mac <= data"
    ),
    Mutation("a MAC header at the network header is believed", PACKET_C, "mac < network)", "mac <= network)"),
    Mutation("every device has Ethernet frames", PACKET_C, " && xcap_is_ethernet(skb->dev, access)) {", ") {"),
    Mutation("an unset network header is believed", PACKET_C, "skb->network_header != 0 && ", ""),
    Mutation(
        "what is not IP is raw IP", PACKET_C, "return (window[0] >> 4) == 4 || (window[0] >> 4) == 6;", "return 1;"
    ),
    # what is in pages
    Mutation("a piece begins where its page does", PAGES_C, " + XCAP_FRAG_OFFSET(frag)", ""),
    Mutation("memory of a device is read as if it were pages", PAGES_C, "if (page & 1)", "if (0)"),
    Mutation("the list has one sk_buff", PAGES_C, "listed ? next & xcap_if_zero(list) : list", "listed ? 0 : list"),
    # which filter, and what is counted
    Mutation(
        "the filters of Ethernet and raw IP swapped",
        PROGRAM_PY,
        'f"{link} == {LinkType.EN10MB:d} ?',
        'f"{link} != {LinkType.EN10MB:d} ?',
    ),
    Mutation(
        "what could not be read counts as no match", PROGRAM_PY, 'f"if (xcap_is_unread(&{view}, answer))"', '"if (0)"'
    ),
    Mutation("ether[...] reads the IP header", "xcapscript/sema/filter.py", " or LINK_ACCESS.search(text)", ""),
)


def _copy(to: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, to / name)


def _run(tree: Path, *command: str) -> tuple[int, str]:
    """Exit status and output of a Python program in a tree, which imports that tree's modules."""
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    return done.returncode, done.stdout + done.stderr


def _conformance(tree: Path) -> str | None:
    """What the conformance run says against a tree; None if nothing."""
    status, output = _run(tree, "tests/conformance/run.py", "--quick", "--first")
    if status not in (0, 1):
        raise RuntimeError(output)
    if status == 0:
        return None
    return "not loaded" if "\n0 disagreements" in output else "disagreement"


def _unit_tests(tree: Path) -> str | None:
    """The first unit test that fails on a tree; None if none does."""
    status, output = _run(tree, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", UNIT_TESTS)
    if status not in (0, 1):
        raise RuntimeError(output)
    failed = [line for line in output.splitlines() if line.startswith("FAILED")]
    return failed[0].split("::")[1].split("[")[0].split(" ")[0] if failed else None


def _try(mutation: Mutation, tree: Path) -> tuple[str, str]:
    """What notices a mutation, as the two columns of the table."""
    path = tree / mutation.path
    whole = path.read_text(encoding="utf-8")
    if whole.count(mutation.old) != 1:
        raise RuntimeError(f"{mutation.path} has {whole.count(mutation.old)} times: {mutation.old}")
    path.write_text(whole.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        unit = _unit_tests(tree) or "no" if mutation.path in (FILTER_C, FILTER_PY) else "-"
        return unit, _conformance(tree) or "no"
    finally:
        path.write_text(whole, encoding="utf-8")


def main() -> int:
    """The exit status: 1 if a mutation survives, 3 if the unchanged tree is not right itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", dest="word", default="", help="only mutations with this in their description")
    word = parser.parse_args().word
    start, survived = time.monotonic(), []
    chosen = [mutation for mutation in MUTATIONS if word in mutation.what]
    with tempfile.TemporaryDirectory(prefix="xcap-mutate-") as directory:
        tree = Path(directory)
        _copy(tree)
        if found := _unit_tests(tree) or _conformance(tree):
            print(f"the tree is not right before any mutation: {found}", file=sys.stderr)
            return 3
        print("| mutation | file | unit tests | conformance |\n|---|---|---|---|", flush=True)
        for mutation in chosen:
            unit, conformance = _try(mutation, tree)
            if conformance == "no" and unit in ("no", "-"):
                survived.append(mutation.what)
            print(f"| {mutation.what} | `{Path(mutation.path).name}` | {unit} | {conformance} |", flush=True)
    print(f"\n{len(chosen)} mutations, {len(chosen) - len(survived)} caught, {time.monotonic() - start:.0f} seconds")
    for what in survived:
        print(f"survived: {what}")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
