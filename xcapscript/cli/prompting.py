"""`xcap` without a program, at a terminal: the prompt, with the options that hold for what will be typed."""

from __future__ import annotations

import sys

from xcapscript.cli.options import Options
from xcapscript.errors import UsageError
from xcapscript.kernel.facts import Kernel
from xcapscript.library import default_library


def prompt(options: Options, kernel: Kernel) -> None:
    """Have programs typed until the prompt is left. UsageError if there is no terminal, or an option is unfit."""
    if not sys.stdout.isatty():
        raise UsageError("there is no program, and no terminal to ask for one: give -e PROGRAM or a file")
    from xcapscript.repl.start import open_prompt  # noqa: PLC0415 -- a tenth of a second, which only a prompt needs

    open_prompt(kernel, default_library(), options)
