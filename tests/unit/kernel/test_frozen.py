"""What is frozen is thawed as it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xcapscript.kernel.facts import Argument, Kernel, Member, RawTracepoint, Struct, Tracepoint, TracepointField
from xcapscript.kernel.frozen import FrozenKernel, freeze
from xcapscript.types import S32, U8, U64, ArrayType, EnumType, OpaqueType, PointerType, StringType, StructType

LINUX_6_18 = Path(__file__).parents[2] / "data" / "kernel" / "linux-6.18.json"

SHAPES = {
    "possible_net_t": Struct("possible_net_t", 8, (Member("net", PointerType("struct net"), 0),)),
    "struct sk_buff": Struct(
        "struct sk_buff",
        64,
        (
            Member("cb", StringType(48), 0),
            Member("nets", ArrayType(StructType("possible_net_t", 0), 2, 8), 384),
            Member("pkt_type", U8, 400, 3),
        ),
    ),
}
REASON = EnumType("reason", ((0, "NONE"), (0xFFFF0000, "MASK")))
RAW = RawTracepoint(
    "kfree_skb",
    (
        Argument("skb", PointerType("struct sk_buff")),
        Argument("names", PointerType("char *")),
        Argument("which", PointerType("enum reason")),
        Argument("reason", REASON),
        Argument("rc", S32),
        Argument("state", OpaqueType("union state")),
    ),
)
RECORD = Tracepoint(
    "skb",
    "kfree_skb",
    17,
    (
        TracepointField("comm", StringType(16), 8),
        TracepointField("name", StringType(64), 24, dynamic=True),
        TracepointField("ok", U8, 28),
        TracepointField("nsecs", U64, 32),
        TracepointField("saddr", OpaqueType("__u8[4]"), 40),
        TracepointField("unknown", EnumType("unheard_of", ()), 44),
    ),
)


class Original:
    """One raw tracepoint and one tracepoint."""

    def raw_tracepoint(self, name: str) -> RawTracepoint | None:
        return RAW if name == RAW.name else None

    def raw_tracepoints(self) -> Sequence[str]:
        return [RAW.name]

    def tracepoint(self, category: str, name: str) -> Tracepoint | None:
        return RECORD if (category, name) == (RECORD.category, RECORD.name) else None

    def tracepoints(self) -> Sequence[str]:
        return ["skb:kfree_skb"]

    def enum(self, name: str) -> EnumType | None:
        return REASON if name == REASON.name else None

    def struct(self, name: str) -> Struct | None:
        return SHAPES.get(f"struct {name}")

    def struct_of(self, kind: StructType) -> Struct | None:
        return SHAPES.get(kind.name)

    def network_namespace(self, _name: str) -> int | None:
        return None


def test_a_kernel_is_thawed_as_it_was_frozen(tmp_path: Path) -> None:
    path = tmp_path / "kernel.json"
    path.write_text(freeze(Original(), ["kfree_skb", "none"], ["skb:kfree_skb", "skb:none"], ["sk_buff", "none"]))
    kernel: Kernel = FrozenKernel(path)
    assert kernel.raw_tracepoint("kfree_skb") == RAW
    assert kernel.tracepoint("skb", "kfree_skb") == RECORD
    assert kernel.enum("reason") == REASON
    assert list(kernel.raw_tracepoints()) == ["kfree_skb"]
    assert list(kernel.tracepoints()) == ["skb:kfree_skb"]
    assert kernel.struct("sk_buff") == kernel.struct_of(StructType("struct sk_buff", 7)) == SHAPES["struct sk_buff"]
    assert kernel.struct_of(StructType("possible_net_t", 8)) == SHAPES["possible_net_t"]
    assert kernel.struct("none") is None


def test_what_was_not_frozen_is_not_there() -> None:
    kernel = FrozenKernel(LINUX_6_18)
    assert kernel.raw_tracepoint("none") is None
    assert kernel.tracepoint("skb", "none") is None
    assert kernel.enum("none") is None


def test_linux_6_18_has_what_tests_hook() -> None:
    kernel = FrozenKernel(LINUX_6_18)
    names = {
        "kfree_skb",
        "consume_skb",
        "netif_receive_skb",
        "net_dev_start_xmit",
        "tcp_retransmit_skb",
        "sched_switch",
    }
    assert names <= set(kernel.raw_tracepoints())
    assert {"skb:kfree_skb", "net:net_dev_xmit", "sock:inet_sock_set_state"} <= set(kernel.tracepoints())
    drop = kernel.raw_tracepoint("kfree_skb")
    assert drop is not None
    assert [str(argument.type) for argument in drop.arguments] == [
        "struct sk_buff *",
        "void *",
        "enum skb_drop_reason",
        "struct sock *",
    ]
    assert drop.arguments[2].type == kernel.enum("skb_drop_reason")
    reasons = kernel.enum("skb_drop_reason")
    assert reasons is not None
    assert (2, "SKB_DROP_REASON_NOT_SPECIFIED") in reasons.members
