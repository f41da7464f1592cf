"""Where the package's own files are, in a checkout and in a wheel, and where it keeps what it can make again."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from xcapscript.errors import KernelError

_PACKAGE = Path(__file__).resolve().parent
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def stdlib_directory() -> Path:
    """The libraries in the xcap language."""
    return _data("stdlib")


def bpf_directory() -> Path:
    """The fixed C, with its headers below `include`."""
    return _data("bpf")


def cache_directory() -> Path | None:
    """Our own directory below /var/cache for root, below $XDG_CACHE_HOME or ~/.cache for others.

    None, and KernelError, as of private_directory().
    """
    if os.geteuid() == 0:
        return private_directory(Path("/var/cache/xcapscript"))
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG base directory specification: a relative path is to be ignored.
    if base.is_absolute():
        return private_directory(base / "xcapscript")
    try:
        return private_directory(Path.home() / ".cache" / "xcapscript")
    except RuntimeError:
        return None


def private_directory(path: Path) -> Path | None:
    """`path`, made with mode 0700 if need be; None where it cannot be made or written.

    Raises KernelError when anybody else could have put something there: it is compiled, loaded and run as root.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.lstat()
    except OSError:
        return None
    _check_private(path, found)
    return path if os.access(path, os.W_OK | os.X_OK) else None


def _check_private(path: Path, found: os.stat_result) -> None:
    advice = f"look at what it is, and remove it: rm -r '{path}'"
    if not stat.S_ISDIR(found.st_mode):
        raise KernelError(f"'{path}' is not a directory", advice=advice)
    if found.st_uid != os.geteuid():
        raise KernelError(f"'{path}' belongs to another user (uid {found.st_uid})", advice=advice)
    if found.st_mode & _OTHERS_MAY_WRITE:
        raise KernelError(f"'{path}' can be written by others (mode {stat.S_IMODE(found.st_mode):o})", advice=advice)


def _data(name: str) -> Path:
    packaged = _PACKAGE / f"_{name}"
    return packaged if packaged.is_dir() else _PACKAGE.parent / name
