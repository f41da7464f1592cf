"""What a hook gives of itself: its name, its arguments, what its function returned, the drop reason, its socket, what
becomes of the packet.
"""

from __future__ import annotations

from dataclasses import dataclass

from xcapscript.builtins import RETVAL, TC_ACTION, XDP_ACTION, Builtin, Needs
from xcapscript.diagnostics import Code, did_you_mean
from xcapscript.ir import REGISTERS, Hook, PacketForm
from xcapscript.nodes.expressions import ArgumentValue, Convert, Expression, Number, PacketPointer, PlaceName, Text
from xcapscript.nodes.hook import HookArgument
from xcapscript.sema.kinds import a
from xcapscript.sema.refusal import refuse
from xcapscript.sema.structures import Structures
from xcapscript.syntax import ast
from xcapscript.types import S64, U32, U64, InternedType, OpaqueType, PointerType, is_number
from xcapscript.unit import STACKLESS, TC_ACT_UNSPEC, USER_KINDS, XDP_PASS, HookKind

SOCK_POINTER = PointerType("struct sock")
SKB_POINTER = PointerType("struct sk_buff")
NETNS = "netns"
RETURNS = frozenset({HookKind.KRETPROBE, HookKind.FEXIT, HookKind.URETPROBE})
WITH_REGISTERS = frozenset({HookKind.KPROBE, HookKind.KRETPROBE, HookKind.UPROBE, HookKind.URETPROBE})
"""Where arguments that nothing is known of can be had."""


@dataclass(frozen=True, slots=True)
class Given:
    """The values of a hook's own; ScriptError for those that it does not have."""

    hook: Hook
    structures: Structures

    def place_name(self, name: str) -> Expression:
        """`hook` and `func`, which are known before; but which of a wildcard's functions was hit is not."""
        names = self.hook.attachment.names
        if name == "hook" or self.hook.attachment.devices:
            return Text(self.hook.name, InternedType())
        if len(names) > 1:
            return PlaceName(names, InternedType())
        return Text(names[0] or self.hook.name, InternedType())

    def result(self, node: ast.Name) -> Expression:
        result = self.hook.result
        if result is None:
            kinds = "kretprobe, fexit and uretprobe have one"
            returns = self.hook.attachment.kind in RETURNS
            message = f"'{self.hook.name}' returns nothing" if returns else f"'{self.hook.name}' has no 'retval'"
            refuse(Code.NOT_HERE, node, message, *(() if returns else (kinds,)))
        return ArgumentValue(result, result.type)

    def has(self, name: str, *, argument: bool = False) -> bool:
        """Whether it gives `retval`, `reason`, or an argument of that name."""
        if argument:
            return any(one.name == name for one in self.hook.arguments)
        return (self.hook.result if name == RETVAL else self.hook.reason) is not None

    def position(self, number: int) -> Expression | None:
        """The argument at a position, counted from 0, where the hook's arguments have positions."""
        kind = self.hook.attachment.kind
        if kind is HookKind.TRACEPOINT:
            return None
        for argument in self.hook.arguments:
            if argument.place == number or (kind is HookKind.USDT and argument.name == f"arg{number}"):
                return ArgumentValue(argument, argument.type if is_number(argument.type) else U64)
        if kind in WITH_REGISTERS and number < REGISTERS:
            return ArgumentValue(HookArgument(f"arg{number}", U64, number), U64)
        return None

    def need(self, node: ast.Expression, row: Builtin) -> None:
        """Refuse a builtin that the hook does not have."""
        if row.needs is Needs.SKB and self.hook.attachment.kind in USER_KINDS:
            if row.name != NETNS:
                refuse(Code.NOT_HERE, node, f"'{row.name}' is known in the kernel, and '{self.hook.name}' is not there")
        elif row.needs > Needs.NOTHING:
            self.need_packet(node, row.name)

    def need_packet(self, node: ast.Expression, name: str) -> None:
        """Refuse what belongs to a packet where there is none."""
        if not self.hook.has_packet:
            refuse(Code.NO_PACKET, node, f"'{name}' belongs to a packet, and '{self.hook.name}' has none")

    def socket(self, node: ast.Name) -> Expression:
        """The hook's own socket, or the packet's."""
        if self.hook.sock is not None:
            return Convert(ArgumentValue(self.hook.sock, self.hook.sock.type), SOCK_POINTER)
        if self.hook.skb is None:
            refuse(Code.NOT_HERE, node, f"'{self.hook.name}' has neither a socket nor a packet")
        packet = self.structures.pointed_at(PacketPointer(SKB_POINTER), node)
        return self.structures.value(self.structures.member(packet, ast.Name("sk", node.span)), node)

    def reason(self, node: ast.Name) -> Expression:
        if self.hook.reason is None:
            hint = "hooks that give it: drop"
            refuse(Code.NOT_HERE, node, f"'{self.hook.name}' does not give a drop reason", hint)
        return ArgumentValue(self.hook.reason, self.hook.reason.type)

    def action(self, node: ast.Name) -> Expression:
        """What becomes of the packet: our own answer, or what a tracepoint says that a program of XDP has said."""
        match self.hook.attachment.kind:
            case HookKind.XDP:
                return Convert(Number(XDP_PASS, U64), XDP_ACTION)
            case HookKind.TC:
                return Convert(Number(TC_ACT_UNSPEC, S64), TC_ACTION)
        act = next((one for one in self.hook.arguments if one.name == "act" and one.type == U32), None)
        if act is None:
            hint = "hooks that give it: xdp and tc, xdp_error"
            refuse(Code.NOT_HERE, node, f"'{self.hook.name}' does not give an action", hint)
        return Convert(ArgumentValue(act, act.type), XDP_ACTION)

    def buffer(self, node: ast.Name) -> Expression:
        """The packet's `struct xdp_buff` or `struct xdp_frame`."""
        packet = self.hook.packet
        if packet is None or packet.form not in (PacketForm.XDP_BUFF, PacketForm.XDP_FRAME):
            hint = "hooks that give it: xdp, and functions that take a struct xdp_buff * or struct xdp_frame *"
            refuse(Code.NOT_HERE, node, f"the packet of '{self.hook.name}' is none of XDP", hint)
        return ArgumentValue(packet.pointer, packet.pointer.type)

    def need_stack(self, node: ast.Expression | ast.Action) -> None:
        """Refuse the kernel's stack where programs may not ask for it."""
        kind = self.hook.attachment.kind
        if kind in STACKLESS:
            hint = "rx and tx are near, and have one" if kind is not HookKind.XDP else "rx is near, and has one"
            refuse(Code.NOT_HERE, node, f"the kernel gives {kind} hooks no stack", hint)

    def argument(self, field: ast.Name) -> Expression:
        argument = next((a for a in self.hook.arguments if a.name == field.name), None)
        if argument is None:
            known = [a.name for a in self.hook.arguments]
            hints = did_you_mean(field.name, known) or ((f"it has {', '.join(known)}",) if known else ())
            refuse(Code.UNKNOWN_ARGUMENT, field, f"'{self.hook.name}' has no argument '{field.name}'", *hints)
        if isinstance(argument.type, OpaqueType):
            message = f"'{field.name}' is {a(argument.type)}, which the language has no value for"
            refuse(Code.UNSUPPORTED, field, message)
        return ArgumentValue(argument, argument.type)
