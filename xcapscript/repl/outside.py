"""Programs that take the terminal for a while: the pager, the editor, the shell. Ctrl-C is meanwhile for them."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from xcapscript.errors import UsageError

LESS = "-RXF-Psq leaves?e, this is the end:, space goes on.$"
"""Colours, the screen left as it is, an end by itself of what is short, as git sets it; and a word on how to leave."""

EDITORS = ("sensible-editor", "vi", "nano")


def page(text: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Show a text by the user's pager; whether there is one."""
    command = shlex.split(environ.get("PAGER", "")) or ["less"]
    if shutil.which(command[0]) is None:
        return False
    subprocess.run(command, check=False, input=text, text=True, env={"LESS": LESS, **environ})
    return True


def edit(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """A text as the user's editor leaves it. UsageError if there is no editor, or it fails."""
    command = _editor(environ)
    with tempfile.TemporaryDirectory(prefix="xcap-") as folder:
        path = Path(folder, "clause.xcap")
        path.write_text(text, encoding="utf-8")
        status = subprocess.run([*command, str(path)], check=False).returncode
        if status:
            raise UsageError(f"{command[0]} ended with status {status}: nothing was changed")
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\n")


def _editor(environ: Mapping[str, str]) -> Sequence[str]:
    for name in ("VISUAL", "EDITOR"):
        if command := shlex.split(environ.get(name, "")):
            return command
    found = next((name for name in EDITORS if shutil.which(name)), None)
    if found is None:
        raise UsageError("there is no editor: set $EDITOR to the one that you like")
    return [found]


def shell(line: str) -> int:
    """Run a command of the shell; its exit status."""
    return subprocess.run(line, shell=True, check=False).returncode  # noqa: S602 -- the user's own


def ended(status: int) -> str:
    """How a command ended that did not end well; a signal's status is negative."""
    if status >= 0:
        return f"exit status {status}"
    if status == -signal.SIGINT:
        # the terminal has written ^C where the cursor was
        return "\ninterrupted by SIGINT"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal
        return f"ended by signal {-status}"
