"""xcap at a terminal: tmux, which shows what a person would see."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from xcap import PATIENCE, XCAP

_numbers = itertools.count()


class Terminal:
    """A terminal of its own in which xcap is open. Keys are named as tmux names them: Enter, C-c, Tab."""

    def __init__(
        self, cwd: Path, *arguments: str, columns: int = 120, rows: int = 40, environ: Mapping[str, str] | None = None
    ) -> None:
        self._socket = f"xcap-{os.getpid()}-{next(_numbers)}"
        self._status = cwd / "status"
        variables = {"HOME": str(cwd), "XDG_STATE_HOME": str(cwd), **(environ or {})}
        given = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        xcap = f"{given} {shlex.join([*XCAP, *arguments])}; echo $? >{shlex.quote(str(self._status))}; sleep 60"
        self._tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(cwd), xcap)
        self.see("xcap>")

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._socket, "-f", "/dev/null", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout

    def keys(self, *keys: str) -> None:
        """Press keys."""
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type a text as it is."""
        self._tmux("send-keys", "-l", text)

    def screen(self) -> str:
        """What is to be seen, with what has scrolled away."""
        return self._tmux("capture-pane", "-p", "-S", "-2000")

    def visible(self) -> list[str]:
        """The lines that are to be seen."""
        return self._tmux("capture-pane", "-p").splitlines()

    def see(self, *expected: str) -> str:
        """Wait until all that is expected is to be seen; the whole screen."""
        deadline = time.monotonic() + PATIENCE
        while not all(text in (screen := self.screen()) for text in expected):
            assert time.monotonic() < deadline, screen
            time.sleep(0.05)
        return screen

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, self.screen()
            time.sleep(0.05)

    def process(self) -> int:
        """The number of xcap's process."""
        shell = self._tmux("display-message", "-p", "#{pane_pid}").strip()
        return int(subprocess.run(["pgrep", "-P", shell], check=True, capture_output=True, text=True).stdout.split()[0])

    def status(self) -> int:
        """Wait until xcap has ended; its exit status."""
        deadline = time.monotonic() + PATIENCE
        while not (self._status.exists() and self._status.read_text().strip()):
            assert time.monotonic() < deadline, self.screen()
            time.sleep(0.05)
        return int(self._status.read_text())

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], check=False, capture_output=True)
