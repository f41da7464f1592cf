"""What is completed in a binding group: names, then the function's arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from xcapscript.kernel.facts import Argument, Function
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.repl.completion import Candidate, complete
from xcapscript.repl.world import World
from xcapscript.types import S32, PointerType, StructType

ROOT = Path(__file__).parents[3]
SK, SKB = PointerType("struct sock"), PointerType("struct sk_buff")
FUNCTIONS = {
    "deliver": (Argument("net", PointerType("struct net")), Argument("sk", SK), Argument("skb", SKB)),
    "by_value": (Argument("len", S32), Argument("key", StructType("struct flowi", 1)), Argument("skb", SKB)),
    "unknown": None,
}


class Kernel(FrozenKernel):
    """With functions, of which the frozen one has none."""

    def function(self, name: str, module: str = "") -> Function | None:
        return Function(name, name, FUNCTIONS[name]) if name in FUNCTIONS and not module else None


WORLD = World(default_library({}), Kernel(ROOT / "tests" / "data" / "kernel" / "linux-6.18.json"))


def found(text: str) -> list[Candidate]:
    return complete(text, len(text), WORLD)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("kprobe:deliver(", ["skb", "xdp", "frame", "sk", "msg"]),
        ("kprobe:deliver(sk", ["sk", "skb"]),
        ("kprobe:deliver(skb=arg2, s", ["sk", "msg"]),
        ("k:deliver(skb=arg2, sk=arg1, ms", ["msg"]),
        ("rx, kprobe:deliver(fr", ["frame"]),
        ("kprobe:deliver(skb=", ["skb", "arg2", "net", "sk", "arg0", "arg1"]),
        ("kretprobe:deliver(sk=", ["sk", "arg1", "net", "skb", "arg0", "arg2"]),
        ("fentry:deliver(skb=sk", ["skb", "sk"]),
        ("kprobe:deliver(skb=arg", ["arg2", "arg0", "arg1"]),
        ("kprobe:by_value(skb=", ["len", "arg0"]),
        ("kprobe:unknown(skb=", ["arg0", "arg1", "arg2", "arg3", "arg4", "arg5"]),
        ("kprobe:tcp_*(sk=", ["arg0", "arg1", "arg2", "arg3", "arg4", "arg5"]),
        ("rawtracepoint:kfree_skb(", ["skb", "sk"]),
        ("rawtracepoint:kfree_skb(skb=sk", ["skb", "rx_sk"]),
        ("uprobe:/opt/fwd:frame(bu", ["buf", "buf_addr", "mbuf", "mbufs"]),
        ("uprobe:/opt/fwd:frame(buf=arg0, le", ["len", "data_len", "pkt_len"]),
        ("uprobe:/opt/fwd:frame(buf=arg0, len=arg1, link=", ["ethernet", "raw"]),
        ("uretprobe:/opt/fwd:frame(buf=arg0, len=re", ["retval"]),
        ("uprobe:/opt/fwd:frame(mbuf=arg0, next=", []),
        ("hook mine = kprobe:deliver(skb=sk", ["skb", "sk"]),
        ("hook mine = rx | kprobe:deliver(x", ["xdp"]),
        ("interval:1s(", []),
        ("kprobe:deliver(nothing=", []),
    ],
)
def test_names_and_then_arguments_are_completed(text: str, names: list[str]) -> None:
    assert [one.text for one in found(text)] == names


def test_types_stand_beside_and_what_was_typed_gives_way() -> None:
    first = found("kprobe:deliver(skb=sk")[0]
    assert first == Candidate("skb", len("kprobe:deliver(skb="), "struct sk_buff *")
    assert found("kprobe:deliver(fra")[0] == Candidate(
        "frame", len("kprobe:deliver("), "struct xdp_frame *: the packet"
    )
