"""The standard library and the examples, as the tests look at them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from xcapscript.source import Source

ROOT = Path(__file__).parents[1]
OF_PROGRAMS = {"dpdk": "process_frame", "umem": "process_frame"}
"""What asks no kernel, but programs and libraries: tests/kernel/test_dpdk.py and test_examples_live.py run it. To the
examples among them a function of the program must be given."""

STDLIB = [path for path in sorted((ROOT / "stdlib").glob("*.xcap")) if path.stem not in OF_PROGRAMS]
EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.xcap")) if path.stem not in OF_PROGRAMS]

AT = {"unanswered": "neigh_timer", "by_qdisc": "drop", "arrived": "rx"}
"""Where a function of the library is meant to be called, if that is not the first hook of its file."""

_HOOK = re.compile(r"^hook (\w+) = ([^;]+);", re.MULTILINE)
_FUNCTION = re.compile(r"^fn (\w+)", re.MULTILINE)


def hooks(path: Path) -> Mapping[str, list[str]]:
    """The hooks that a library defines: what each stands for, the best first."""
    found = _HOOK.findall(path.read_text(encoding="utf-8"))
    return {name: [one.strip() for one in alternatives.split("|")] for name, alternatives in found}


def calls(path: Path) -> Mapping[str, str]:
    """A clause for each function of a library, which calls it where it is meant to be called."""
    names = _FUNCTION.findall(path.read_text(encoding="utf-8"))
    return {name: f"{AT.get(name, path.stem)} {{ {name}(); }}" for name in names}


def programs() -> Iterator[Source]:
    """All that they ask a kernel: each script, each function, and each thing that a hook may stand for."""
    for path in (*STDLIB, *EXAMPLES):
        yield Source(str(path), path.read_text(encoding="utf-8"))
    for path in STDLIB:
        yield from (Source(name, f'import "{path.stem}"; {clause}') for name, clause in calls(path).items())
        for alternatives in hooks(path).values():
            yield from (Source(attach, f"{attach} {{ @ = count(); }}") for attach in alternatives)
