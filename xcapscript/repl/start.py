"""Opens the prompt: everything that it works with is made here, and put together."""

from __future__ import annotations

import asyncio
import os
import sys

from prompt_toolkit.output.defaults import create_output

from xcapscript import __version__
from xcapscript.capture import Wishes, require_privilege, resolver
from xcapscript.errors import KernelError
from xcapscript.kernel.facts import Kernel
from xcapscript.library import Library
from xcapscript.repl.colours import TypedLexer
from xcapscript.repl.commands import Desk
from xcapscript.repl.jobs import Jobs, Spare, Surroundings
from xcapscript.repl.loop import Repl
from xcapscript.repl.prompt import Prompt
from xcapscript.repl.reading import judge
from xcapscript.repl.screen import Screen
from xcapscript.repl.toolbar import Meter, toolbar
from xcapscript.sinks.printer import wants_colour


def open_prompt(kernel: Kernel, library: Library, wishes: Wishes) -> None:
    """Ask for clauses and commands at the terminal until it is left."""
    spare = Spare()
    try:
        asyncio.run(_run(kernel, library, wishes, spare))
    finally:
        spare.close()


async def _run(kernel: Kernel, library: Library, wishes: Wishes, spare: Spare) -> None:
    meter = Meter()
    screen = Screen()
    output = create_output()
    around = Surroundings(
        library,
        kernel,
        spare,
        screen,
        resolver(),
        columns=lambda: output.get_size().columns,
        colour=wants_colour(sys.stdout, os.environ),
        crowded=lambda: len(jobs.alive()) > 1,
    )
    jobs = Jobs(around)
    desk = Desk(jobs, around, wishes, meter)
    prompt = Prompt(
        lambda text: judge(text, library, kernel, desk.wishes),
        lambda width: toolbar(meter.look(list(jobs), held=screen.held), width),
        lexer=TypedLexer(),
        output=output,
    )
    repl = Repl(desk, prompt, screen)
    screen.say(f"xcap {__version__}: type a clause, such as drop /icmp/, or .help; Ctrl-D leaves")
    try:
        require_privilege()
        await asyncio.get_running_loop().run_in_executor(None, spare.warm)
    except KernelError as error:
        screen.say(f"{error.message}: completion, .desc, .c and checking work without")
    await repl.run()
