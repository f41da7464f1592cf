"""`xcap` without a program, at a terminal: the prompt, with the options that hold for what will be typed."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from xcapscript.cli.options import FORMATS, Options, wishes
from xcapscript.errors import UsageError
from xcapscript.kernel.facts import Kernel
from xcapscript.library import default_library


def prompt(options: Options, kernel: Kernel) -> None:
    """Have programs typed until the prompt is left. UsageError if there is no terminal, or an option is unfit."""
    if not sys.stdout.isatty():
        raise UsageError("there is no program, and no terminal to ask for one: give -e PROGRAM or a file")
    if unfit := next(_unfit(options), None):
        raise UsageError(f"{unfit} belongs to a program: give -e PROGRAM or a file")
    from xcapscript.repl.start import open_prompt  # noqa: PLC0415 -- a tenth of a second, which only a prompt needs

    open_prompt(kernel, default_library(), wishes(options))


def _unfit(options: Options) -> Iterator[str]:
    """The options that were given and are for one program alone."""
    given = {
        "-o": options.output is not None,
        "-f": options.format != FORMATS[0],
        "-t": options.tcpdump is not None,
        "--time": options.time is not None,
        "--cmd": options.command is not None,
        "--last": options.last is not None,
        "-C": options.file_size,
        "-G": options.file_seconds,
        "-U": options.at_once,
        "--flame": options.flame is not None,
        "--progress": options.progress,
        "--why": options.why,
        "-w -": options.write == "-",
    }
    return (flag for flag, is_given in given.items() if is_given)
