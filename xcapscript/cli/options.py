"""The command line's options."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xcapscript import __version__
from xcapscript.builtins import OPTIONS
from xcapscript.capture import Wishes
from xcapscript.cli.together import check_together
from xcapscript.errors import UsageError
from xcapscript.sinks.base import SinkError
from xcapscript.unit import Buffer

IFNAMSIZ = 16
LARGEST = 0xFFFFFFFF
"""What a pcapng file can say of how much of a packet is kept."""

_UNITS = {"": 1_000_000, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
"""What a size of a file is in: tcpdump's."""

_SIZE = re.compile("([0-9]{1,12})([kKmMgG]?)")

STAGES = ("ast", "ir", "cbpf", "c")
FORMATS = ("text", "json")

DESCRIPTION = """\
Run a program in the xcap language: probe blocks that join kernel hooks, a
tcpdump expression and actions.

  xcap -e 'drop /tcp or udp/'
  xcap -e 'drop /icmp/ { dump; count(reason); }' -w drops.pcapng
  xcap script.xcap
  xcap                 a prompt to type programs at, if this is a terminal
"""

EPILOG = """\
standard output carries data only, everything else goes to standard error.
exit status: 0; exit(n)'s n; 1 the program is wrong; 2 the command line is
wrong; 3 the machine cannot do it.
"""


_Add = Callable[..., argparse.Action]
"""What adds an option to a group of them."""


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
    file_size: int = 0
    file_seconds: int = 0
    file_count: int = 0
    at_once: bool = False
    tcpdump: tuple[str, ...] | None = None
    install_extcap: bool = False
    flame: str | None = None
    progress: bool = False
    doctor: bool = False
    buffer: Buffer | None = None
    buffer_size: int | None = None
    prompts: bool = False
    """There is no program: it is to be typed, or comes from standard input."""


class _Once(argparse.Action):
    """An option that cannot be given twice: the first one would be forgotten without a word."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option} is given twice: write all clauses in one program")
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # it raises, as the original exits
        raise UsageError(message)

    def _print_message(self, message: str, file: Any = None) -> None:
        """What --version says. SinkError if it cannot be written."""
        try:
            super()._print_message(message, file)
            file.flush()
        except OSError as error:
            raise SinkError.writing("standard output", error) from error


def parse_options(arguments: Sequence[str]) -> Options:
    """The options of a command line; UsageError if it is wrong."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    parser = _parser()
    found, others = parser.parse_known_intermixed_args(_joined(arguments[:end]))
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
    wants_none = found.help or found.doctor or found.install_extcap or (found.explain, found.list) != (None, None)
    prompts = not wants_none and found.program is None and not files
    check_together(found, parser.get_default, [*files, *words], prompts=prompts)
    given = {name: value for name, value in vars(found).items() if name != "words"}
    # tcpdump's word for all
    given["interface"] = None if found.interface == "any" else found.interface
    given["buffer"] = found.buffer and Buffer(found.buffer)
    return Options(**given, files=tuple(files), arguments=tuple(words), named=named, prompts=prompts)


def wishes(options: Options) -> Wishes:
    """How a program is to be run that these options are for."""
    return Wishes(
        arguments=options.arguments,
        named=options.named,
        write=options.write,
        shown=options.tcpdump is not None,
        snaplen=options.snaplen,
        count=options.count,
        interface=options.interface,
        process=options.process,
        no_names=options.no_names,
        buffer=options.buffer,
        buffer_size=options.buffer_size,
        checking=options.check,
    )


def _joined(arguments: Sequence[str]) -> list[str]:
    """With the options of tcpdump as part of the word -t: they begin with '-', which argparse takes for an option."""
    words, rest = [], iter(arguments)
    for word in rest:
        flags = next(rest, None) if word == "-t" else None
        words.append(word if flags is None else f"-t {flags}")
    return words


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
        usage="xcap [OPTION ...] [FILE | -e PROGRAM] [ARGUMENT ...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    _add_program(parser.add_argument_group("the program, and what it looks at").add_argument)
    _add_packets(parser.add_argument_group("packets that it dumps").add_argument)
    _add_shown(parser.add_argument_group("what is shown").add_argument)
    _add_end(parser.add_argument_group("when it ends, besides Ctrl-C").add_argument)
    _add_questions(parser.add_argument_group("without running it").add_argument)
    _add_others(parser.add_argument_group("others").add_argument)
    return parser


def _add_program(add: _Add) -> None:
    add("words", nargs="*", metavar="FILE", help="a file with the program, and its $1, $2 ...; - is standard input")
    add("-e", dest="program", action=_Once, metavar="PROGRAM", help="the program itself")
    add("-i", dest="interface", type=_interface, metavar="IFACE", help="only packets at interfaces of this name")
    add("-p", dest="process", type=_positive, metavar="PID", help="only hits while this process runs")
    add("-n", dest="no_names", action="store_true", help="look up no host names in expressions, except in /etc/hosts")


