"""The loop: a text is asked for, and becomes a clause that runs or a command that is done, until it is left."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from time import monotonic

from xcapscript.errors import UsageError
from xcapscript.repl.commands import Desk, Leave, run_command
from xcapscript.repl.failures import told
from xcapscript.repl.prompt import Prompt, Terminated
from xcapscript.repl.reading import is_command
from xcapscript.repl.screen import MOMENT, Screen

ENDINGS = (signal.SIGTERM, signal.SIGHUP)


class Repl:
    """Reads, runs and shows, until it is left."""

    def __init__(self, desk: Desk, prompt: Prompt, screen: Screen) -> None:
        self._desk = desk
        self._prompt = prompt
        self._screen = screen
        screen.wake = self.wake
        self._bell = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waits: asyncio.Future[str | None] | None = None
        self._ending = False

    def wake(self) -> None:
        """There is something to be shown; called from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._bell.set)

    async def run(self) -> None:
        """Ask until it is left; then all is stopped."""
        self._loop = asyncio.get_running_loop()
        for number in ENDINGS:
            self._loop.add_signal_handler(number, self._end)
        pump = asyncio.create_task(self._pump())
        try:
            with suppress(Leave, Terminated):
                while not self._ending:
                    await self._turn()
        finally:
            await self._stop_all()
            pump.cancel()
            self._show()

    async def _turn(self) -> None:
        """One text."""
        try:
            text = await self._prompt.ask()
            await self._do(text)
        except (Leave, Terminated):
            raise
        except KeyboardInterrupt:
            self._interrupted()
        except EOFError:
            if await self._may_leave():
                raise Leave from None
        except UsageError as error:
            self._screen.say(told(error))
        except Exception as error:  # noqa: BLE001 -- a bug never ends the prompt
            self._screen.say(told(error))
        self._show()

    async def _do(self, text: str) -> None:
        if not text.strip():
            self._screen.held = False
        elif is_command(text):
            result = await self._apart(text)
            if result:
                self._screen.say(result)
        else:
            job = self._desk.jobs.start(text, self._desk.wishes)
            self._screen.say(f"[{job.number}] starting")

    async def _apart(self, text: str) -> str | None:
        """Do a command in a thread of its own; KeyboardInterrupt if Ctrl-C ends the waiting."""
        assert self._loop is not None
        work = self._loop.run_in_executor(None, run_command, self._desk, text)
        self._waits = work
        self._loop.add_signal_handler(signal.SIGINT, work.cancel)
        try:
            return await work
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            self._waits = None
            self._loop.remove_signal_handler(signal.SIGINT)

    def _interrupted(self) -> None:
        """Ctrl-C: a line that was begun is dropped; on an empty one, the clauses are silent from now on."""
        if self._prompt.left.strip() or not self._desk.jobs.alive() or self._screen.held:
            return
        self._screen.held = True
        self._screen.say("output is held, the clauses go on: Enter shows it again, .stop ends them")

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
        text = self._screen.take()
        if text:
            self._prompt.write(text)

    def _end(self) -> None:
        """A signal says that it is over."""
        self._ending = True
        if self._waits is not None:
            self._waits.cancel()
        self._prompt.end()
