"""`xcap --fmt`: rewrites programs in the usual style, each file as a whole or not at all."""

from __future__ import annotations

import codecs
import difflib
import os
import stat
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from xcapscript.diagnostics import ScriptError, escape, render
from xcapscript.errors import KernelError, UsageError
from xcapscript.source import Source
from xcapscript.syntax.format import format_text

CHANGED, WRONG_SCRIPT, WRONG_USAGE, WRONG_MACHINE = 1, 1, 2, 3
STDIN = "-"


@dataclass(frozen=True, slots=True)
class _Formatter:
    """What is done with each program."""

    output: TextIO
    errors: TextIO
    diff: bool

    def program(self, source: Source, path: Path | None) -> int:
        """Format one program, in the file that it came from or to the output; the exit status."""
        text = format_text(source)
        if self.diff:
            self.output.write(_difference(source, text))
            return CHANGED if text != source.text else 0
        if path is None:
            self.output.write(text)
        elif text != source.text:
            _rewrite(path, text)
            print(escape(source.name), file=self.errors)
        return 0


def format_programs(
    one_liner: Source | None,
    files: Sequence[str],
    read: Callable[[str], Source],
    output: TextIO,
    errors: TextIO,
    *,
    diff: bool,
) -> int:
    """Format a one-liner or files; the worst exit status of all. What is wrong with one does not stop the others."""
    formatter = _Formatter(output, errors, diff)
    if one_liner is not None:
        return formatter.program(one_liner, None)
    worst = 0
    for name in files:
        try:
            status = formatter.program(read(name), None if name == STDIN else Path(name))
        except ScriptError as error:
            for diagnostic in error.diagnostics:
                print(render(diagnostic), file=errors)
            status = WRONG_SCRIPT
        except UsageError as error:
            print(f"xcap: {escape(str(error))}", file=errors)
            status = WRONG_USAGE
        except KernelError as error:
            print(f"xcap: {escape(error.message)}", file=errors)
            status = WRONG_MACHINE
        worst = max(worst, status)
    return worst


def _difference(source: Source, text: str) -> str:
    """A unified diff from what is written to how it should be."""
    # not by splitlines(), which ends lines at other characters as well
    before, after = ([line + "\n" for line in each.split("\n")] for each in (source.text, text))
    for lines in (before, after):
        last = lines.pop().removesuffix("\n")
        if last:
            lines.append(f"{last}\n\\ No newline at end of file\n")
    return "".join(difflib.unified_diff(before, after, source.name, source.name))


def _rewrite(path: Path, text: str) -> None:
    """Replace a file's text in one step; KernelError, and the file as it was, if that cannot be done."""
    try:
        # a symbolic link stays one
        target = path.resolve(strict=True)
        before = target.stat()
        if not stat.S_ISREG(before.st_mode):
            raise KernelError(f"cannot write '{path}': it is not a regular file")
        if not os.access(target, os.W_OK):
            raise KernelError(f"cannot write '{path}': Permission denied")
        _replace(target, before, _encoded(text, target.read_bytes()))
    except OSError as error:
        raise KernelError(f"cannot write '{path}': {error.strerror}") from None


def _encoded(text: str, before: bytes) -> bytes:
    """The text with the line ends and the byte order mark that the file has."""
    mark = codecs.BOM_UTF8 if before.startswith(codecs.BOM_UTF8) else b""
    return mark + (text.replace("\n", "\r\n") if b"\r\n" in before else text).encode()


def _replace(target: Path, before: os.stat_result, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            made = os.fstat(descriptor)
            if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            os.fsync(descriptor)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink()
        raise
