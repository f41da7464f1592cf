"""What was typed before: kept in a file of the user's own, from one prompt to the next."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from xcapscript.resources import private_directory

LARGEST, KEPT = 1 << 20, 1 << 18
"""Bytes that the file may have, and that are kept when it has more."""

ENTRY = b"\n# "
"""What an entry begins with."""


class FailingHistory(FileHistory):
    """A file that may be full, or gone: then what is typed is known until the prompt is left."""

    def load_history_strings(self) -> Iterable[str]:
        with suppress(OSError):
            return list(super().load_history_strings())
        return []

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(string)


def past(environ: Mapping[str, str] = os.environ, home: Path | None = None) -> History:
    """The history of this user, in $XDG_STATE_HOME or ~/.local/state. KernelError if others could have written it."""
    base = Path(environ.get("XDG_STATE_HOME", ""))
    try:
        # The XDG base directory specification: a relative path is to be ignored.
        base = base if base.is_absolute() else (home or Path.home()) / ".local" / "state"
    except RuntimeError:
        return InMemoryHistory()
    directory = private_directory(base / "xcapscript")
    if directory is None:
        return InMemoryHistory()
    path = directory / "history"
    with suppress(OSError):
        _shorten(path)
        path.touch(mode=0o600)
    return FailingHistory(path)


def _shorten(path: Path) -> None:
    """Leave the last entries of a file that has grown large."""
    if not path.exists() or path.stat().st_size <= LARGEST:
        return
    data = path.read_bytes()[-KEPT:]
    path.write_bytes(data[max(0, data.find(ENTRY)) :])
