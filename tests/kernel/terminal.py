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


class Screen:
    """A terminal of its own, with a command in it. Keys are named as tmux names them: Enter, C-c, Tab."""

    def __init__(self, cwd: Path, command: str, columns: int, rows: int) -> None:
        self._socket = f"xcap-{os.getpid()}-{next(_numbers)}"
        self._tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(cwd), command)

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._socket, "-f", "/dev/null", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout

    def keys(self, *keys: str) -> None:
        """Press keys."""
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type a text as it is."""
        # a ';' at the end of an argument would end tmux's command
        self._tmux("send-keys", "-l", "--", f"{text[:-1]}\\;" if text.endswith(";") else text)

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

    def open(self, *expected: str) -> None:
        """Wait for what is to be seen first; if it never is, nothing is left behind."""
        try:
            self.see(*expected)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], check=False, capture_output=True)
        Path(f"/tmp/tmux-{os.getuid()}", self._socket).unlink(missing_ok=True)


class Terminal(Screen):
    """A terminal in which xcap is open."""

    def __init__(
        self, cwd: Path, *arguments: str, columns: int = 120, rows: int = 40, environ: Mapping[str, str] | None = None
    ) -> None:
        self._status = cwd / "status"
        xcap = shlex.join([*XCAP, *arguments])
        errors = shlex.quote(str(cwd / "errors"))
        command = f"{_given(cwd, environ or {})} {xcap} 2>{errors}; echo $? >{shlex.quote(str(self._status))}; sleep 60"
        super().__init__(cwd, command, columns, rows)
        self.open("xcap>")

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


class Shell(Screen):
    """A terminal with a shell in which `xcap` is the command under test."""

    def __init__(self, cwd: Path, columns: int = 110, rows: int = 40) -> None:
        path = f"{Path(XCAP[0]).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        environ = {"PATH": path, "PS1": "# ", "TERM": "screen"}
        super().__init__(cwd, f"{_given(cwd, environ)} bash --norc", columns, rows)
        self.open("#")

    def clear(self) -> None:
        """Forget what was to be seen; what is typed at draws itself again, at a place that it knows."""
        self._tmux("send-keys", "-R")
        self._tmux("clear-history")
        self.keys("C-l")

    def complete(self, text: str) -> None:
        """Tab, until the line no longer ends with the text that was typed."""
        self.until(lambda: self._line().endswith(text))
        while self._line().endswith(text):
            self.keys("Tab")
            time.sleep(0.3)

    def settle(self, text: str) -> None:
        """Wait until the end of a text is to be seen: the program that it is for has taken it."""
        end = text.rsplit(maxsplit=1)[-1][-12:]
        self.until(lambda: end in self.screen())

    def _line(self) -> str:
        return next((line for line in reversed(self.visible()) if line.startswith(("xcap>", "....>"))), "")


def _given(cwd: Path, environ: Mapping[str, str]) -> str:
    """Variables as a shell takes them in front of a command: what is kept lies in the test's own directory."""
    variables = {"HOME": str(cwd), "XDG_STATE_HOME": str(cwd), **environ}
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
