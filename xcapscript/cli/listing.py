"""`xcap -l`: the hooks that can be attached here."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TextIO

from xcapscript.diagnostics import escape
from xcapscript.elf.binary import NotReadable
from xcapscript.errors import KernelError
from xcapscript.ir import Hook
from xcapscript.kernel.facts import Kernel
from xcapscript.library import Library
from xcapscript.sema.hooks.programs import names_in
from xcapscript.sema.hooks.resolve import SHORT_NAMES
from xcapscript.sema.hooks.tracepoints import raw_tracepoint_hook, tracepoint_hook
from xcapscript.unit import USER_KINDS


def list_hooks(pattern: str, kernel: Kernel, library: Library, out: TextIO, errors: TextIO, *, verbose: bool) -> int:
    """Print the hooks whose names match a pattern with wildcards, or contain it; how many there were."""
    count = 0
    kind, colon, target = pattern.partition(":")
    if colon and SHORT_NAMES.get(kind, kind) in USER_KINDS:
        return _list_program(kind, target, out, verbose=verbose)
    for name in _names(kernel, library, errors):
        if not (fnmatchcase(name, pattern) if set("*?[") & set(pattern) else pattern in name):
            continue
        count += 1
        print(name, file=out)
        if verbose and ":" in name:
            for line in _details(name, kernel):
                print(f"    {line}", file=out)
    return count


def _list_program(kind: str, target: str, out: TextIO, *, verbose: bool) -> int:
    """What a program has; KernelError if it cannot be read."""
    count = 0
    try:
        for name, more in names_in(target):
            count += 1
            print(escape(f"{kind}:{name}"), file=out)
            if verbose:
                print(f"    {more}", file=out)
    except NotReadable as error:
        raise KernelError(str(error), advice=f"write {kind}:PATH:PATTERN, for instance {kind}:libc:recv*") from None
    return count


def _names(kernel: Kernel, library: Library, errors: TextIO) -> Iterator[str]:
    yield from library.standard_names()
    yield from (f"rawtracepoint:{name}" for name in kernel.raw_tracepoints())
    try:
        yield from (f"tracepoint:{name}" for name in kernel.tracepoints())
    except KernelError as error:
        print(f"xcap: tracepoints are not listed: {error.message}", file=errors)


def _details(name: str, kernel: Kernel) -> Iterator[str]:
    hook = _hook(name, kernel)
    if hook is None:
        return
    for argument in hook.arguments:
        mark = " (the packet)" if argument is hook.skb else " (the drop reason)" if argument is hook.reason else ""
        yield f"args.{argument.name}: {argument.type}{mark}"


def _hook(name: str, kernel: Kernel) -> Hook | None:
    kind, _, target = name.partition(":")
    if kind == "rawtracepoint":
        facts = kernel.raw_tracepoint(target)
        return raw_tracepoint_hook(facts, name) if facts else None
    category, _, event = target.partition(":")
    found = kernel.tracepoint(category, event)
    return tracepoint_hook(found, name) if found else None
