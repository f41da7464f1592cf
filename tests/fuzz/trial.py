"""One program through the compiler, and through the formatter: what goes wrong, and how long it takes."""

from __future__ import annotations

import re
import signal
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from types import FrameType
from typing import Any

from tests.fuzz.programs import PARAMETERS
from xcapscript.codegen.generate import Options
from xcapscript.compiler import compile_script
from xcapscript.diagnostics import ScriptError, render
from xcapscript.errors import KernelError, UsageError
from xcapscript.kernel.facts import Kernel
from xcapscript.library import default_library
from xcapscript.sema import filter as sema_filter
from xcapscript.sema.analyse import Settings
from xcapscript.sema.filter import Parameters, Rules
from xcapscript.source import Source
from xcapscript.syntax import ast
from xcapscript.syntax.format import format_text
from xcapscript.syntax.parse import parse
from xcapscript.unit import LinkType, Unit

PATIENCE = 2.0
"""Seconds of CPU time that a program may take."""

HANGS = 30
"""Seconds after which it is taken to hang."""

NAMES = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")
SETTINGS = Settings(Parameters(PARAMETERS), Rules(resolve_names=False))
OPTIONS = Options(snaplen=512)


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with a program; `signature` is the same for programs that fail for one reason."""

    signature: str
    words: str
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a program."""

    accepted: bool
    seconds: float
    failure: Failure | None = None


class Hang(Exception):
    """It does not end."""


def _hang(_number: int, _frame: FrameType | None) -> None:
    raise Hang


def unit_of(text: str, kernel: Kernel) -> Unit:
    """The unit of a program; ScriptError if it is wrong."""
    return compile_script(Source("fuzz", text), default_library({}), kernel, SETTINGS, OPTIONS).unit


def compiled(text: str, kernel: Kernel, *, typed: bool) -> Outcome:
    """Parse, analyse and generate. A `typed` program must be accepted; others may be refused with a diagnostic."""
    signal.signal(signal.SIGALRM, _hang)
    signal.alarm(HANGS)
    start, accepted, failure = time.process_time(), False, None
    try:
        unit_of(text, kernel)
        accepted = True
    except ScriptError as error:
        words = "\n".join(map(render, error.diagnostics))
        if typed:
            first = error.diagnostics[0]
            failure = Failure(f"refused: {first.code} {NAMES.sub('_', first.message)}", words, text)
    except (UsageError, KernelError) as error:
        failure = Failure(f"refused: {NAMES.sub('_', str(error))}", str(error), text) if typed else None
    except Exception as error:  # noqa: BLE001 -- that is what is looked for
        failure = _crash(error, text)
    finally:
        signal.alarm(0)
    seconds = time.process_time() - start
    if failure is None and seconds > PATIENCE:
        failure = Failure("slow", f"{seconds:.1f} seconds", text)
    return Outcome(accepted, seconds, failure)


def _crash(error: Exception, text: str) -> Failure:
    last = traceback.extract_tb(error.__traceback__)[-1]
    words = "".join(traceback.format_exception(error)[-6:])
    return Failure(f"crash: {type(error).__name__} {last.filename}:{last.name}", words, text)


def formatted(text: str) -> Failure | None:
    """Formatting a program must keep its tree, and change nothing the second time."""
    try:
        once = format_text(Source("fuzz", text))
        if format_text(Source("fuzz", once)) != once:
            return Failure("format: twice", once, text)
        if bare(parse(Source("fuzz", once))) != bare(parse(Source("fuzz", text))):
            return Failure("format: another tree", once, text)
    except Exception as error:  # noqa: BLE001 -- a right program has no mistakes
        return _crash(error, text)
    return None


def bare(node: object) -> object:
    """A tree as nested tuples, without places and the ends of predicates."""
    if isinstance(node, tuple):
        return tuple(bare(part) for part in node)
    if isinstance(node, ast.Predicate):
        return node.text.strip()
    if is_dataclass(node):
        return type(node).__name__, *(bare(getattr(node, each.name)) for each in fields(node) if each.name != "span")
    return node


def keep_filters() -> None:
    """Ask libpcap for each expression once in this process."""
    original = sema_filter.compile_bounded

    @lru_cache(maxsize=20_000)
    def kept(text: str, links: tuple[LinkType, ...], netmask: int | None, resolve_names: bool) -> Any:  # noqa: FBT001
        return original(text, links, netmask=netmask, resolve_names=resolve_names)

    def compile_once(
        text: str, links: Sequence[LinkType], *, netmask: int | None, resolve_names: bool, **_: Any
    ) -> Any:
        return kept(text, tuple(links), netmask, resolve_names)

    sema_filter.compile_bounded = compile_once  # type: ignore[assignment]
