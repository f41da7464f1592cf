"""The command line's options."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xcapscript import __version__
from xcapscript.errors import UsageError

IFNAMSIZ = 16
LARGEST = 0xFFFFFFFF
"""What a pcapng file can say of how much of a packet is kept."""

STAGES = ("ast", "ir", "cbpf", "c")
FORMATS = ("text", "json")

DESCRIPTION = """\
Run a program in the xcap language: probe blocks that join kernel hooks, a tcpdump expression and actions.

  xcap -e 'drop /icmp/ { dump; count(reason); }' -w drops.pcapng
  xcap script.xcap
"""

EPILOG = """\
standard output carries data only, everything else goes to standard error.
exit status: 0; exit(n)'s n; 1 the program is wrong; 2 the command line is wrong; 3 the machine cannot do it.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    program: str | None
    files: tuple[str, ...]
    arguments: tuple[str, ...]
    named: Mapping[str, str]
    list: str | None
    write: str | None
    count: int | None
    snaplen: int | None
    interface: str | None
    time: float | None
    command: str | None
    no_names: bool
    quiet: bool
    why: bool
    verbose: bool
    check: bool
    dump: str | None
    output: str | None = None
    format: str = FORMATS[0]
    fmt: bool = False
    diff: bool = False
    help: bool = False
    process: int | None = None
    last: int | None = None
    explain: str | None = None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # it raises, as the original exits
        raise UsageError(message)


def parse_options(arguments: Sequence[str]) -> Options:
    """The options of a command line; UsageError if it is wrong."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    found, others = _parser().parse_known_intermixed_args(arguments[:end])
    named = dict(map(_named, others))
    words = [*found.words, *arguments[end + 1 :]]
    if found.list == "*" and words and found.program is None:
        # `-l -v PATTERN`: the option between them took the pattern's place
        found.list, words = words[0], words[1:]
    files: list[str] = []
    if (found.check or found.fmt) and found.program is None:
        files, words = words, []
    elif found.program is None and words:
        files, words = words[:1], words[1:]
    if named and found.program is None and not files:
        raise UsageError(f"unrecognized arguments: {' '.join(others)}")
    wants_none = found.help or found.explain is not None or found.list is not None
    if not wants_none and found.program is None and not files:
        raise UsageError("there is no program: give -e PROGRAM or a file")
    if found.write == "-" and found.output == "-":
        raise UsageError("-w - and -o - would both write to standard output")
    if found.diff and not found.fmt:
        raise UsageError("--diff belongs to --fmt")
    return Options(
        program=found.program,
        files=tuple(files),
        arguments=tuple(words),
        named=named,
        list=found.list,
        write=found.write,
        count=found.count,
        snaplen=found.snaplen,
        interface=found.interface,
        time=found.time,
        command=found.command,
        no_names=found.no_names,
        quiet=found.quiet,
        why=found.why,
        verbose=found.verbose,
        check=found.check,
        dump=found.dump,
        output=found.output,
        format=found.format,
        fmt=found.fmt,
        diff=found.diff,
        help=found.help,
        process=found.process,
        last=found.last,
        explain=found.explain,
    )


def usage() -> str:
    """What --help says."""
    return _parser().format_help()


def _named(word: str) -> tuple[str, str]:
    """A parameter of the script's own, `--name=value`."""
    match = re.fullmatch(r"--([A-Za-z_][A-Za-z0-9_-]*)=(.*)", word, re.DOTALL)
    if not match:
        hint = (
            f": a parameter of the program is written {word}=VALUE" if re.fullmatch(r"--[A-Za-z_][\w-]*", word) else ""
        )
        raise UsageError(f"unrecognized arguments: {word}{hint}")
    return match[1].replace("-", "_"), match[2]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="xcap",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "words",
        nargs="*",
        metavar="FILE [ARGUMENT ...]",
        help="a program in a file (- is standard input), its $1, $2 ...",
    )
    add("-h", "--help", action="store_true", help="show this; behind a FILE, what the program says of itself")
    add("-e", dest="program", metavar="PROGRAM", help="the program itself")
    add("-w", dest="write", type=_path, metavar="FILE", help="where dump without a name writes; - is standard output")
    add(
        "-o",
        dest="output",
        type=_path,
        metavar="FILE",
        help="where lines and maps are printed, instead of standard output",
    )
    add("-f", dest="format", choices=FORMATS, default=FORMATS[0], help="how: text, or a JSON object a line")
    add("-c", dest="count", type=_positive, metavar="N", help="stop after N packets dumped or printed")
    add("-s", dest="snaplen", type=_natural, metavar="SNAPLEN", help="bytes kept of each packet; 0: as many as can be")
    add("-i", dest="interface", type=_interface, metavar="IFACE", help="only packets at interfaces of this name")
    add("-p", dest="process", type=_positive, metavar="PID", help="only hits while this process runs")
    add("--last", type=_positive, metavar="N", help="keep the last N packets of each file, and write them at the end")
    add("--time", type=_duration, metavar="TIME", help="stop after this time, such as 10s or 500ms")
    add("--cmd", dest="command", metavar="COMMAND", help="run a shell command, and stop when it ends")
    add("-l", dest="list", nargs="?", const="*", metavar="PATTERN", help="list hooks; with -v, their arguments")
    add("-n", dest="no_names", action="store_true", help="look up no host names in expressions, except in /etc/hosts")
    add("-q", dest="quiet", action="store_true", help="say nothing on standard error but errors and losses")
    add("-v", dest="verbose", action="store_true", help="say more: counts of each hook, whole logs")
    add("--why", action="store_true", help="tell at the end what became of every hit, clause by clause")
    add("--check", action="store_true", help="check programs and run nothing; needs no root")
    add("--dump", choices=STAGES, help="show what a stage of the compiler makes, and run nothing")
    add("--fmt", action="store_true", help="rewrite programs in the usual style; -e and - to standard output")
    add("--diff", action="store_true", help="with --fmt: show what would change, and change nothing")
    add("--explain", metavar="KIND", help="say what a kind of mistake means, such as map-clash")
    add("--version", action="version", version=f"xcap {__version__}")
    return parser


def _positive(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to 999999999999999999")
    return int(text)


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("'' is not a file name")
    return text


def _natural(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of bytes")
    return min(int(text), LARGEST)


def _interface(text: str) -> str:
    if not 0 < len(text.encode()) < IFNAMSIZ or "/" in text:
        raise argparse.ArgumentTypeError(f"'{text}' is not the name of an interface")
    return text


def _duration(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)?", text)
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"'{text}' is not a time such as 10s, 500ms or 2m, of up to nine digits")
    return float(match[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[match[2] or "s"]
