"""What a script calls a network namespace or a cgroup (a name, a path or a process), to the kernel's number of it.

Both are inodes: of a file in nsfs (nsfs(7)), and of a directory in the file system of cgroups, version 2 (its id).
"""

from __future__ import annotations

import errno
import fcntl
import re
from collections.abc import Sequence
from pathlib import Path

from xcapscript.diagnostics import did_you_mean
from xcapscript.kernel.facts import NotFound
from xcapscript.kernel.interfaces import CLONE_NEWNET
from xcapscript.kernel.rights import why_not_looked_at

NAMESPACES = Path("/run/netns")
"""Where ip-netns(8) keeps them."""

PROC = Path("/proc")

_PROCESS = re.compile(r"pid:([0-9]{1,10})")
_FORMS = "it takes a name of ip netns, a path as /proc/1234/ns/net, or pid:1234"
_CGROUP_FORMS = "it takes a path below {}, or pid:1234"
_NS_GET_NSTYPE = 0xB703
_UNIFIED = "0::"
"""How the line of /proc/PID/cgroup begins that is about version 2."""


def namespace_path(text: str) -> Path:
    """The file of the namespace that a text names; NotFound if there is none."""
    network_namespace(text)
    process = _PROCESS.fullmatch(text)
    if process is not None:
        return PROC / process[1] / "ns" / "net"
    return Path(text) if "/" in text else NAMESPACES / text


def network_namespace(text: str) -> int:
    """The inode of the namespace that a text names; NotFound if there is none."""
    if process := _PROCESS.fullmatch(text):
        _need_process(process[1])
        return _inode_of_namespace(text, PROC / process[1] / "ns" / "net", (_FORMS,))
    if "/" in text:
        return _inode_of_namespace(text, Path(text), (_FORMS,))
    hints = did_you_mean(text, _names_in(NAMESPACES)) or ("see 'ip netns'", _FORMS)
    if text in ("", ".", ".."):
        raise NotFound(f"there is no network namespace '{text}'", *hints)
    return _inode_of_namespace(text, NAMESPACES / text, hints)


def cgroup(text: str) -> int:
    """The id of the cgroup (version 2) that a text names; NotFound if there is none."""
    root = cgroup_root()
    if root is None:
        raise NotFound("no cgroups of version 2 are mounted", "mount -t cgroup2 none /sys/fs/cgroup")
    if process := _PROCESS.fullmatch(text):
        _need_process(process[1])
        text = _cgroup_of(process[1])
    path = Path(text) if _is_below(text, root) else root / text.lstrip("/")
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        hints = did_you_mean(path.name, _names_in(path.parent)) or (_CGROUP_FORMS.format(root),)
        raise NotFound(_missing("cgroup", text, error), *hints) from None
    if found.st_dev != root.stat().st_dev or not path.is_dir():
        raise NotFound(f"'{text}' is no cgroup", _CGROUP_FORMS.format(root))
    return found.st_ino


def cgroup_root(mounts: Path = PROC / "self" / "mountinfo") -> Path | None:
    """Where cgroups of version 2 are mounted."""
    for line in mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if after.split(" ")[0] == "cgroup2":
            # proc(5): blanks and backslashes are octal escapes
            return Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), before.split(" ")[4]))
    return None


def _inode_of_namespace(text: str, path: Path, hints: tuple[str, ...]) -> int:
    try:
        found = path.stat()
        # what is opened is a namespace: devices and pipes are not touched
        if found.st_dev == (PROC / "self" / "ns" / "net").stat().st_dev:
            with path.open("rb", buffering=0) as file:
                if fcntl.ioctl(file, _NS_GET_NSTYPE) == CLONE_NEWNET:
                    return found.st_ino
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            hints = (why_not_looked_at(),)
        raise NotFound(_missing("network namespace", text, error), *hints) from None
    raise NotFound(f"'{text}' is no network namespace", _FORMS)


def _missing(kind: str, text: str, error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return f"cannot look at {kind} '{text}': {error.strerror}"
    return f"there is no {kind} '{text}'"


def _need_process(number: str) -> None:
    if not (PROC / number).exists():
        raise NotFound(f"there is no process {number}")


def _cgroup_of(number: str) -> str:
    """The path of a process's cgroup."""
    try:
        text = (PROC / number / "cgroup").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        raise NotFound(f"there is no process {number}") from None  # it ended meanwhile
    lines = text.split("\n")
    path = next((line.removeprefix(_UNIFIED) for line in lines if line.startswith(_UNIFIED)), None)
    if path is None:
        raise NotFound(f"process {number} is in no cgroup of version 2")
    return path


def _is_below(text: str, root: Path) -> bool:
    return text == str(root) or text.startswith(f"{root}/")


def _names_in(directory: Path) -> Sequence[str]:
    try:
        return sorted(path.name for path in directory.iterdir())
    except (OSError, ValueError):
        return ()
