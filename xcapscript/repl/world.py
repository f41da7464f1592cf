"""What can be named here: the hooks of this kernel, in lists that a thread makes; interfaces, namespaces and hosts."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Thread

from xcapscript.cli.listing import FUNCTION_KINDS, list_hooks
from xcapscript.cli.scripthelp import doc_comment
from xcapscript.diagnostics import ScriptError
from xcapscript.elf.binary import NotReadable
from xcapscript.errors import KernelError
from xcapscript.kernel.facts import Kernel
from xcapscript.kernel.interfaces import own_interfaces
from xcapscript.library import Library
from xcapscript.quotes import quoted, split
from xcapscript.repl.fuzzy import Names
from xcapscript.sema.hooks.programs import names_in
from xcapscript.unit import ENTRIES, HookKind

HOSTS, SERVICES, NAMESPACES = Path("/etc/hosts"), Path("/etc/services"), Path("/run/netns")


@dataclass(frozen=True, slots=True)
class World:
    """All that completion reads.

    The targets of each kind of hook; the maps and numbers of clauses; what predicates name.
    """

    library: Library
    kernel: Kernel
    hooks: Mapping[str, Names] = field(default_factory=dict)
    maps: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    files: Callable[[str], Sequence[str]] = lambda _start: ()
    """The paths that begin so."""

    symbols: Callable[[str], Sequence[str]] = lambda _path: ()
    """The functions of a program."""


@dataclass(slots=True)
class Facts:
    """What takes a while to be read, and is read once, in a thread."""

    kernel: Kernel
    library: Library
    hooks: Mapping[str, Names] = field(default_factory=dict)
    interfaces: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    _thread: Thread | None = None

    def read(self) -> None:
        """Begin to read; what is not there yet is not completed."""
        self._thread = Thread(target=self._read, name="names", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until all has been read."""
        if self._thread is not None:
            self._thread.join()

    def _read(self) -> None:
        self.hosts = tuple(_words(HOSTS, 1, None))
        self.services = tuple(_words(SERVICES, 0, 1))
        self.look_around()
        self.hooks = hooks_by_kind(self.kernel, self.library)

    def look_around(self) -> None:
        """Interfaces and namespaces come and go."""
        try:
            self.interfaces = tuple(sorted(own_interfaces()))
            self.namespaces = tuple(sorted(path.name for path in NAMESPACES.iterdir())) if NAMESPACES.is_dir() else ()
        except OSError:
            self.interfaces = self.namespaces = ()

    def world(self, maps: Iterable[str], jobs: Iterable[str]) -> World:
        """What is known now."""
        return World(
            library=self.library,
            kernel=self.kernel,
            hooks=self.hooks,
            maps=tuple(dict.fromkeys(maps)),
            jobs=tuple(jobs),
            interfaces=self.interfaces,
            namespaces=self.namespaces,
            hosts=self.hosts,
            services=self.services,
            files=files_beginning,
            symbols=symbols_of,
        )


def files_beginning(start: str) -> list[str]:
    """The files whose paths begin so, sorted; directories with a '/' behind them."""
    folder, slash, name = start.rpartition("/")
    where = Path(f"{folder}{slash}" or ".").expanduser()
    try:
        found = [path for path in where.iterdir() if path.name.startswith(name)]
        hidden = [path for path in found if name.startswith(".") or not path.name.startswith(".")]
        return sorted(f"{folder}{slash}{path.name}{'/' * path.is_dir()}" for path in hidden)
    except OSError:
        return []


@lru_cache(maxsize=8)
def symbols_of(path: str) -> tuple[str, ...]:
    """The functions of a program, or a library, that can be attached to; none if it cannot be read."""
    try:
        return tuple(split(name, ":", 1)[1] for name, _ in names_in(f"{quoted(path, path=True)}:*"))
    except (KernelError, NotReadable):
        return ()


def hooks_by_kind(kernel: Kernel, library: Library) -> dict[str, Names]:
    """The targets of each kind of hook: what `xcap -l` lists, and the kernel's functions where they can be attached."""
    found = _listed(kernel, library)
    kinds = [kind for kind in FUNCTION_KINDS if kind not in found and _attaches(kernel, kind)]
    if kinds:
        functions = Names.of(kernel.functions("*"))
        found |= dict.fromkeys(map(str, kinds), functions)
    return found


def _attaches(kernel: Kernel, kind: HookKind) -> bool:
    entry = ENTRIES.get(kind, kind)
    try:
        return kernel.attaches(entry.value)
    except KernelError:
        return False


def _listed(kernel: Kernel, library: Library) -> dict[str, Names]:
    text = io.StringIO()
    try:
        list_hooks("*", kernel, library, text, io.StringIO(), verbose=False)
    except (KernelError, ScriptError):
        return {}
    found: dict[str, list[str]] = {}
    for line in text.getvalue().splitlines():
        kind, colon, target = line.partition(":")
        if colon:
            found.setdefault(kind, []).append(target)
    return {kind: Names.of(targets) for kind, targets in found.items()}


def library_doc(library: Library, name: str) -> str:
    """The first line of what a library says of itself."""
    source = library.standard(name)
    lines = list(doc_comment(source.text)) if source is not None else []
    return lines[0].removeprefix(f"{name}: ") if lines else ""


def _words(path: Path, first: int, last: int | None) -> Sequence[str]:
    """The words of these columns of a table such as /etc/hosts, without its comments."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    return sorted({word for line in lines for word in line.partition("#")[0].split()[first:last]})
