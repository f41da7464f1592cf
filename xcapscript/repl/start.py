"""Opens the prompt: everything that it works with is made here, and put together."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output
from prompt_toolkit.output.defaults import create_output

from xcapscript import __version__
from xcapscript.capture import resolver
from xcapscript.cli.options import Options
from xcapscript.diagnostics import escape
from xcapscript.errors import KernelError
from xcapscript.kernel.facts import Kernel
from xcapscript.kernel.rights import require_rights
from xcapscript.library import Library
from xcapscript.repl.colours import TypedLexer
from xcapscript.repl.command import Desk
from xcapscript.repl.completer import WorldCompleter
from xcapscript.repl.jobs import Jobs, Surroundings
from xcapscript.repl.loop import Repl
from xcapscript.repl.past import past
from xcapscript.repl.prompt import Footer, Prompt
from xcapscript.repl.reading import judge
from xcapscript.repl.screen import Screen
from xcapscript.repl.settings import check_options
from xcapscript.repl.spare import Spare
from xcapscript.repl.toolbar import Meter, toolbar
from xcapscript.repl.watching import watched
from xcapscript.repl.world import Facts, World
from xcapscript.sinks.printer import wants_colour

SWITCH_INTERVAL = 0.001
"""Seconds that a clause's thread may keep the interpreter from the prompt's."""


def open_prompt(kernel: Kernel, library: Library, options: Options) -> None:
    """Ask for clauses and commands at the terminal until it is left. UsageError or KernelError for unfit options."""
    notes = check_options(options)
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        history = past()
    except KernelError as error:
        history = InMemoryHistory()
        notes.append(f"what is typed is not kept: {error.message}")
    spare = Spare()
    try:
        asyncio.run(run_prompt(kernel, library, options, spare, history, notes=notes))
    finally:
        spare.close()


async def run_prompt(
    kernel: Kernel,
    library: Library,
    options: Options,
    spare: Spare,
    history: History,
    *,
    source: Input | None = None,
    output: Output | None = None,
    notes: Sequence[str] = (),
) -> None:
    """As `open_prompt`, with the streams that are given, or those of the process."""
    output = output or create_output()
    desk = _desk(kernel, library, options, spare, output, history)
    screen, facts = desk.around.screen, Facts(kernel, library)
    prompt = Prompt(
        lambda text: judge(text, library, kernel, desk.wishes),
        lambda width, height: _footer(desk, width, height),
        lambda error: repl.complain(error),  # noqa: PLW0108 -- it comes later
        completer=WorldCompleter(lambda: _world(facts, desk), lambda error: repl.complain(error)),  # noqa: PLW0108
        lexer=TypedLexer(),
        history=history,
        source=source,
        output=output,
    )
    repl = Repl(desk, prompt, screen)
    screen.say(f"xcap {__version__}: type a clause, such as drop /icmp/, or .help; Ctrl-D leaves")
    for note in notes:
        screen.say(escape(note))
    try:
        require_rights(())
        spare.warm()
    except KernelError as error:
        screen.say(f"{error.message}: completion, .desc, .c and checking work without")
    facts.read()
    await repl.run()


def _desk(kernel: Kernel, library: Library, options: Options, spare: Spare, output: Output, history: History) -> Desk:
    """What commands work with; nothing runs yet."""
    around = Surroundings(
        library,
        kernel,
        spare,
        Screen(),
        resolver(),
        columns=lambda: output.get_size().columns,
        colour=wants_colour(sys.stdout, os.environ),
        crowded=lambda: len(jobs.alive()) > 1,
    )
    jobs = Jobs(around)
    return Desk(jobs, around, options, Meter(), list(reversed(list(history.load_history_strings()))))


def _world(facts: Facts, desk: Desk) -> World:
    """What can be named now."""
    return facts.world((spec.name for job in desk.jobs for spec in job.maps()), (str(job.number) for job in desk.jobs))


def _footer(desk: Desk, width: int, height: int) -> Footer:
    """The maps that are watched, and how all clauses are."""
    bar, warns = toolbar(desk.meter.look(list(desk.jobs), held=desk.around.screen.held), width)
    return Footer(tuple(watched(desk, width, height)), bar, warns)
