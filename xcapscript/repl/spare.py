"""The compiler's process that the next clause takes, which warms up while one types."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from xcapscript.runtime.compiler_process import CompilerProcess


class Spare:
    """A compiler's process that is warm before it is needed."""

    def __init__(self, make: Callable[[], CompilerProcess] = CompilerProcess) -> None:
        self._make = make
        self._lock = Lock()
        self._process: CompilerProcess | None = None
        self._closed = False

    def warm(self) -> None:
        """Have one."""
        with self._lock:
            if self._process is None and not self._closed:
                self._process = self._make()

    def take(self) -> CompilerProcess:
        """One to be used."""
        with self._lock:
            process, self._process = self._process, None
        return process or self._make()

    def close(self) -> None:
        """End the one that nobody took."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            process.close()
