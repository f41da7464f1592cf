"""The entry of this room: what an attach point names on this kernel, a hook of the kernel or a name for some."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial

from xcapscript.diagnostics import Code, ScriptError, did_you_mean
from xcapscript.ir import Hook
from xcapscript.kernel.facts import Kernel
from xcapscript.library import Library
from xcapscript.sema.check import ACTIONS
from xcapscript.sema.filter import Parameters
from xcapscript.sema.hooks.bindings import SKB, SOCK, Bindings, bindings_of
from xcapscript.sema.hooks.devices import Devices
from xcapscript.sema.hooks.functions import MOST_FUNCTIONS, Functions
from xcapscript.sema.hooks.parameters import with_parameters
from xcapscript.sema.hooks.periods import period
from xcapscript.sema.hooks.programs import Programs
from xcapscript.sema.hooks.static import resolve_static
from xcapscript.sema.hooks.tracepoints import bound, raw_tracepoint_hook, tracepoint_hook
from xcapscript.sema.refusal import refuse
from xcapscript.syntax import ast
from xcapscript.syntax.parse import parse
from xcapscript.unit import USER_KINDS, Attachment, HookKind

SHORT_NAMES = {
    "k": "kprobe",
    "kr": "kretprobe",
    "f": "fentry",
    "fr": "fexit",
    "rt": "rawtracepoint",
    "t": "tracepoint",
    "u": "uprobe",
    "ur": "uretprobe",
    "U": "usdt",
    "i": "interval",
    "BEGIN": "begin",
    "END": "end",
}
NAME = re.compile(r"[A-Za-z0-9_.:*-]+")
BOUND = frozenset({"kprobe", "kretprobe", "fentry", "fexit", "uprobe", "uretprobe", "usdt", "rawtracepoint"})
"""The kinds that take a binding group."""

QUOTED = frozenset({"uprobe", "uretprobe", "usdt", "xdp", "tc", "socket"})
"""The kinds whose names may need quotes."""

IN_PROGRAMS = {*map(str, USER_KINDS), *(short for short, kind in SHORT_NAMES.items() if kind in USER_KINDS)}
DPDK_HINTS = ("it is in DPDK's own libraries; a program that has them within it has its own: uprobe:PATH:FUNCTION",)

ABSENT = frozenset({Code.MISSING_HOOK, Code.UNSUPPORTED})
"""What makes the next alternative of a hook be tried."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Resolves attach points against a script's aliases, the standard library and a kernel."""

    aliases: Mapping[str, ast.HookAlias]
    library: Library
    kernel: Kernel
    most: int = MOST_FUNCTIONS
    parameters: Parameters = field(default_factory=Parameters)

    def resolve(self, attach: ast.Attach) -> list[Hook]:
        """The hooks that an attach point names, more than one for a wildcard; ScriptError if there is none."""
        meant = with_parameters(attach, self.parameters)
        return self._resolve(meant, meant.text, ())

    def _resolve(self, attach: ast.Attach, shown: str, within: tuple[str, ...]) -> list[Hook]:
        word = attach.text.partition("(")[0]
        if word in ACTIONS and word not in self.aliases:
            hint = f"actions stand in a clause: drop {{ {attach.text}; }}"
            refuse(Code.UNKNOWN_HOOK, attach, f"'{attach.text}' is no hook", hint)
        text, bindings = bindings_of(attach)
        kind, colon, target = text.partition(":")
        kind = SHORT_NAMES.get(kind, kind)
        if '"' in target and kind not in QUOTED:
            hint = "what stands in quotes is the path of a program, or the name of an interface"
            refuse(Code.BAD_HOOK, attach, f"'{kind}' hooks have no quotes", hint)
        if kind not in BOUND:
            bindings.allow(())
        match kind:
            case "kprobe" | "kretprobe" | "fentry" | "fexit":
                return Functions(self.kernel, HookKind(kind), self.most).resolve(attach, target, shown, bindings)
            case "uprobe" | "uretprobe":
                return Programs(HookKind(kind)).resolve(attach, target, shown, bindings)
            case "usdt":
                return resolve_static(attach, target, shown, bindings)
            case "rawtracepoint":
                bindings.allow((SKB, SOCK))
                one = partial(self._raw_tracepoint, bindings)
                return self._matching(attach, target, shown, self.kernel.raw_tracepoints, one)
            case "tracepoint":
                return self._matching(attach, target, shown, self.kernel.tracepoints, self._tracepoint)
            case "xdp" | "tc" | "socket":
                return Devices(self.kernel, HookKind(kind)).resolve(attach, target, shown)
            case "interval":
                return [Hook(shown, Attachment(HookKind.INTERVAL, period=period(attach, target)))]
            case "begin" | "end" if not colon:
                return [Hook(kind, Attachment(HookKind(kind)))]
            case "begin" | "end":
                refuse(Code.BAD_HOOK, attach, f"'{kind}' takes nothing behind it", f"write {kind} {{ ... }}")
            case _ if colon:
                kinds = [k.value for k in HookKind]
                hints = (*did_you_mean(kind, kinds), f"the kinds are {' '.join(kinds)}")
                refuse(Code.BAD_HOOK, attach, f"there is no kind of hook called '{kind}'", *hints)
            case _:
                return self._alias(attach, within)

    def _alias(self, attach: ast.Attach, within: tuple[str, ...]) -> list[Hook]:
        name = attach.text
        alias = self.aliases.get(name) or self._standard(name)
        if name in within:
            refuse(Code.UNKNOWN_HOOK, attach, f"hook '{name}' stands for itself")
        if alias is None:
            refuse(Code.UNKNOWN_HOOK, attach, f"unknown hook '{name}'", *self._meant(name))
        reasons: dict[str, None] = {}
        for alternative in alias.alternatives:
            try:
                meant = with_parameters(alternative, self.parameters)
                return self._resolve(meant, name, (*within, name))
            except ScriptError as error:
                if not all(d.code in ABSENT for d in error.diagnostics):
                    raise
                reasons |= dict.fromkeys(diagnostic.message for diagnostic in error.diagnostics)
        tried = ", ".join(alternative.text for alternative in alias.alternatives)
        if all(alternative.text.partition(":")[0] in IN_PROGRAMS for alternative in alias.alternatives):
            message = f"'{name}' stands for {tried}, and {' and '.join(reasons)}"
            refuse(Code.MISSING_HOOK, attach, message, *(DPDK_HINTS if name.startswith("dpdk") else ()))
        refuse(Code.MISSING_HOOK, attach, f"this kernel has none of the hooks that '{name}' stands for: {tried}")

    def _meant(self, name: str) -> tuple[str, ...]:
        """Hints at what an unknown hook may be: one that a library brings, a tracepoint, or one that is misspelt."""
        brought = self.library.standard_hooks()
        if name in brought:
            return (f'import "{brought[name]}"; brings it',)
        if self.kernel.raw_tracepoint(name) is not None:
            return (f"write rawtracepoint:{name}",)
        own = {*self.aliases, *self.library.standard_names(), *(k.value for k in HookKind)}
        hints = did_you_mean(name, own | brought.keys())
        named = next((other for other in brought.keys() - own if f"'{other}'" in "".join(hints)), None)
        return hints if named is None else (f'{hints[0]} (import "{brought[named]}"; brings it)',)

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
            refuse(Code.BAD_HOOK, attach, f"'{attach.text}' names no tracepoint", "see 'xcap -l'")
        if "*" not in target:
            hook = one(target, shown) if NAME.fullmatch(target) else None
            if hook is None:
                kind = attach.text.partition(":")[0]
                hints = did_you_mean(attach.text, [f"{kind}:{name}" for name in known])
                refuse(Code.MISSING_HOOK, attach, f"this kernel has no '{attach.text}'", *hints)
            return [hook]
        kind = attach.text.partition(":")[0]
        hooks = [one(name, f"{kind}:{name}") for name in known if fnmatchcase(name, target)]
        found = [hook for hook in hooks if hook is not None and hook.has_packet]
        if not found:
            refuse(Code.MISSING_HOOK, attach, f"'{attach.text}' matches no hook that has a packet", "see 'xcap -l'")
        return found

    def _raw_tracepoint(self, bindings: Bindings, target: str, shown: str) -> Hook | None:
        facts = self.kernel.raw_tracepoint(target)
        return None if facts is None else bound(raw_tracepoint_hook(facts, shown), bindings)

    def _tracepoint(self, target: str, shown: str) -> Hook | None:
        category, _, name = target.partition(":")
        facts = self.kernel.tracepoint(category, name) if name else None
        return None if facts is None else tracepoint_hook(facts, shown)


_Maker = Callable[[str, str], Hook | None]
