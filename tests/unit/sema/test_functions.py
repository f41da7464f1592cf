"""Kernel functions as hooks, on a kernel that has a few: where the packet is, what a wildcard takes, mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import pytest

from xcapscript.diagnostics import ScriptError
from xcapscript.ir import Hook, PacketForm
from xcapscript.kernel.facts import Argument, Function
from xcapscript.library import default_library
from xcapscript.nodes.hook import NO_RESULT, HookArgument
from xcapscript.sema.hooks.resolve import Hooks
from xcapscript.source import Source
from xcapscript.syntax import ast
from xcapscript.types import S32, S64, U64, EnumType, PointerType, StructType, Type

SKB, SOCK, MSG = PointerType("struct sk_buff"), PointerType("struct sock"), PointerType("struct msghdr")
BUFF, FRAME = PointerType("struct xdp_buff"), PointerType("struct xdp_frame")
REASON = EnumType("skb_drop_reason", ((2, "SKB_DROP_REASON_NOT_SPECIFIED"),))


def function(name: str, *arguments: tuple[str, Type], result: Type | None = None, module: str = "") -> Function:
    return Function(name, name, tuple(Argument(*one) for one in arguments), result, module)


FUNCTIONS = {
    one.name: one
    for one in (
        function("tcp_v4_rcv", ("skb", SKB), result=S32),
        function("tcp_ack", ("sk", SOCK), ("skb", SKB), ("flag", S32), result=S32),
        function("tcp_data", ("sk", SOCK), ("skb", SKB)),
        function("tcp_head", ("skb", SKB), result=SKB),
        function("tcp_sendmsg", ("sk", SOCK), ("msg", MSG), ("size", U64), result=S32),
        function("sock_close", ("sk", SOCK)),
        function("kfree_skb_reason", ("skb", SKB), ("reason", REASON)),
        function("by_value", ("pair", StructType("struct pair", 0)), ("skb", SKB)),
        function("veth_xmit", ("skb", SKB), result=S32, module="veth"),
        function("xsk_rcv", ("xs", SOCK), ("xdp", BUFF), result=S32),
        function("xdp_frame_in", ("frame", FRAME), ("skb", SKB)),
        function("xdp_frame_out", ("dev", U64), ("frame", FRAME)),
        Function("split", "split.isra.0", (Argument("skb", SKB),), S32),
        Function("bare", "bare", None),
    )
}


class Kernel:
    """What resolving asks of a kernel."""

    def __init__(self, *, kprobes: bool = True) -> None:
        self._kprobes = kprobes

    def attaches(self, kind: str) -> bool:
        return self._kprobes and kind in ("kprobe", "fentry")

    def function(self, name: str, module: str = "") -> Function | None:
        found = FUNCTIONS.get(name)
        return found if found is not None and module in ("", found.module) else None

    def functions(self, pattern: str, taking: Sequence[str] = ()) -> Sequence[str]:
        pointers = {PointerType(f"struct {name}") for name in taking}
        return sorted(
            f"{one.module}:{name}" if one.module else name
            for name, one in FUNCTIONS.items()
            if fnmatchcase(name, pattern.rpartition(":")[2])
            and (not taking or any(argument.type in pointers for argument in one.arguments or ()))
        )

    def why_not(self, name: str) -> str | None:
        return "it is marked notrace" if name == "tcp_head" else None

    def raw_tracepoint(self, _name: str) -> None:
        return None


def resolve(text: str, *, kprobes: bool = True, most: int = 8192) -> list[Hook]:
    hooks = Hooks({}, default_library(), Kernel(kprobes=kprobes), most)  # type: ignore[arg-type]
    return hooks.resolve(ast.Attach(text, Source("x", text).span(0, len(text))))


def one(text: str) -> Hook:
    (hook,) = resolve(text)
    return hook


def refusal(text: str, **more: Any) -> str:
    with pytest.raises(ScriptError) as caught:
        resolve(text, **more)
    (diagnostic,) = caught.value.diagnostics
    return " | ".join([diagnostic.message, *diagnostic.hints])


def test_the_packet_is_the_argument_that_is_one() -> None:
    assert one("kprobe:tcp_ack").skb is not None
    assert one("kprobe:tcp_ack").skb.place == 1  # type: ignore[union-attr]
    assert one("kprobe:tcp_ack").sock.place == 0  # type: ignore[union-attr]


def test_a_socket_and_what_it_is_to_send() -> None:
    hook = one("kprobe:tcp_sendmsg")
    assert (hook.packet, hook.sock and hook.sock.place, hook.msg and hook.msg.place) == (None, 0, 1)
    assert one("kprobe:sock_close").msg is None


def test_a_binding_group_says_otherwise() -> None:
    assert one("kprobe:bare(skb=arg2)").skb.place == 2  # type: ignore[union-attr]
    assert one("kprobe:tcp_ack(sk=arg0)").packet is None
    assert one("fentry:tcp_ack(skb=args.skb)").skb.place == 1  # type: ignore[union-attr]


def test_packets_of_xdp() -> None:
    """An skb comes first, as it tells more."""
    found = one("kprobe:xsk_rcv"), one("kprobe:xdp_frame_out"), one("kprobe:xdp_frame_in")
    packets = [hook.packet for hook in found]
    assert [(packet.form, packet.pointer.place) for packet in packets if packet] == [
        (PacketForm.XDP_BUFF, 1),
        (PacketForm.XDP_FRAME, 1),
        (PacketForm.SKB, 1),
    ]
    bound = one("kprobe:xdp_frame_in(frame=arg0)").packet, one("kprobe:sock_close(xdp=arg2)").packet
    assert [(packet.form, packet.pointer.place) for packet in bound if packet] == [
        (PacketForm.XDP_FRAME, 0),
        (PacketForm.XDP_BUFF, 2),
    ]


def test_a_wildcard_keeps_packets_of_xdp_apart() -> None:
    hooks = resolve("kprobe:x*")
    assert sorted(str(hook.packet.form) for hook in hooks if hook.packet) == ["frame", "skb", "xdp"]


def test_what_a_function_returns() -> None:
    assert one("kretprobe:tcp_v4_rcv").result.type == S32  # type: ignore[union-attr]
    assert one("fexit:tcp_ack").result.place == 3  # type: ignore[union-attr]
    assert one("kretprobe:tcp_data").result is None
    assert one("kprobe:tcp_v4_rcv").result is None


def test_a_drop_reason_is_found() -> None:
    assert one("kprobe:kfree_skb_reason").reason.place == 1  # type: ignore[union-attr]


def test_what_comes_behind_a_struct_by_value_is_nowhere_known() -> None:
    assert one("kprobe:by_value").arguments == ()
    assert one("kprobe:by_value").packet is None


def test_a_variant_of_the_compilers_is_found_but_not_typed() -> None:
    assert one("kprobe:split").attachment.functions == ("split.isra.0",)
    assert "has no prototype in BTF" in refusal("fentry:split")


def test_a_modules_function() -> None:
    assert one("kprobe:veth:veth_xmit").attachment.module == "veth"
    assert one("fentry:veth_xmit").attachment.module == "veth"


def test_within_a_function_registers_hold_anything() -> None:
    assert one("kprobe:tcp_v4_rcv+0x10").packet is None
    assert one("kprobe:tcp_v4_rcv+16(skb=arg0)").skb is not None
    assert one("kprobe:tcp_v4_rcv+16").attachment.offset == 16
    assert "takes no offset" in refusal("kretprobe:tcp_v4_rcv+16")


def test_a_wildcard_is_one_program_for_each_place_of_the_packet() -> None:
    hooks = resolve("kprobe:tcp_*")
    assert [hook.attachment.functions for hook in hooks] == [("tcp_ack", "tcp_data"), ("tcp_v4_rcv",)]
    assert [hook.names() for hook in hooks] == [("kprobe:tcp_ack", "kprobe:tcp_data"), ("kprobe:tcp_v4_rcv",)]
    assert [hook.attachment.target for hook in hooks] == ["tcp_*", "tcp_v4_rcv"]


def test_what_a_wildcards_functions_return_has_a_sign_or_is_nothing() -> None:
    results = {hook.attachment.functions: hook.result for hook in resolve("kretprobe:tcp_*")}
    assert results[("tcp_data",)] == HookArgument("retval", S64, NO_RESULT)
    assert results[("tcp_ack",)].type == S32  # type: ignore[union-attr]


def test_a_wildcard_that_matches_sockets_alone_takes_them() -> None:
    (hook,) = resolve("kprobe:sock_*")
    assert hook.attachment.functions == ("sock_close",)
    assert hook.sock is not None


def test_pointers_returned_by_a_wildcards_functions_have_a_sign_as_all_else() -> None:
    FUNCTIONS.update({n: function(n, ("skb", SKB), result=SKB) for n in ("ptr_a", "ptr_b")})
    (hook,) = resolve("kretprobe:ptr_*")
    assert hook.result is not None
    assert hook.result.type == S64
    for name in ("ptr_a", "ptr_b"):
        del FUNCTIONS[name]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kprobe:tcp_v4_rvc", "this kernel has no function 'tcp_v4_rvc' | did you mean 'tcp_v4_rcv'?"),
        ("kprobe:tcp_head", "'tcp_head' cannot be attached to: it is marked notrace"),
        ("kprobe:nothing_*", "'kprobe:nothing_*' matches no function that has a packet"),
        ("kprobe:", "'' is no function"),
        ("kprobe:a b", "'a b' is no function"),
        ("kprobe:tcp_ack(buf=arg0)", "'buf' is nothing that can be bound"),
        ("kprobe:tcp_ack(skb=arg9)", "'arg9' is out of reach: the first 6 arguments can be had"),
        ("kprobe:tcp_ack(skb=args.sbk)", "'args.sbk' is no argument of"),
        ("fentry:bare", "'bare' has no prototype in BTF, which fentry needs"),
    ],
)
def test_mistakes_are_named(text: str, said: str) -> None:
    assert refusal(text).startswith(said) or said in refusal(text)


def test_a_kernel_without_kprobes_says_so() -> None:
    assert refusal("kprobe:tcp_ack", kprobes=False).startswith("'kprobe' hooks do not work on this kernel")
    assert refusal("fexit:tcp_ack", kprobes=False).startswith("'fexit' hooks do not work on this kernel")


def test_a_wildcard_may_match_only_so_many() -> None:
    assert len(resolve("kprobe:tcp_*", most=3)) == 2
    said = "'kprobe:tcp_*' matches 3 functions, of at most 2 | narrow it down, or raise option max_probes"
    assert refusal("kprobe:tcp_*", most=2) == said
