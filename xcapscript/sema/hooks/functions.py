"""kprobe, kretprobe, fentry, fexit: which argument of a kernel function is the packet, by BTF or by a binding group."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from xcapscript.diagnostics import Code, did_you_mean
from xcapscript.ir import REGISTERS, Hook, Packet, PacketForm
from xcapscript.kernel.facts import Function, Kernel
from xcapscript.layout import Direction
from xcapscript.nodes.hook import NO_RESULT, RESULT, HookArgument
from xcapscript.sema.hooks.bindings import FRAME, MSG, SKB, SOCK, XDP, Bindings
from xcapscript.sema.hooks.sockets import direction_of, request_of, tcp_flags_of
from xcapscript.sema.hooks.tracepoints import reason_of
from xcapscript.sema.refusal import refuse
from xcapscript.syntax import ast
from xcapscript.types import S64, U64, IntType, PointerType, StructType, is_number
from xcapscript.unit import Attachment, HookKind

TARGET = re.compile(r"(?:(?P<module>[A-Za-z_]\w*):)?(?P<name>[A-Za-z_][\w.]*)(?:\+(?P<offset>0x[0-9a-fA-F]+|[0-9]+))?")
PATTERN = re.compile(r"(?:[A-Za-z_*?][\w*?]*:)?[\w.*?\[\]]+")
RETURNS = frozenset({HookKind.KRETPROBE, HookKind.FEXIT})
TYPED = frozenset({HookKind.FENTRY, HookKind.FEXIT})

MOST_ARGUMENTS = 12
"""MAX_BPF_FUNC_ARGS: those that a function may have for fentry."""

PACKETS = {
    "struct sk_buff": PacketForm.SKB,
    "struct xdp_buff": PacketForm.XDP_BUFF,
    "struct xdp_frame": PacketForm.XDP_FRAME,
}
"""The structs that are packets, the likeliest first."""

FORMS = (SKB, XDP, FRAME)
"""What a packet is bound as: the names of its forms."""

STRUCTS = tuple(name.removeprefix("struct ") for name in PACKETS)
MOST_FUNCTIONS = 8192
"""PLACE_BITS of a cookie tell them apart."""

DIRECTIONS = {
    **dict.fromkeys(
        ("ip_rcv", "ipv6_rcv", "tcp_v4_rcv", "tcp_v6_rcv", "udp_rcv", "udpv6_rcv", "icmp_rcv", "icmpv6_rcv", "arp_rcv"),
        Direction.INBOUND,
    ),
    **dict.fromkeys(("ip_local_deliver", "__netif_receive_skb_core", "netif_receive_skb"), Direction.INBOUND),
    **dict.fromkeys(("ip_output", "ip6_output", "__dev_queue_xmit", "dev_hard_start_xmit"), Direction.OUTBOUND),
}
"""Functions that all packets pass one way, which the packets themselves don't say there yet."""


