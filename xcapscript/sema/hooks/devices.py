"""xdp, tc, socket: the network interfaces that an attach point names, by name or by a wildcard, in our own network
namespace or in another.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NoReturn

from xcapscript.diagnostics import Code, did_you_mean
from xcapscript.ir import Hook, Packet, PacketForm
from xcapscript.kernel.facts import Kernel, NotFound
from xcapscript.layout import Direction
from xcapscript.nodes.hook import HookArgument
from xcapscript.quotes import has_wildcard, pattern, quoted, split, unquoted
from xcapscript.sema.refusal import refuse
from xcapscript.syntax import ast
from xcapscript.types import PointerType
from xcapscript.unit import Attachment, Device, HookKind

WAYS = {"ingress": Direction.INBOUND, "egress": Direction.OUTBOUND}
EXAMPLES = {HookKind.XDP: "xdp:eth0", HookKind.TC: "tc:eth0:ingress or tc:eth0:egress", HookKind.SOCKET: "socket:eth0"}
DEVICE_KINDS = frozenset(kind.value for kind in EXAMPLES)
MOST_DEVICES = 1024

XDP = Packet(PacketForm.XDP_BUFF, HookArgument("xdp", PointerType("struct xdp_buff"), 0))
SKB = Packet(PacketForm.SKB, HookArgument("skb", PointerType("struct sk_buff"), 0))


@dataclass(frozen=True, slots=True)
class Devices:
    """Resolves the attach points of one of these kinds."""

    kernel: Kernel
    kind: HookKind

    def resolve(self, attach: ast.Attach, target: str, shown: str) -> list[Hook]:
        """The hook at an interface, or the one at all that a wildcard matches; ScriptError if there is none."""
        place, way = target, ""
        if self.kind is HookKind.TC:
            *places, way = split(target, ":", 1)
            place = "".join(places)
            if way not in WAYS:
                hints = did_you_mean(way, WAYS) if places else ()
                message = f"'{attach.text}' does not say which way packets go"
                refuse(Code.BAD_HOOK, attach, message, *hints, f"write {EXAMPLES[self.kind]}")
        if not place:
            refuse(Code.BAD_HOOK, attach, f"'{attach.text}' names no interface", f"write {EXAMPLES[self.kind]}")
        devices = self._devices(attach, place)
        attachment = Attachment(self.kind, target, devices=devices)
        direction = Direction.INBOUND if self.kind is HookKind.XDP else WAYS.get(way, Direction.UNKNOWN)
        return [Hook(shown, attachment, packet=packet_of(self.kind), direction=direction)]

    def _devices(self, attach: ast.Attach, place: str) -> tuple[Device, ...]:
        known = self.kernel.interfaces("")
        if place in known and '"' not in place:
            return (Device(place),)
        # the last '@', since a name may have one as well
        name, *others = split(place, "@", 1)
        namespace = unquoted("".join(others))
        if others and not name:
            refuse(Code.BAD_HOOK, attach, f"'{attach.text}' names no interface", "write NAME@NAMESPACE")
        if others:
            try:
                known = self.kernel.interfaces(namespace)
            except NotFound as error:
                refuse(Code.MISSING_HOOK, attach, error.message, *error.hints)
        if has_wildcard(name):
            found = tuple(Device(one, namespace) for one in known if fnmatchcase(one, pattern(name)))
            if not found:
                hint = f"there are {' '.join(map(quoted, known))}"
                refuse(Code.MISSING_HOOK, attach, f"'{place}' matches no interface", hint)
            if len(found) > MOST_DEVICES:
                message = f"'{place}' matches {len(found)} interfaces, of at most {MOST_DEVICES}"
                refuse(Code.BAD_HOOK, attach, message)
            return found
        meant = unquoted(name)
        if meant not in known:
            self._refuse_missing(attach, meant, namespace)
        return (Device(meant, namespace),)

    def _refuse_missing(self, attach: ast.Attach, name: str, namespace: str) -> NoReturn:
        """Say what may have been meant: a name that is like it, or a namespace that has it."""
        where = f" in network namespace '{namespace}'" if namespace else ""
        hints = did_you_mean(name, self.kernel.interfaces(namespace))
        if not namespace and (elsewhere := self.kernel.namespaces_with(name)):
            there = attach.text.replace(quoted(name), str(Device(name, elsewhere[0])), 1)
            hints = (f"network namespace '{elsewhere[0]}' has one: write {there}",)
        message = f"there is no interface '{name}'{where}"
        refuse(Code.MISSING_HOOK, attach, message, *(hints or ("see 'ip link'",)))


def packet_of(kind: HookKind) -> Packet:
    """What programs at one of these kinds are given."""
    return XDP if kind is HookKind.XDP else SKB
