from __future__ import annotations

from xcapscript.repl.fuzzy import Names, like

NAMES = Names.of(["tcp_v4_rcv", "tcp_v6_rcv", "ip_rcv", "udp_rcv", "rcv_all", "__netif_receive_skb", "net_rx_action"])


def test_names_that_begin_so_come_first_then_words_then_what_contains_it() -> None:
    assert NAMES.like("rcv")[:2] == ["rcv_all", "ip_rcv"]
    assert NAMES.like("ec")[0] == "__netif_receive_skb"


def test_letters_in_order_are_enough() -> None:
    assert NAMES.like("t4r") == ["tcp_v4_rcv"]
    assert NAMES.like("nrxa") == ["net_rx_action"]


def test_what_is_not_there_is_not_found() -> None:
    assert NAMES.like("zz") == []
    assert Names.of([]).like("a") == []


def test_no_more_than_asked_for_are_found() -> None:
    assert len(NAMES.like("", 3)) == 3
    assert len(NAMES.like("r", 2)) == 2


def test_signs_mean_themselves() -> None:
    assert Names.of(["a.b", "axb"]).like(".") == ["a.b"]
    assert Names.of(["a", "b"]).like("[") == []


def test_small_letters_mean_capitals_but_not_the_other_way_round() -> None:
    assert like("netf", ["NETFILTER_DROP", "network"]) == ["NETFILTER_DROP"]
    assert like("NETF", ["netfilter"]) == []


def test_without_letters_the_order_is_kept() -> None:
    assert like("", ["b", "a"]) == ["b", "a"]