def _add_packets(add: _Add) -> None:
    add("-w", dest="write", type=_path, metavar="FILE", help="where dump without a name writes; - is standard output")
    add("-s", dest="snaplen", type=_natural, metavar="SNAPLEN", help="bytes kept of each packet; 0: as many as can be")
    add("-C", dest="file_size", type=_size, default=0, metavar="SIZE", help="begin a new file after SIZE million bytes")
    add("-G", dest="file_seconds", type=_positive, default=0, metavar="SECONDS", help="... or after SECONDS")
    add("-W", dest="file_count", type=_positive, default=0, metavar="N", help="keep N files; with -G, stop after N")
    add("-U", dest="at_once", action="store_true", help="write packets as they come, not twice a second")
    add("--last", type=_positive, metavar="N", help="keep the last N packets of each file, and write them at the end")
    add("-t", dest="tcpdump", type=_words, metavar="FLAGS", help="show what is dumped through tcpdump, such as -t -nnv")


def _add_shown(add: _Add) -> None:
    add("-o", dest="output", type=_path, metavar="FILE", help="print lines and maps to FILE, not to standard output")
    add("-f", dest="format", choices=FORMATS, default=FORMATS[0], help="how: text, or a JSON object a line")
    add("--flame", type=_file, metavar="FILE", help="draw what is counted by stack, as SVG; as text in NAME.folded")
    add("--progress", action="store_true", help="tell on the terminal how far it is: packets, rate, lost, file size")
    add("--why", action="store_true", help="tell at the end what became of every hit, clause by clause")
    add("-q", dest="quiet", action="store_true", help="say nothing on standard error but errors and losses")
    add("-v", dest="verbose", action="store_true", help="say more: counts of each hook, whole logs")


def _add_end(add: _Add) -> None:
    add("-c", dest="count", type=_positive, metavar="N", help="stop after N packets dumped or printed")
    add("--time", type=_duration, metavar="TIME", help="stop after this time, such as 10s or 500ms")
    add("--cmd", dest="command", metavar="COMMAND", help="run a shell command, and stop when it ends")


def _add_questions(add: _Add) -> None:
    add("-l", dest="list", nargs="?", const="*", metavar="PATTERN", help="list hooks; with -v, their arguments")
    add("--doctor", action="store_true", help="say what works on this machine, and what to do about the rest")
    add("--check", action="store_true", help="check programs; needs no root")
    add("--explain", metavar="KIND", help="say what a kind of mistake means, such as map-clash")
    add("--fmt", action="store_true", help="rewrite programs in the usual style; -e and - to standard output")
    add("--diff", action="store_true", help="with --fmt: show what would change, and change nothing")
    add("--dump", choices=STAGES, help="show what a stage of the compiler makes")


def _add_others(add: _Add) -> None:
    add(
        "--buffer",
        choices=tuple(map(str, Buffer)),
        help="what lies between kernel and xcap: a ring buffer (usual), or a perf buffer for each CPU",
    )
    add("--buffer-size", type=_buffer_size, metavar="BYTES", help="what it holds in all, such as 128M; 32M is usual")
    add("--install-extcap", action="store_true", help="make the kernel's hooks an interface in Wireshark")
    add("-h", "--help", action="store_true", help="show this; behind a FILE, what the program says of itself")
    add("--version", action="version", version=f"xcap {__version__}", help="show the version")


def _positive(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to 999999999999999999")
    return int(text)


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if not match or not int(match[1]):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a size: 10 is ten million bytes, 10k, 10m and 10g are KiB ..."
        )
    return int(match[1]) * _UNITS[match[2].lower()]


def _buffer_size(text: str) -> int:
    match, row = _SIZE.fullmatch(text), OPTIONS["buffer_size"]
    size = int(match[1]) * (_UNITS[match[2].lower()] if match[2] else 1) if match else 0
    if not row.low <= size <= row.high:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size from 4K to 1G, as 65536, 512K, 128M")
    return size


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text.strip()}': {error}") from None


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("'' is not a file name")
    return text


def _file(text: str) -> str:
    if text == "-":
        raise argparse.ArgumentTypeError("'-' is not the name of a file")
    return _path(text)


def _natural(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of bytes")
    return min(int(text), LARGEST)


def _interface(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"'{text}' is not UTF-8 text") from None
    if not 0 < size < IFNAMSIZ or "/" in text:
        raise argparse.ArgumentTypeError(f"'{text}' is not the name of an interface")
    return text


def _duration(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)?", text)
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"'{text}' is not a time such as 10s, 500ms or 2m, of up to nine digits")
    return float(match[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[match[2] or "s"]
