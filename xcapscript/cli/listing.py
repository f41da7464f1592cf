"""`xcap -l`: the hooks that can be attached here."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TextIO

from xcapscript import quotes
from xcapscript.diagnostics import escape
from xcapscript.elf.binary import NotReadable
from xcapscript.errors import KernelError
from xcapscript.ir import Hook
from xcapscript.kernel.facts import Function, Kernel
from xcapscript.library import Library
from xcapscript.quotes import has_wildcard, quoted, unquoted
from xcapscript.sema.hooks.bindings import Bindings
from xcapscript.sema.hooks.devices import DEVICE_KINDS, WAYS, packet_of
from xcapscript.sema.hooks.functions import function_hook
from xcapscript.sema.hooks.programs import names_in
from xcapscript.sema.hooks.resolve import SHORT_NAMES
from xcapscript.sema.hooks.static import probes_in
from xcapscript.sema.hooks.tracepoints import raw_tracepoint_hook, tracepoint_hook
from xcapscript.source import Source
from xcapscript.syntax import ast
from xcapscript.unit import ENTRIES, USER_KINDS, HookKind

FUNCTION_KINDS = frozenset({HookKind.KPROBE, HookKind.KRETPROBE, HookKind.FENTRY, HookKind.FEXIT})


def list_hooks(pattern: str, kernel: Kernel, library: Library, out: TextIO, errors: TextIO, *, verbose: bool) -> int:
    """Print the hooks whose names match a pattern with wildcards, or contain it; how many there were."""
    count = 0
    kind, colon, target = pattern.partition(":")
    if colon and SHORT_NAMES.get(kind, kind) in USER_KINDS:
        return _list_program(kind, target, out, verbose=verbose)
    if colon and SHORT_NAMES.get(kind, kind) in FUNCTION_KINDS:
        return _list_functions(HookKind(SHORT_NAMES.get(kind, kind)), target, kernel, out, verbose=verbose)
    for name in _names(kernel, library, errors):
        if not _matches(pattern, name):
            continue
        count += 1
        print(escape(name), file=out)
        if verbose and ":" in name:
            for line in _details(name, kernel):
                print(f"    {escape(line)}", file=out)
    return count


def _matches(pattern: str, name: str) -> bool:
    """By wildcards, or as a part of the name; what is quoted in a pattern stands for itself."""
    if has_wildcard(pattern):
        return fnmatchcase(unquoted(name), quotes.pattern(pattern))
    return pattern in name or unquoted(pattern) in unquoted(name)


def _list_functions(kind: HookKind, target: str, kernel: Kernel, out: TextIO, *, verbose: bool) -> int:
    """The kernel's functions, and with `verbose` those that cannot be attached to, and why; KernelError if none can."""
    family = ENTRIES.get(kind, kind)
    if not kernel.attaches(family):
        raise KernelError(
            f"'{kind}' hooks do not work on this kernel", advice="see 'xcap --doctor' for what works here"
        )
    count = 0
    for name in kernel.functions(target if set("*?[") & set(target) else f"*{target}*"):
        module, _, plain = name.rpartition(":")
        facts, why_not = kernel.function(plain, module), kernel.why_not(plain)
        if why_not is None and family is HookKind.FENTRY and (facts is None or facts.arguments is None):
            why_not = "BTF has no prototype of it"
        if why_not is not None and not verbose:
            continue
        count += 1
        print(f"{kind}:{name}", file=out)
        if verbose:
            for line in _function_lines(kind, facts, why_not):
                print(f"    {line}", file=out)
    return count


def _function_lines(kind: HookKind, facts: Function | None, why_not: str | None) -> Iterator[str]:
    if facts is None or why_not is not None:
        yield f"cannot be attached to: {why_not or 'there are several of that name'}"
        return
    if facts.arguments is None:
        yield "BTF has no prototype of it: its arguments are arg0 ... arg5"
        return
    hook = function_hook(kind, facts, facts.name, Bindings(ast.Attach(facts.name, Source("-l", facts.name).span(0, 0))))
    yield from _arguments(hook)
    if hook.result is not None:
        yield f"retval: {hook.result.type}"
    if not hook.has_packet:
        yield "it is handed no packet; a binding such as (skb=arg0) says where one is"


def _list_program(kind: str, target: str, out: TextIO, *, verbose: bool) -> int:
    """What a program has; KernelError if it cannot be read."""
    count = 0
    try:
        found = probes_in(target) if SHORT_NAMES.get(kind, kind) == HookKind.USDT else names_in(target)
        for name, more in found:
            count += 1
            print(escape(f"{kind}:{name}"), file=out)
            if verbose:
                print(f"    {escape(more)}", file=out)
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
    yield from device_hooks(kernel)


def device_hooks(kernel: Kernel) -> Iterator[str]:
    """The hooks at the network interfaces of our own namespace."""
    for name in map(quoted, kernel.interfaces("")):
        yield from (f"xdp:{name}", *(f"tc:{name}:{way}" for way in WAYS), f"socket:{name}")


def _details(name: str, kernel: Kernel) -> Iterator[str]:
    kind, _, target = name.partition(":")
    if kind in DEVICE_KINDS:
        packet = packet_of(HookKind(kind))
        yield f"{packet.pointer.name}: {packet.pointer.type} (the packet)"
        if kind == HookKind.XDP and (program := kernel.xdp_program(unquoted(target))):
            yield f"cannot be attached to: the interface has {program} already"
        return
    hook = _hook(name, kernel)
    if hook is not None:
        yield from _arguments(hook)


def _arguments(hook: Hook) -> Iterator[str]:
    for argument in hook.arguments:
        mark = ""
        if hook.packet is not None and argument is hook.packet.pointer:
            mark = " (the packet)"
        elif argument is hook.reason:
            mark = " (the drop reason)"
        elif argument is hook.sock:
            mark = " (the socket)"
        yield f"args.{argument.name}: {argument.type}{mark}"


def _hook(name: str, kernel: Kernel) -> Hook | None:
    kind, _, target = name.partition(":")
    if kind == "rawtracepoint":
        facts = kernel.raw_tracepoint(target)
        return raw_tracepoint_hook(facts, name) if facts else None
    category, _, event = target.partition(":")
    found = kernel.tracepoint(category, event)
    return tracepoint_hook(found, name) if found else None
