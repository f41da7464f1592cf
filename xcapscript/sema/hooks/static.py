"""usdt: static probes of programs, whose notes tell where each is and where its arguments are."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from xcapscript.diagnostics import Code, did_you_mean
from xcapscript.elf.binary import Binary, NotReadable
from xcapscript.elf.notes import StaticProbe, static_probes
from xcapscript.ir import Hook
from xcapscript.nodes.hook import HookArgument
from xcapscript.quotes import has_wildcard, partition, pattern, quoted, split, unquoted
from xcapscript.sema.hooks.bindings import Bindings
from xcapscript.sema.hooks.buffers import BUFFER_NAMES, buffer_packet
from xcapscript.sema.hooks.mbufs import MBUF_NAMES, mbuf_packet
from xcapscript.sema.hooks.operands import operand
from xcapscript.sema.hooks.programs import open_binary, read_binary
from xcapscript.sema.refusal import refuse
from xcapscript.syntax import ast
from xcapscript.types import S64, U64
from xcapscript.unit import Attachment, HookKind, Site


def resolve_static(attach: ast.Attach, target: str, shown: str, bindings: Bindings) -> list[Hook]:
    """The hooks at a static probe, one for each way in which its places have their arguments; ScriptError if none."""
    bindings.allow((*BUFFER_NAMES, *MBUF_NAMES))
    shown = partition(shown, "(")[0] if shown == attach.text else shown
    path, provider_text, name_text = _parts(target)
    provider, name = pattern(provider_text), pattern(name_text)
    if not path or not name:
        hint = "write usdt:PATH:PROVIDER:NAME; see xcap -l 'usdt:PATH:*'"
        refuse(Code.BAD_HOOK, attach, f"'{attach.text}' names no static probe", hint)
    binary = open_binary(attach, unquoted(path))
    try:
        probes = list(static_probes(binary))
    except NotReadable as error:
        refuse(Code.MISSING_HOOK, attach, str(error))
    found = [one for one in probes if fnmatchcase(one.provider, provider) and fnmatchcase(one.name, name)]
    if not found:
        wanted = name_text if provider == "*" else f"{provider_text}:{name_text}"
        known = sorted({one.name if provider == "*" else f"{one.provider}:{one.name}" for one in probes})
        hints = did_you_mean(wanted, known) or ((f"it has {' '.join(known[:8])}",) if known else ())
        nothing = "" if known else ": it has none at all"
        refuse(Code.MISSING_HOOK, attach, f"'{binary.name}' has no static probe '{wanted}'{nothing}", *hints)
    groups: dict[tuple[str, ...], list[StaticProbe]] = {}
    for one in found:
        groups.setdefault(one.arguments, []).append(one)
    return [_hook(attach, binary, target, group, shown, bindings) for group in groups.values()]


def probes_in(target: str) -> Iterator[tuple[str, str]]:
    """What `PATH:PATTERN` names: each static probe, and where its arguments are. Raises NotReadable."""
    path, provider, name = _parts(target)
    binary = read_binary(unquoted(path or name))
    wanted = pattern(name if path and has_wildcard(name) else f"*{name if path else ''}*")
    seen: dict[str, list[StaticProbe]] = {}
    for one in static_probes(binary):
        if fnmatchcase(one.provider, pattern(provider)) and fnmatchcase(one.name, wanted):
            seen.setdefault(f"{quoted(one.provider)}:{quoted(one.name)}", []).append(one)
    for label, places in sorted(seen.items()):
        arguments = " ".join(f"arg{n}={text}" for n, text in enumerate(places[0].arguments)) or "no arguments"
        yield (
            f"{quoted(unquoted(path or name), path=True)}:{label}",
            f"{len(places)} place{'s' * (len(places) != 1)}, {arguments}",
        )


def _parts(target: str) -> tuple[str, str, str]:
    """The path, the provider, for which any will do, and the name."""
    parts = split(target, ":", 2)
    if len(parts) == 3:
        return parts[0], parts[1] or "*", parts[2]
    return (parts[0], "*", parts[1]) if len(parts) == 2 else ("", "*", target)


def _hook(
    attach: ast.Attach, binary: Binary, target: str, group: list[StaticProbe], shown: str, bindings: Bindings
) -> Hook:
    names = sorted({one.name for one in group})
    sites = []
    for one in group:
        offset = binary.offset(one.address)
        semaphore = binary.offset(one.semaphore, code=False) if one.semaphore else 0
        if offset is None or semaphore is None:
            refuse(
                Code.MISSING_HOOK, attach, f"'{binary.name}' is damaged: it has no code where '{one.name}' should be"
            )
        sites.append(Site(offset, names.index(one.name), semaphore))
    arguments = []
    for number, text in enumerate(group[0].arguments):
        place = operand(text)
        if place is not None:
            arguments.append(HookArgument(f"arg{number}", S64 if place.signed else U64, place))
    known, most = tuple(arguments), len(group[0].arguments)
    attachment = Attachment(HookKind.USDT, target, functions=tuple(names), path=binary.name, sites=tuple(sites))
    packet = mbuf_packet(bindings, known, most, binary) or buffer_packet(bindings, known, most)
    return Hook(shown, attachment, known, packet)
