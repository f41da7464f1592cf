"""Opens the prompt: everything that it works with is made here, and put together."""

from __future__ import annotations

import asyncio
import os
import sys

from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output
from prompt_toolkit.output.defaults import create_output

from xcapscript import __version__
from xcapscript.capture import Wishes, resolver
from xcapscript.errors import KernelError
from xcapscript.kernel.facts import Kernel
from xcapscript.kernel.rights import require_rights
from xcapscript.library import Library
from xcapscript.repl.colours import TypedLexer
from xcapscript.repl.command import Desk
from xcapscript.repl.completer import WorldCompleter
from xcapscript.repl.jobs import Jobs, Spare, Surroundings
from xcapscript.repl.loop import Repl
from xcapscript.repl.past import past
from xcapscript.repl.prompt import Footer, Prompt
from xcapscript.repl.reading import judge
from xcapscript.repl.screen import Screen
from xcapscript.repl.toolbar import Meter, toolbar
from xcapscript.repl.watching import watched
from xcapscript.repl.world import Facts
from xcapscript.sinks.printer import wants_colour

SWITCH_INTERVAL = 0.001
"""Seconds that a clause's thread may keep the interpreter from the prompt's."""


def open_prompt(kernel: Kernel, library: Library, wishes: Wishes) -> None:
    """Ask for clauses and commands at the terminal until it is left."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    note = ""
    try:
        history = past()
    except KernelError as error:
        history, note = InMemoryHistory(), f"what is typed is not kept: {error.message}"
    spare = Spare()
    try:
        asyncio.run(run_prompt(kernel, library, wishes, spare, history, note=note))
    finally:
        spare.close()


async def run_prompt(
    kernel: Kernel,
    library: Library,
    wishes: Wishes,
    spare: Spare,
    history: History,
    *,
    source: Input | None = None,
    output: Output | None = None,
    note: str = "",
) -> None:
    """As `open_prompt`, with the streams that are given, or those of the process."""
    output = output or create_output()
    screen = Screen()
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
    desk = Desk(jobs, around, wishes, Meter(), list(reversed(list(history.load_history_strings()))))
    facts = Facts(kernel, library)
    prompt = Prompt(
        lambda text: judge(text, library, kernel, desk.wishes),
        lambda width, height: _footer(desk, screen, width, height),
        lambda error: repl.complain(error),  # noqa: PLW0108 -- it comes later
        completer=WorldCompleter(
            lambda: facts.world((m.name for job in jobs for m in job.maps()), (str(job.number) for job in jobs)),
            lambda error: repl.complain(error),  # noqa: PLW0108 -- it comes later
        ),
        lexer=TypedLexer(),
        history=history,
        source=source,
        output=output,
    )
    repl = Repl(desk, prompt, screen)
    screen.say(f"xcap {__version__}: type a clause, such as drop /icmp/, or .help; Ctrl-D leaves")
    if note:
        screen.say(note)
    try:
        require_rights(())
        spare.warm()
    except KernelError as error:
        screen.say(f"{error.message}: completion, .desc, .c and checking work without")
    facts.read()
    await repl.run()


def _footer(desk: Desk, screen: Screen, width: int, height: int) -> Footer:
    """The maps that are watched, and how all clauses are."""
    bar, warns = toolbar(desk.meter.look(list(desk.jobs), held=screen.held), width)
    return Footer(tuple(watched(desk, width, height)), bar, warns)
