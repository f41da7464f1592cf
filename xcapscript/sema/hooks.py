"""Attach points to hooks: what an attach point names on this kernel, and what the hook gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NoReturn

from xcapscript.builtins import REASON_ENUM, TCP_STATE
from xcapscript.diagnostics import Code, Diagnostic, ScriptError, did_you_mean
from xcapscript.ir import Hook
from xcapscript.kernel.facts import Kernel, RawTracepoint, Tracepoint
from xcapscript.layout import Direction
from xcapscript.library import Library
from xcapscript.nodes import HookArgument
from xcapscript.sema.check import ACTIONS
from xcapscript.syntax import ast
from xcapscript.syntax.parse import parse, read_number
from xcapscript.types import S32, EnumType, PointerType, Type
from xcapscript.unit import Attachment, HookKind

SHORT_NAMES = {"rt": "rawtracepoint", "t": "tracepoint", "i": "interval", "BEGIN": "begin", "END": "end"}
LATER_KINDS = frozenset(
    {"kprobe", "k", "kretprobe", "kr", "fentry", "f", "fexit", "fr", "uprobe", "u", "uretprobe", "ur", "usdt", "U"}
    | {"xdp", "tc", "socket"}
)
PERIOD = re.compile(r"[0-9][0-9_]*(ns|us|ms|s|m|h)")
NAME = re.compile(r"[A-Za-z0-9_.:*-]+")
MINIMAL_PERIOD = 1_000_000
ABSENT = frozenset({Code.MISSING_HOOK, Code.UNSUPPORTED})
"""What makes the next alternative of a hook be tried."""

DIRECTIONS = {
    **dict.fromkeys(("net_dev_queue", "net_dev_start_xmit", "net_dev_xmit"), Direction.OUTBOUND),
    **dict.fromkeys(
        ("netif_rx", "netif_rx_entry", "netif_receive_skb", "netif_receive_skb_entry", "netif_receive_skb_list_entry"),
        Direction.INBOUND,
    ),
    **dict.fromkeys(("napi_gro_receive_entry", "napi_gro_frags_entry"), Direction.INBOUND),
}
"""Tracepoints that all packets pass one way, which the packets themselves don't say there yet (net/core/dev.c)."""

SKB, SOCK = "struct sk_buff", "struct sock"
SOCK_FIELDS = ("skaddr", "sk")
STATES = frozenset({"oldstate", "newstate", "state"})
SET_STATE = "inet_sock_set_state"
SKB_FIELDS = ("skbaddr", "skb")
"""Tracepoint records hold the packet as `void *` under these names (include/trace/events/{skb,net,napi,...}.h)."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Resolves attach points against a script's aliases, the standard library and a kernel."""

    aliases: Mapping[str, ast.HookAlias]
    library: Library
    kernel: Kernel

    def resolve(self, attach: ast.Attach) -> list[Hook]:
        """The hooks that an attach point names, more than one for a wildcard; ScriptError if there is none."""
        return self._resolve(attach, attach.text, ())

    def _resolve(self, attach: ast.Attach, shown: str, within: tuple[str, ...]) -> list[Hook]:
        kind, colon, target = attach.text.partition(":")
        kind = SHORT_NAMES.get(kind, kind)
        if attach.text.partition("(")[0] in ACTIONS and attach.text not in self.aliases:
            hint = f"actions stand in a clause: drop {{ {attach.text}; }}"
            _refuse(Code.UNKNOWN_HOOK, attach, f"'{attach.text}' is no hook", hint)
        if "(" in attach.text:
            _refuse(Code.UNSUPPORTED, attach, "bindings such as '(skb=arg1)' are not in this version")
        if kind in LATER_KINDS:
            _refuse(Code.UNSUPPORTED, attach, f"'{kind}' hooks are not in this version", "see 'xcap -l'")
        match kind:
            case "rawtracepoint":
                return self._matching(attach, target, shown, self.kernel.raw_tracepoints, self._raw_tracepoint)
            case "tracepoint":
                return self._matching(attach, target, shown, self.kernel.tracepoints, self._tracepoint)
            case "interval":
                return [Hook(shown, Attachment(HookKind.INTERVAL, period=_period(attach, target)), (), None, None)]
            case "begin" | "end" if not colon:
                return [Hook(kind, Attachment(HookKind(kind)), (), None, None)]
            case "begin" | "end":
                _refuse(Code.BAD_HOOK, attach, f"'{kind}' takes nothing behind it", f"write {kind} {{ ... }}")
            case _ if colon:
                kinds = [k.value for k in HookKind]
                hints = (*did_you_mean(kind, [*kinds, *LATER_KINDS]), f"the kinds are {' '.join(kinds)}")
                _refuse(Code.BAD_HOOK, attach, f"there is no kind of hook called '{kind}'", *hints)
            case _:
                return self._alias(attach, within)

    def _alias(self, attach: ast.Attach, within: tuple[str, ...]) -> list[Hook]:
        name = attach.text
        alias = self.aliases.get(name) or self._standard(name)
        if name in within:
            _refuse(Code.UNKNOWN_HOOK, attach, f"hook '{name}' stands for itself")
        if alias is None:
            known = {*self.aliases, *self.library.standard_names(), *(k.value for k in HookKind)}
            hints = did_you_mean(name, known)
            if self.kernel.raw_tracepoint(name) is not None:
                hints = (f"write rawtracepoint:{name}",)
            _refuse(Code.UNKNOWN_HOOK, attach, f"unknown hook '{name}'", *hints)
        for alternative in alias.alternatives:
            try:
                return self._resolve(alternative, name, (*within, name))
            except ScriptError as error:
                if not all(d.code in ABSENT for d in error.diagnostics):
                    raise
        tried = ", ".join(alternative.text for alternative in alias.alternatives)
        _refuse(Code.MISSING_HOOK, attach, f"this kernel has none of the hooks that '{name}' stands for: {tried}")

    def _standard(self, name: str) -> ast.HookAlias | None:
        source = self.library.standard(name)
        if source is None:
            return None
        items = parse(source).items
        return next((i for i in items if isinstance(i, ast.HookAlias) and i.name.name == name), None)

    def _matching(
        self, attach: ast.Attach, target: str, shown: str, names: Callable[[], object], one: _Maker
    ) -> list[Hook]:
        """The hook of that name, or all with a packet that a wildcard matches."""
        known = names()
        assert isinstance(known, list | tuple)
        if not target:
            _refuse(Code.BAD_HOOK, attach, f"'{attach.text}' names no tracepoint", "see 'xcap -l'")
        if "*" not in target:
            hook = one(target, shown) if NAME.fullmatch(target) else None
            if hook is None:
                kind = attach.text.partition(":")[0]
                hints = did_you_mean(attach.text, [f"{kind}:{name}" for name in known])
                _refuse(Code.MISSING_HOOK, attach, f"this kernel has no '{attach.text}'", *hints)
            return [hook]
        kind = attach.text.partition(":")[0]
        hooks = [one(name, f"{kind}:{name}") for name in known if fnmatchcase(name, target)]
        found = [hook for hook in hooks if hook is not None and hook.has_packet]
        if not found:
            _refuse(Code.MISSING_HOOK, attach, f"'{attach.text}' matches no hook that has a packet", "see 'xcap -l'")
        return found

    def _raw_tracepoint(self, target: str, shown: str) -> Hook | None:
        facts = self.kernel.raw_tracepoint(target)
        return None if facts is None else raw_tracepoint_hook(facts, shown)

    def _tracepoint(self, target: str, shown: str) -> Hook | None:
        category, _, name = target.partition(":")
        facts = self.kernel.tracepoint(category, name) if name else None
        return None if facts is None else tracepoint_hook(facts, shown)


