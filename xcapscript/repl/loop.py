"""The loop: a text is asked for, and becomes a clause that runs or a command that is done, until it is left."""

from __future__ import annotations

import asyncio
import errno
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType
from typing import Any, TypeVar

from xcapscript.diagnostics import ScriptError
from xcapscript.errors import KernelError, UsageError
from xcapscript.repl import outside
from xcapscript.repl.command import Desk, Edit, Leave, Result, Shell
from xcapscript.repl.commands import run_command
from xcapscript.repl.failures import told
from xcapscript.repl.prompt import EditLine, Prompt, Terminated
from xcapscript.repl.reading import is_command
from xcapscript.repl.screen import MOMENT, Screen
from xcapscript.sinks.base import SinkError

ENDINGS = (signal.SIGTERM, signal.SIGHUP)
MARGIN = 2
"""Lines of the terminal that a text which is shown as it is leaves to the prompt."""

T = TypeVar("T")


class Repl:
    """Reads, runs and shows, until it is left."""

    def __init__(self, desk: Desk, prompt: Prompt, screen: Screen) -> None:
        self._desk = desk
        self._prompt = prompt
        self._screen = screen
        screen.wake = self.wake
        self._bell = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waits: asyncio.Future[Any] | None = None
        self._ending = False
        self._silent = False
        self._next = ""
        self._bugs: set[str] = set()

    def wake(self) -> None:
        """There is something to be shown; called from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._bell.set)

    async def run(self) -> None:
        """Ask until it is left; then all is stopped."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._on_bug)
        for number in ENDINGS:
            self._loop.add_signal_handler(number, self._end)
        # prompt_toolkit puts this one back when a line has been typed, but none of asyncio's
        before = signal.signal(signal.SIGINT, self._on_ctrl_c)
        pump = asyncio.create_task(self._pump())
        self._show()
        try:
            with suppress(Leave, Terminated):
                while not self._ending:
                    await self._turn()
        finally:
            await self._stop_all()
            pump.cancel()
            self._show()
            signal.signal(signal.SIGINT, before)

    async def _turn(self) -> None:
        """One text."""
        try:
            text, self._next = self._next, ""
            text = await self._prompt.ask(text)
            await self._do(text)
        except (Leave, Terminated):
            raise
        except EditLine:
            await self._edit(self._prompt.left)
        except KeyboardInterrupt:
            self._interrupted()
        except EOFError:
            if await self._may_leave():
                raise Leave from None
        except (UsageError, ScriptError, KernelError, SinkError) as error:
            self._screen.say(told(error))
        except OSError as error:
            if error.errno == errno.EIO:
                raise Leave from None  # the terminal has gone
            self.complain(error)
        except Exception as error:  # noqa: BLE001 -- a bug never ends the prompt
            self.complain(error)
        self._show()

    async def _do(self, text: str) -> None:
        if not text.strip():
            self._screen.held = False
            return
        if not self._desk.typed or self._desk.typed[-1] != text:
            self._desk.typed.append(text)
        if is_command(text):
            await self._show_result(await self._apart(lambda: run_command(self._desk, text)))
            self._prompt.vi = self._desk.vi
        else:
            self._desk.jobs.start(text, self._desk.options)

    async def _show_result(self, result: Result) -> None:
        match result:
            case None:
                pass
            case Edit(text):
                await self._edit(text)
            case Shell(line):
                with self._away():
                    status = await self._apart(lambda: outside.shell(line))
                if status:
                    self._screen.say(outside.ended(status))
            case str():
                await self._show_text(result)

    async def _edit(self, text: str) -> None:
        """What becomes of a text in the user's editor stands in the line then."""
        self._next = text
        try:
            with self._away():
                self._next = await self._apart(lambda: outside.edit(text))
        except UsageError as error:
            self._screen.say(told(error))

    async def _show_text(self, text: str) -> None:
        """As it is if the terminal is high enough, else by the pager."""
        if text.count("\n") + 1 > self._prompt.rows() - MARGIN and not self._prompt.dumb:
            with self._away():
                if await self._apart(lambda: outside.page(text)):
                    return
        self._screen.say(text)

    async def _apart(self, what: Callable[[], T]) -> T:
        """Do it in a thread of its own, so that the screen goes on; KeyboardInterrupt if Ctrl-C ends the waiting."""
        assert self._loop is not None
        work = self._loop.run_in_executor(None, what)
        self._waits = work
        try:
            return await work
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            self._waits = None

    def _on_ctrl_c(self, _number: int, _frame: FrameType | None) -> None:
        """Ctrl-C while no line is typed, which never ends the prompt."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._interrupt)

    def _interrupt(self) -> None:
        # while another program has the terminal, Ctrl-C is for that
        if self._waits is not None and not self._silent:
            self._waits.cancel()

    @contextmanager
    def _away(self) -> Iterator[None]:
        """Another program has the terminal."""
        self._silent = True
        try:
            yield
        finally:
            self._silent = False

    def _interrupted(self) -> None:
        """Ctrl-C: a line that was begun is dropped; on an empty one, what is shown of clauses is ended."""
        if self._prompt.left.strip():
            return
        if self._desk.watched:
            self._desk.watched = ()
        elif self._desk.jobs.alive() and not self._screen.held:
            self._screen.held = True
            self._screen.say("output is held, the clauses go on: Enter shows it again, .stop all ends them")

    async def _may_leave(self) -> bool:
        alive = self._desk.jobs.alive()
        if not alive:
            return True
        what = "1 clause is running: stop it" if len(alive) == 1 else f"{len(alive)} clauses are running: stop them"
        return await self._prompt.confirm(f"{what} and leave?")

    async def _stop_all(self) -> None:
        alive = self._desk.jobs.alive()
        for job in alive:
            job.stop()
        for job in alive:
            await asyncio.get_running_loop().run_in_executor(None, job.wait)

    async def _pump(self) -> None:
        """Show what comes, a moment's worth at once; a terminal that is slow is given longer."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            start = monotonic()
            self._show()
            await asyncio.sleep(max(MOMENT, 2 * (monotonic() - start)))

    def _show(self) -> None:
        if self._silent:
            return
        text = self._screen.take()
        if not text:
            return
        try:
            self._prompt.write(text)
        except OSError as error:
            if error.errno == errno.EIO:
                self._end()
            else:
                self.complain(error)
        except Exception as error:  # noqa: BLE001 -- a bug never ends the prompt
            self.complain(error)

    def _end(self) -> None:
        """A signal says that it is over."""
        self._ending = True
        if self._waits is not None:
            self._waits.cancel()
        self._prompt.end()

    def _on_bug(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.complain(error if isinstance(error, Exception) else RuntimeError(context.get("message")))

    def complain(self, error: Exception) -> None:
        """Tell of a bug, once."""
        text = told(error)
        if text not in self._bugs:
            self._bugs.add(text)
            self._screen.say(text)