@dataclass(frozen=True, slots=True)
class Functions:
    """Resolves the attach points of one of these kinds; a wildcard may match at most so many functions."""

    kernel: Kernel
    kind: HookKind
    most: int

    def resolve(self, attach: ast.Attach, target: str, shown: str, bindings: Bindings) -> list[Hook]:
        """The hooks at a function, or at all that a wildcard matches; ScriptError if there are none."""
        bindings.allow((*FORMS, SOCK, MSG))
        family = "fentry" if self.kind in TYPED else "kprobe"
        if not self.kernel.attaches(family):
            hint = "tracepoints may do: see 'xcap -l', and 'xcap --doctor' for what works here, and why not"
            refuse(Code.MISSING_HOOK, attach, f"'{self.kind}' hooks do not work on this kernel", hint)
        if set("*?[") & set(target):
            return list(self._matching(attach, target, shown, bindings))
        return [self._one(attach, target, shown, bindings)]

    def _one(self, attach: ast.Attach, target: str, shown: str, bindings: Bindings) -> Hook:
        parts = TARGET.fullmatch(target)
        if parts is None:
            refuse(Code.BAD_HOOK, attach, f"'{target}' is no function", f"write for instance {self.kind}:ip_rcv")
        function = self.kernel.function(parts["name"], parts["module"] or "")
        why_not = self.kernel.why_not(parts["name"])
        if function is None and why_not is None:
            near = self.kernel.functions(f"{parts['name'][:3]}*")
            hints = did_you_mean(target, [name for name in near if abs(len(name) - len(target)) < 4])
            refuse(Code.MISSING_HOOK, attach, f"this kernel has no function '{target}'", *hints)
        if function is None or why_not is not None:
            hint = "choose a function that calls it or that it calls: see 'xcap -l -v'"
            refuse(Code.MISSING_HOOK, attach, f"'{target}' cannot be attached to: {why_not}", hint)
        offset = int(parts["offset"], 0) if parts["offset"] else 0
        if offset and self.kind is not HookKind.KPROBE:
            refuse(Code.BAD_HOOK, attach, f"a {self.kind} takes no offset", "only a kprobe can be within a function")
        if not self._has_types(function):
            message = f"'{target}' has no prototype in BTF, which {self.kind} needs"
            refuse(Code.MISSING_HOOK, attach, message, f"write {'kretprobe' if self.kind in RETURNS else 'kprobe'}")
        return function_hook(self.kind, function, shown, bindings, offset)

    def _has_types(self, function: Function) -> bool:
        """BTF has no prototype for the variants that the compiler makes, and fentry goes by it."""
        return self.kind not in TYPED or (function.arguments is not None and function.symbol == function.name)

    def _matching(self, attach: ast.Attach, target: str, shown: str, bindings: Bindings) -> Iterator[Hook]:
        """A hook for each way in which the functions are handed their packet: one program serves all its functions."""
        if not PATTERN.fullmatch(target):
            refuse(Code.BAD_HOOK, attach, f"'{target}' is no pattern of functions", f"write {self.kind}:tcp_*")
        if set(bindings.given) & {*FORMS, SOCK}:
            names = self.kernel.functions(target)
        else:
            names = self.kernel.functions(target, STRUCTS) or self.kernel.functions(target, ("sock",))
        groups: dict[tuple[object, ...], list[Function]] = {}
        one: dict[tuple[object, ...], Hook] = {}
        for name in names:
            module, _, plain = name.rpartition(":")
            function = self.kernel.function(plain, module)
            if function is None or self.kernel.why_not(plain) is not None or not self._has_types(function):
                continue
            hook = function_hook(self.kind, function, shown, bindings)
            if hook.has_packet:
                # a packet knows its socket
                ways = (hook.packet,) if hook.packet is not None else (hook.sock, hook.msg, hook.request)
                key = tuple(map(_place, (*ways, hook.result)))
                if hook.packet is None:
                    key += hook.direction, hook.tcp_flags
                if self.kind in TYPED:
                    # a module's functions are found in its own BTF, and no program reads an argument that is not there
                    key += module, len(hook.arguments)
                groups.setdefault(key, []).append(function)
                one.setdefault(key, hook)
        if not groups:
            hint = "a binding such as (skb=arg0) says which argument is one; see 'xcap -l -v'"
            refuse(Code.MISSING_HOOK, attach, f"'{attach.text}' matches no function that has a packet", hint)
        count = sum(map(len, groups.values()))
        if count > self.most:
            hint = "narrow it down, or raise option max_probes" if self.most < MOST_FUNCTIONS else "narrow it down"
            refuse(Code.BAD_HOOK, attach, f"'{attach.text}' matches {count} functions, of at most {self.most}", hint)
        for key, found in groups.items():
            yield _of_all(one[key], target, found)


