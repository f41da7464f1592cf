"""The program under test, run as a user runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

XCAP = (str(Path(sys.executable).with_name("xcap")),)
PATIENCE = 900 if "XCAP_VM" in os.environ else 60
"""Seconds. In a virtual machine without KVM a program takes half a minute to compile, and on a busy machine minutes."""


@dataclass(frozen=True)
class Done:
    """What a run left."""

    status: int
    out: str
    err: str

    @property
    def lost(self) -> int:
        match = re.search(r"(\d+) lost", self.err)
        assert match, self.err
        return int(match[1])


def run(*arguments: str, stdin: str | None = None, cwd: Path | None = None) -> Done:
    """Run to the end."""
    done = subprocess.run(
        [*XCAP, *arguments], check=False, capture_output=True, text=True, timeout=PATIENCE, input=stdin, cwd=cwd
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Running:
    """A run in the background, which has attached its probes when the constructor returns."""

    def __init__(self, *arguments: str, cwd: Path | None = None) -> None:
        self._out, self._err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen([*XCAP, *arguments], stdout=self._out, stderr=self._err, cwd=cwd)
        deadline = time.monotonic() + PATIENCE
        while " attached" not in self._read(self._err):
            assert self.process.poll() is None, self._read(self._err)
            assert time.monotonic() < deadline, self._read(self._err)
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGINT) -> Done:
        """Send a signal, and wait for the end."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> Done:
        status = self.process.wait(PATIENCE)
        return Done(status, self._read(self._out), self._read(self._err))

    def told(self) -> str:
        """What it has written to standard error until now."""
        return self._read(self._err)

    @staticmethod
    def _read(file: object) -> str:
        file.seek(0)  # type: ignore[attr-defined]
        return file.read()  # type: ignore[attr-defined]