_Maker = Callable[[str, str], Hook | None]


def raw_tracepoint_hook(facts: RawTracepoint, shown: str) -> Hook:
    """A raw tracepoint: its packet is the argument that BTF calls `struct sk_buff *`."""
    states = facts.name == SET_STATE
    arguments = tuple(
        HookArgument(a.name, _named(a.name, a.type) if states else a.type, index)
        for index, a in enumerate(facts.arguments)
    )
    skb = next((a for a in arguments if a.type == PointerType(SKB)), None)
    attachment = Attachment(HookKind.RAWTRACEPOINT, facts.name)
    # rx_sk is NULL but for what a socket itself drops: the packet knows its socket better
    sock = next((a for a in arguments if a.type == PointerType(SOCK) and a.name != "rx_sk"), None)
    return Hook(shown, attachment, arguments, skb, _reason(arguments), _direction(facts.name), sock)


def tracepoint_hook(facts: Tracepoint, shown: str) -> Hook:
    """A tracepoint: its packet is the field that tracepoints of the network stack keep it in."""
    arguments = tuple(HookArgument(f.name, _named(f.name, f.type), f.offset) for f in facts.fields if not f.dynamic)
    skb = next((a for a in arguments if a.name in SKB_FIELDS and isinstance(a.type, PointerType)), None)
    attachment = Attachment(HookKind.TRACEPOINT, f"{facts.category}:{facts.name}", facts.id)
    sock = next((a for a in arguments if a.name in SOCK_FIELDS and isinstance(a.type, PointerType)), None)
    return Hook(shown, attachment, arguments, skb, _reason(arguments), _direction(facts.name), sock)


def _named(name: str, kind: Type) -> Type:
    """Tracepoints give TCP states as integers (include/trace/events/{sock,tcp}.h)."""
    return TCP_STATE if name in STATES and kind == S32 else kind


def _direction(tracepoint: str) -> Direction:
    return DIRECTIONS.get(tracepoint, Direction.UNKNOWN)


def _reason(arguments: tuple[HookArgument, ...]) -> HookArgument | None:
    return next((a for a in arguments if isinstance(a.type, EnumType) and a.type.name == REASON_ENUM), None)


def _period(attach: ast.Attach, target: str) -> int:
    """The period of an interval in ns: `10s`, `hz:4`, or as bpftrace has it, `s:10`."""
    unit, _, number = target.partition(":")
    if target.startswith("hz:"):
        rate = read_number(number) if number.isdecimal() else None
        value = 10**9 // rate if rate else None
    elif PERIOD.fullmatch(target):
        value = read_number(target)
    else:
        value = read_number(number + unit) if PERIOD.fullmatch(number + unit) and unit.isalpha() else None
    if not value:
        hint = "write interval:10s, interval:500ms or interval:hz:4"
        _refuse(Code.BAD_HOOK, attach, f"'{attach.text}' has no period", hint)
    if value < MINIMAL_PERIOD:
        _refuse(Code.BAD_HOOK, attach, f"'{attach.text}' is too often", "the shortest period is 1ms")
    return value


def _refuse(code: Code, attach: ast.Attach, message: str, *hints: str) -> NoReturn:
    raise ScriptError([Diagnostic(code, message, attach.span, hints)])
