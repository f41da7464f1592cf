"""What may be meant by what is being typed: a function of the text, the cursor and what is known of the machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xcapscript.builtins import REASON, REASON_ENUM
from xcapscript.cli.listing import device_hooks
from xcapscript.errors import KernelError
from xcapscript.kernel.facts import Kernel
from xcapscript.quotes import begun, quoted, split, unquoted
from xcapscript.repl.binding import in_group
from xcapscript.repl.command import Takes
from xcapscript.repl.commands import COMMANDS
from xcapscript.repl.fuzzy import like
from xcapscript.repl.help import TOPICS
from xcapscript.repl.members import hooks_called, members
from xcapscript.repl.place import Part, Place, place_of
from xcapscript.repl.reading import is_command
from xcapscript.repl.settings import SETTINGS
from xcapscript.repl.words import (
    ACTION_DOCS,
    AGGREGATION_DOCS,
    DEFINITION_DOCS,
    FIELD_DOCS,
    FUNCTION_DOCS,
    KEYWORD_DOCS,
    KIND_DOCS,
    LAYER_DOCS,
    OPTION_DOCS,
    VALUE_DOCS,
)
from xcapscript.repl.world import World, library_doc
from xcapscript.sema.hooks.devices import DEVICE_KINDS
from xcapscript.sema.hooks.resolve import SHORT_NAMES
from xcapscript.sinks.values import labels
from xcapscript.syntax.highlight import PRIMITIVES
from xcapscript.types import EnumType
from xcapscript.unit import USER_KINDS, HookKind

BARE = frozenset({HookKind.BEGIN, HookKind.END})
"""Kinds of hooks that have no target."""

KINDS = tuple(HookKind)

PERIODS = {"1s": "once a second", "10s": "", "100ms": "", "hz:10": "ten times a second"}
FLAGS = ("tcp-fin", "tcp-syn", "tcp-rst", "tcp-push", "tcp-ack", "tcp-urg", "tcp-ece", "tcp-cwr")
OFFSET_WORDS = ("tcpflags", "icmptype", "icmpcode", "icmp6type", "icmp6code", "icmp-echo", "icmp-echoreply", *FLAGS)
TCPDUMP = "tcpdump"
COMPARED = re.compile(r"(?P<what>[\w.]+)\s*(?:==|!=)\s*\w*\Z")
STATEMENT = re.compile(r"\s*\w*\Z")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may be meant: it takes the place of what stands from `start` to the cursor. `meta` says what it is."""

    text: str
    start: int
    meta: str = ""


def complete(text: str, cursor: int, world: World) -> list[Candidate]:
    """What may stand where the cursor is, the likeliest first."""
    before = text[:cursor]
    if is_command(before):
        return _of_command(before, world)
    place = place_of(before)
    match place.part:
        case Part.HEAD:
            return _of_head(before, place, world)
        case Part.BINDING:
            return _of_binding(before, place.hooks[-1], place.text, world)
        case Part.PREDICATE:
            return _of_predicate(before, text, place, world)
        case Part.BLOCK:
            return _of_block(before, text, place, world)
        case Part.DEFINITION:
            return _of_definition(before, place, world)
        case Part.STRING:
            return _of_string(before, place, world)
        case Part.COMMENT:
            return []


def _made(before: str, word: str, table: Mapping[str, str]) -> list[Candidate]:
    """Those of a table that a word may mean."""
    return [Candidate(name, len(before) - len(word), table[name]) for name in like(word, table)]


def _word(text: str) -> str:
    match = re.search(r"\w*\Z", text)
    return match[0] if match else ""


