"""Finding the scripts that `import` and bare hook names mean."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xcapscript.resources import stdlib_directory
from xcapscript.source import Source, Span

SUFFIX = ".xcap"


@dataclass(frozen=True, slots=True)
class Library:
    """Where libraries are looked for: beside the importing script, in `directories`, then in the standard library."""

    directories: tuple[Path, ...]
    stdlib: Path

    def find(self, name: str, importer: Source, imported_at: Span | None) -> Source | None:
        """The script that `import "name"` in `importer` means; None if there is none. OSError if it cannot be read."""
        for path in self.candidates(name, importer):
            if _is_file(path):
                return Source(str(path), path.read_text(encoding="utf-8"), imported_at)
        return None

    def candidates(self, name: str, importer: Source) -> list[Path]:
        """The files tried for a name, in order."""
        relative = Path(name if name.endswith(SUFFIX) else name + SUFFIX)
        folders = [Path(importer.name).parent, *self.directories, self.stdlib]
        return [folder / relative for folder in folders]

    def standard(self, name: str) -> Source | None:
        """The standard library's script of that name, which defines the hook of that name."""
        path = self.stdlib / (name + SUFFIX)
        return Source(str(path), path.read_text(encoding="utf-8")) if name.isidentifier() and _is_file(path) else None

    def standard_names(self) -> Sequence[str]:
        """The names of the standard library's scripts, sorted."""
        return sorted(path.stem for path in self.stdlib.glob("*" + SUFFIX))


def _is_file(path: Path) -> bool:
    """Also for names that are too long, or have a NUL, which no file has."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def default_library(environment: Mapping[str, str] = os.environ) -> Library:
    """The library with the directories of $XCAP_PATH (separated by colons)."""
    directories = tuple(Path(part) for part in environment.get("XCAP_PATH", "").split(":") if part)
    return Library(directories, stdlib_directory())
