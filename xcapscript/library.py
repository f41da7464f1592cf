"""Finding the scripts that `import` and bare hook names mean."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xcapscript.resources import stdlib_directory
from xcapscript.source import Source, Span, read_script

SUFFIX = ".xcap"
_HOOK = re.compile(r"^hook\s+([A-Za-z_]\w*)\s*=", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Library:
    """Where libraries are looked for: beside the importing script, in `directories`, then in the standard library. The
    script itself is meant only where no other has the name.
    """

    directories: tuple[Path, ...]
    stdlib: Path

    def find(self, name: str, importer: Source, imported_at: Span | None) -> Source | None:
        """The script that `import "name"` in `importer` means; None if there is none.

        OSError if it cannot be read or, when root imports it, if anybody could have written it.
        """
        found = [path for path in self.candidates(name, importer) if _is_file(path)]
        path = next((path for path in found if path != Path(importer.name)), found[0] if found else None)
        if path is None:
            return None
        if not path.is_relative_to(self.stdlib):
            _check_writers(path)
        return Source(str(path), read_script(path), imported_at)

    def candidates(self, name: str, importer: Source) -> list[Path]:
        """The files tried for a name, in order."""
        relative = Path(name if name.endswith(SUFFIX) else name + SUFFIX)
        folders = [Path(importer.name).parent, *self.directories, self.stdlib]
        return [folder / relative for folder in folders]

    def standard(self, name: str) -> Source | None:
        """The standard library's script of that name, which defines the hook of that name."""
        path = self.stdlib / (name + SUFFIX)
        return Source(str(path), path.read_text(encoding="utf-8")) if name.isidentifier() and _is_file(path) else None

    def standard_hooks(self) -> Mapping[str, str]:
        """The hooks that the standard library's scripts define, and which script does."""
        texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(self.stdlib.glob("*" + SUFFIX))}
        return {hook: name for name, text in texts.items() for hook in _HOOK.findall(text)}

    def standard_names(self) -> Sequence[str]:
        """The names of the standard library's scripts, sorted."""
        return sorted(path.stem for path in self.stdlib.glob("*" + SUFFIX))


def _is_file(path: Path) -> bool:
    """Also for names that are too long, or have a NUL, which no file has."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _check_writers(path: Path) -> None:
    """Refuse what everybody can write, or put in its place: it would run as root. Others run what they like."""
    if os.geteuid() != 0:
        return
    for place in dict.fromkeys((Path(os.path.abspath(path)), path.resolve())):  # noqa: PTH100 -- links are to be seen
        for one in (place, *place.parents):
            found = one.lstat()
            if stat.S_ISLNK(found.st_mode):
                continue
            if found.st_mode & stat.S_IWOTH and not _keeps_owners(found):
                raise PermissionError(f"everybody can write '{one}', and what it imports would run as root")
            above = one.parent.lstat()
            if above.st_mode & stat.S_IWOTH and found.st_uid not in _trusted():
                raise PermissionError(f"'{one}' is another user's, in a directory that everybody can write")


def _keeps_owners(found: os.stat_result) -> bool:
    """Whether it is a directory such as /tmp, in which nobody can replace what is another user's."""
    return stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX) and found.st_uid in _trusted()


def _trusted() -> frozenset[int]:
    """Root, and who became root by sudo."""
    caller = os.environ.get("SUDO_UID", "")
    return frozenset({0, int(caller)} if caller.isdecimal() else {0})


def default_library(environment: Mapping[str, str] = os.environ) -> Library:
    """The library with the directories of $XCAP_PATH (separated by colons)."""
    directories = tuple(Path(part) for part in environment.get("XCAP_PATH", "").split(":") if part)
    return Library(directories, stdlib_directory())
