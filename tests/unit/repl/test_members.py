from __future__ import annotations

from pathlib import Path

import pytest

from xcapscript.errors import KernelError
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.repl.members import hooks_called, members

ROOT = Path(__file__).parents[3]
KERNEL = FrozenKernel(ROOT / "tests" / "data" / "kernel" / "linux-6.18.json")
LIBRARY = default_library({})


def found(text: str, *hooks: str) -> dict[str, str] | None:
    match = members(text, hooks, LIBRARY, KERNEL)
    return None if match is None else dict(match[1])


def test_arguments_are_those_of_the_hook() -> None:
    assert found("args.", "drop") == {
        "skb": "struct sk_buff *",
        "location": "void *",
        "reason": "enum skb_drop_reason",
        "rx_sk": "struct sock *",
    }
    assert found("args.") == {}


def test_of_several_hooks_all_arguments_are_known() -> None:
    assert set(found("args.", "drop", "rx") or {}) >= {"skb", "reason"}


def test_structs_are_followed_step_by_step() -> None:
    assert (found("skb->") or {})["dev"] == "struct net_device *"
    assert (found("skb->dev.") or {})["ifindex"].endswith("int32")
    assert (found("args.skb->dev->", "drop") or {})["ifindex"].endswith("int32")
    assert "skc_dport" in (found("sk.__sk_common.") or {})
    assert "snd_cwnd" in (found("((struct tcp_sock *)args.sk)->", "drop") or {})


def test_a_socket_has_short_names_too() -> None:
    assert "state" in (found("sk.") or {})
    assert "__sk_common" in (found("sk.") or {})


def test_fields_of_packets_are_those_of_their_layer() -> None:
    assert set(found("ip.") or {}) >= {"src", "dst", "ttl"}
    assert "state" in (found("tcp.") or {})


@pytest.mark.parametrize("text", ["skb->nothing.", "nothing->", "ip.src.", "args.nothing.x", "skb->len."])
def test_what_has_no_members_has_none(text: str) -> None:
    assert found(text, "drop") == {}


def test_where_no_path_ends_there_is_nothing_to_say() -> None:
    assert found("pid ") is None
    assert found("1.") is None


def test_a_kernel_that_cannot_be_asked_has_no_members() -> None:
    class Mute(FrozenKernel):
        def struct(self, name: str) -> None:
            raise KernelError(f"no {name}")

    assert members("skb->de", (), LIBRARY, Mute(ROOT)) == ("de", {})


def test_hooks_that_are_not_there_or_are_many_are_left_out() -> None:
    assert hooks_called(["nothing", "rawtracepoint:net*"], LIBRARY, KERNEL) == []
