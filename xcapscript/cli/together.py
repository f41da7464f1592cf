"""Which options go together. One that would be ignored is refused: whoever wrote it means something by it."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xcapscript.errors import UsageError

_SPELLED = {
    "list": "-l",
    "write": "-w",
    "snaplen": "-s",
    "interface": "-i",
    "process": "-p",
    "no_names": "-n",
    "file_size": "-C",
    "file_seconds": "-G",
    "file_count": "-W",
    "at_once": "-U",
    "tcpdump": "-t",
    "output": "-o",
    "format": "-f",
    "count": "-c",
    "command": "--cmd",
}
"""Options whose names are not those of their fields."""

_COMPILED = frozenset({"write", "snaplen", "count", "interface", "process", "no_names", "tcpdump"})
_WITHOUT_RUNNING: Mapping[str, frozenset[str]] = {
    "install_extcap": frozenset(),
    "explain": frozenset(),
    "fmt": frozenset({"diff"}),
    "doctor": frozenset(),
    "list": frozenset(),
    "check": frozenset({"interface", "no_names"}),
    "dump": _COMPILED | {"buffer", "buffer_size"},
}
"""What does not run a program, and what it goes with."""

_TAKES_WORDS = re.compile(r"\$(?:[0-9]+|#)|\bimport\b")
"""What may use the words behind the program: a library may, too."""

_PROGRAMLESS = frozenset({"install_extcap", "explain", "doctor", "list"})
_EVERYWHERE = frozenset({"words", "program", "verbose", "quiet"})


def check_together(
    found: argparse.Namespace, usual: Callable[[str], object], words: Sequence[str], *, prompts: bool
) -> None:
    """UsageError for options, and words beside them, that contradict each other; `usual` is an option's default."""
    if found.help:
        return
    given = [name for name, value in vars(found).items() if value != usual(name)]
    _check_mode(given, [*([] if found.program is None else [found.program]), *words])
    if prompts and (found.check or found.fmt or found.dump):
        raise UsageError("there is no program: give -e PROGRAM or a file")
    if found.diff and not found.fmt:
        raise UsageError("--diff belongs to --fmt")
    check_files(found)


def _check_mode(given: Sequence[str], programs: Sequence[str]) -> None:
    """Of what runs no program there is one; with it goes only what it heeds."""
    mode = next((name for name in _WITHOUT_RUNNING if name in given), None)
    if mode is None:
        return
    for name in given:
        if name != mode and name not in _WITHOUT_RUNNING[mode] | _EVERYWHERE:
            raise UsageError(f"{_spelled(mode)} and {_spelled(name)} do not go together")
    if mode in _PROGRAMLESS and programs:
        raise UsageError(f"'{programs[0]}' is a word too many beside {_spelled(mode)}, which runs no program")


def _spelled(name: str) -> str:
    return _SPELLED.get(name, f"--{name.replace('_', '-')}")


def check_words(program: str, words: Sequence[str]) -> None:
    """UsageError for words behind a program that takes none: whoever knows tcpdump may mean them for its expression."""
    if words and not _TAKES_WORDS.search(program):
        hint = "its expression stands between slashes, as in -e 'drop /icmp/', and options before the program"
        raise UsageError(f"'{words[0]}' is no part of the program, which has no $1: {hint}")


def check_files(found: Any) -> None:
    """UsageError for options about files and the terminal that do not go together, as argparse or Options has them."""
    cut = found.file_size or found.file_seconds
    if found.write == "-" and found.output == "-":
        raise UsageError("-w - and -o - would both write to standard output")
    if found.flame is not None and os.path.realpath(found.flame) in _files(found.write, found.output):
        raise UsageError("--flame needs a file of its own")
    if found.file_count and not cut:
        raise UsageError("-W belongs to -C or -G")
    if cut and found.write == "-":
        raise UsageError("-w - cannot be cut into files by -C or -G: it is no regular file")
    if found.file_seconds and found.last is not None:
        raise UsageError("--last and -G do not go together: the last packets are written when all slices have ended")
    if found.tcpdump is not None and "-" in (found.write, found.output):
        option = "-w" if found.write == "-" else "-o"
        raise UsageError(f"-t and {option} - would both write to standard output")


def _files(*names: str | None) -> list[str]:
    """The files themselves, since one may have two names; standard output is none."""
    return [os.path.realpath(name) for name in names if name not in (None, "-")]