def function_hook(kind: HookKind, facts: Function, shown: str, bindings: Bindings, offset: int = 0) -> Hook:
    """A kernel function: its packet is the first argument that is one, unless a binding group says otherwise."""
    most = MOST_ARGUMENTS if kind in TYPED else REGISTERS
    # within a function its arguments' registers hold anything
    arguments = () if offset else tuple(_arguments(facts, most))
    bound = _bound_packet(bindings, arguments, most)
    sock = bindings.argument(SOCK, arguments, most)
    packet = bound if bound is not None or sock is not None else _packet(arguments)
    if sock is None:
        sock = _pointer_to("struct sock", arguments)
    message = bindings.argument(MSG, arguments, most) or (_pointer_to("struct msghdr", arguments) if sock else None)
    attachment = Attachment(kind, facts.name, functions=(facts.symbol,), module=facts.module, offset=offset)
    reason, direction = reason_of(arguments), DIRECTIONS.get(facts.name, Direction.UNKNOWN)
    hook = Hook(shown, attachment, arguments, packet, reason, direction, sock, message, _result(kind, facts))
    return hook if sock is None else _of_socket(hook, facts.name)


def _of_socket(hook: Hook, function: str) -> Hook:
    direction = direction_of(function) if hook.direction is Direction.UNKNOWN else hook.direction
    request, flags = request_of(hook.arguments), tcp_flags_of(function)
    return replace(hook, direction=direction, request=request, tcp_flags=flags)


def _arguments(facts: Function, most: int) -> Iterator[HookArgument]:
    """Those before the first that is handed over otherwise: a struct by value takes several places, or none."""
    for place, argument in enumerate((facts.arguments or ())[:most]):
        if isinstance(argument.type, StructType):
            return
        yield HookArgument(argument.name, argument.type, place)


def _result(kind: HookKind, facts: Function) -> HookArgument | None:
    if kind not in RETURNS or (facts.arguments is not None and facts.result is None):
        return None
    place = len(facts.arguments or ()) if kind in TYPED else RESULT
    known = facts.result if facts.result is not None and is_number(facts.result) else U64
    return HookArgument("retval", known, place)


def _bound_packet(bindings: Bindings, arguments: tuple[HookArgument, ...], most: int) -> Packet | None:
    """The packet that a binding group says."""
    for form in map(PacketForm, FORMS):
        if pointer := bindings.argument(form, arguments, most):
            return Packet(form, pointer)
    return None


def _packet(arguments: tuple[HookArgument, ...]) -> Packet | None:
    for struct, form in PACKETS.items():
        if pointer := _pointer_to(struct, arguments):
            return Packet(form, pointer)
    return None


def _pointer_to(struct: str, arguments: tuple[HookArgument, ...]) -> HookArgument | None:
    return next((one for one in arguments if one.type == PointerType(struct)), None)


def _place(value: object) -> object:
    """Where something is, and as what: what is called differently is reached alike."""
    match value:
        case Packet(form, pointer, count):
            return form, pointer.place, count.place if count else None
        case HookArgument(_, kind, place):
            return place, str(kind)
        case _:
            return value


def _of_all(hook: Hook, pattern: str, functions: list[Function]) -> Hook:
    """The hook of one of a wildcard's functions, for all that are handed their packet as it is."""
    kind = hook.attachment.kind
    symbols = tuple(sorted(function.symbol for function in functions))
    one = len(functions) == 1
    target = functions[0].name if one else pattern
    attachment = Attachment(kind, target, functions=symbols, module=functions[0].module, offset=hook.attachment.offset)
    if one:
        return replace(hook, name=f"{kind}:{target}", attachment=attachment, result=_common(kind, hook.result))
    # arguments have no common names
    places = range(len(hook.arguments) if kind in TYPED else REGISTERS)
    arguments = tuple(HookArgument(f"arg{place}", U64, place) for place in places)
    common = replace(hook, attachment=attachment, arguments=arguments, reason=None, result=_common(kind, hook.result))
    if hook.packet is None:
        return common
    return replace(common, direction=Direction.UNKNOWN, sock=None, msg=None, request=None, tcp_flags=0)


def _common(kind: HookKind, result: HookArgument | None) -> HookArgument | None:
    """What a wildcard's function returns, as a number with a sign, as all of them do; 0 if it returns nothing."""
    if kind not in RETURNS:
        return None
    if result is None:
        return HookArgument("retval", S64, NO_RESULT)
    signed = isinstance(result.type, IntType) and result.type.signed
    return result if signed else replace(result, type=S64)