def _with(meta: str, names: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(names, meta)


def _of_head(before: str, place: Place, world: World) -> list[Candidate]:
    kind, colon, target = place.text.partition(":")
    if colon:
        return _targets(before, SHORT_NAMES.get(kind, kind), target, world)
    behind_comma = before[: len(before) - len(place.text)].rstrip().endswith(",")
    if place.hooks and not behind_comma:
        return []
    kinds = {f"{kind}{'' if kind in BARE else ':'}": KIND_DOCS.get(kind, "") for kind in KINDS}
    hooks = {name: library_doc(world.library, name) for name in world.library.standard_names()}
    return _made(before, place.text, hooks | kinds | ({} if place.hooks else DEFINITION_DOCS))


def _targets(before: str, kind: str, target: str, world: World) -> list[Candidate]:
    if kind == HookKind.INTERVAL:
        return _made(before, target, PERIODS)
    if kind in DEVICE_KINDS:
        every = (name.partition(":") for name in device_hooks(world.kernel))
        known = {unquoted(name): name for one, _, name in every if one == kind}
        return [Candidate(known[name], len(before) - len(target), kind) for name in like(begun(target), known)]
    if kind in USER_KINDS:
        path, *symbol = split(target, ":", 1)
        if symbol:
            known = {unquoted(name): name for name in world.symbols(unquoted(path))}
            start = len(before) - len(symbol[0])
            return [Candidate(known[name], start, "function") for name in like(begun(symbol[0]), known)]
        return [Candidate(_typed(path), len(before) - len(target)) for path in world.files(begun(target))]
    names = world.hooks.get(kind)
    found = names.like(target) if names is not None else []
    return [Candidate(name, len(before) - len(target), kind) for name in found]


def _typed(path: str) -> str:
    """A path as it is typed; of a directory, more follows within the quotes."""
    text = quoted(path, path=True)
    return text[:-1] if text.endswith('/"') else text


def _of_binding(before: str, attach: str, group: str, world: World) -> list[Candidate]:
    try:
        choice = in_group(attach, group, world.kernel)
    except KernelError:
        return []
    # what is of the right type comes first
    return sorted(_made(before, choice.word, choice.table), key=lambda one: one.meta != choice.type)


def _of_predicate(before: str, text: str, place: Place, world: World) -> list[Candidate]:
    if (found := _marked(before, text, place, world)) is not None:
        return found
    if match := re.search(r"(?:\bon|\bifname)\s+([\w.-]*)\Z", place.text):
        return _made(before, match[1], _with("interface", world.interfaces))
    if match := re.search(r"\b(?:port|portrange)\s+([\w-]*)\Z", place.text):
        return _made(before, match[1], _with("service", world.services))
    if match := re.search(r"\b(host|src|dst|gateway)\s+([\w.-]*)\Z", place.text):
        more = () if match[1] in ("host", "gateway") else ("host", "net", "port", "portrange")
        return _made(before, match[2], _with(TCPDUMP, more) | _with("host", world.hosts))
    if match := re.search(r"(?:\[|&|\|)\s*\(?\s*([\w-]*)\Z", place.text):
        return _made(before, match[1], _with(TCPDUMP, OFFSET_WORDS))
    kernel = VALUE_DOCS | _groups() | {"has": FUNCTION_DOCS["has"]}
    return _made(before, _word(place.text), kernel | _with(TCPDUMP, (*PRIMITIVES, "and", "or", "not")))


def _of_block(before: str, text: str, place: Place, world: World) -> list[Candidate]:
    if (found := _marked(before, text, place, world)) is not None:
        return found
    word = _word(place.text)
    if re.search(r"\bhas\(\s*\w*\Z", place.text):
        return _made(before, word, LAYER_DOCS)
    if STATEMENT.fullmatch(place.text):
        return _made(before, word, ACTION_DOCS | KEYWORD_DOCS)
    values = VALUE_DOCS | FUNCTION_DOCS | _groups()
    if re.search(r"@\w*(?:\[[^\]]*\])?\s*=\s*\w*\Z", place.text):
        return _made(before, word, AGGREGATION_DOCS | values)
    return _made(before, word, values)


def _of_definition(before: str, place: Place, world: World) -> list[Candidate]:
    (word,) = place.hooks
    if word == "option" and "=" not in place.text:
        return _made(before, _word(place.text), OPTION_DOCS)
    if word == "hook" and (match := re.search(r"([^\s=|(]+)\(([^()]*)\Z", place.text)):
        return _of_binding(before, match[1], match[2], world)
    if word == "hook" and (match := re.search(r"[=|]\s*([^\s=|]*)\Z", place.text)):
        return _of_head(before, Place(Part.HEAD, (), match[1]), world)
    return []


def _of_string(before: str, place: Place, world: World) -> list[Candidate]:
    opened = place.opened.rstrip()
    if place.hooks == ("import",):
        names = {name: library_doc(world.library, name) for name in world.library.standard_names()}
        return _made(before, place.text, names)
    if re.search(r"\binner\Z", opened):
        return _made(before, _word(place.text), _with(TCPDUMP, PRIMITIVES))
    if match := re.search(r"\b(ifname|netns)\s*[=!]=\Z", opened):
        known = world.interfaces if match[1] == "ifname" else world.namespaces
        return _made(before, place.text, _with({"ifname": "interface"}.get(match[1], "namespace"), known))
    if re.search(r"\b(?:dump|ring|commit)\(\Z", opened):
        return [Candidate(path, len(before) - len(place.text)) for path in world.files(place.text)]
    return []


def _marked(before: str, text: str, place: Place, world: World) -> list[Candidate] | None:
    """What the signs before a word say that it must be; None if they leave it open."""
    if (found := _compared(before, place, world)) is not None:
        return found
    if (found := _of_path(before, place, world)) is not None:
        return found
    return _sigil(before, text, world)


def _compared(before: str, place: Place, world: World) -> list[Candidate] | None:
    """The names of an enum's values, behind what is compared with them; None if nothing is."""
    match = COMPARED.search(place.text)
    if match is None:
        return None
    what = match["what"]
    if what == REASON:
        kind = _enum(world.kernel, REASON_ENUM)
    else:
        arguments = [a for hook in hooks_called(place.hooks, world.library, world.kernel) for a in hook.arguments]
        kind = next((a.type for a in arguments if f"args.{a.name}" == what and isinstance(a.type, EnumType)), None)
    names = dict.fromkeys(labels(kind).values(), str(kind)) if kind is not None else {}
    return _made(before, _word(place.text), names) if names else None


def _enum(kernel: Kernel, name: str) -> EnumType | None:
    try:
        return kernel.enum(name)
    except KernelError:
        return None


def _of_path(before: str, place: Place, world: World) -> list[Candidate] | None:
    found = members(place.text, place.hooks, world.library, world.kernel)
    return _made(before, *found) if found is not None else None


def _sigil(before: str, text: str, world: World) -> list[Candidate] | None:
    """Maps behind '@', variables behind '$'; None if neither is being typed."""
    match = re.search(r"([@$])\w*\Z", before)
    if match is None:
        return None
    if match[1] == "@":
        typed = {name for name in re.findall(r"@\w*", text) if name != match[0]}
        return _made(before, match[0], _with("map", sorted({*typed, *world.maps})))
    typed = {name for name in re.findall(r"\$\w+", text) if name != match[0]}
    return _made(before, match[0], _with("variable", sorted(typed)))


def _groups() -> dict[str, str]:
    """What the fields of packets begin with."""
    found: dict[str, list[str]] = {}
    for name in FIELD_DOCS:
        group, _, field = name.partition(".")
        found.setdefault(group, []).append(field)
    return {group: " ".join(fields) for group, fields in found.items()}


def _of_command(before: str, world: World) -> list[Candidate]:
    line = before.lstrip()
    word, blank, rest = line.partition(" ")
    if line.startswith("!"):
        return []
    if not blank:
        return _made(before, word, {f".{command.name}": command.doc for command in COMMANDS.values()})
    command = COMMANDS.get(word[1:])
    argument = rest.lstrip()
    last = argument.rpartition(" ")[2]
    match command.takes if command is not None else Takes.NOTHING:
        case Takes.JOB | Takes.JOBS:
            every = ("all",) if command is not None and command.takes is Takes.JOBS else ()
            return _made(before, last, _with("clause", (*world.jobs, *every)))
        case Takes.MAP if " " not in argument:
            return _made(before, argument, _with("map", world.maps))
        case Takes.HOOK:
            return _of_head(before, Place(Part.HEAD, (), argument), world)
        case Takes.PATH:
            return [Candidate(path, len(before) - len(argument)) for path in world.files(argument)]
        case Takes.TOPIC:
            return _made(before, argument, TOPICS)
        case Takes.SETTING:
            return _of_setting(before, argument, world)
        case Takes.FIELDS:
            return _made(
                before, argument, _with("fields", ("eth", "ip", "tcp", "udp", "icmp", "arp", "vlan", "skb", "sk"))
            )
        case _:
            return []


def _of_setting(before: str, argument: str, world: World) -> list[Candidate]:
    """The name of a setting, then what it can be."""
    name, blank, value = argument.partition(" ")
    if not blank:
        return _made(before, name, {name: row.doc for name, row in SETTINGS.items()})
    row = SETTINGS.get(name)
    if row is None:
        return []
    if row.option == "output":
        return [Candidate(path, len(before) - len(value)) for path in world.files(value)]
    interfaces = _with("interface", world.interfaces) if row.option == "interface" else {}
    return _made(before, value.lstrip(), interfaces or _with(row.name, row.choices))
