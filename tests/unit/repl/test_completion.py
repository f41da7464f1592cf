"""What is completed where: pure functions of the text, the cursor, the library and a frozen kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.repl.commands import COMMANDS
from xcapscript.repl.completion import KINDS, Candidate, complete
from xcapscript.repl.fuzzy import Names
from xcapscript.repl.world import World, hooks_by_kind

ROOT = Path(__file__).parents[3]
KERNEL = FrozenKernel(ROOT / "tests" / "data" / "kernel" / "linux-6.18.json")
LIBRARY = default_library({})
WORLD = World(
    LIBRARY,
    KERNEL,
    hooks_by_kind(KERNEL, LIBRARY),
    maps=("@bytes", "@count"),
    jobs=("1", "2"),
    interfaces=("eth0", "lo"),
    namespaces=("blue",),
    hosts=("localhost", "router"),
    services=("http", "ssh"),
    symbols=lambda path: {"/usr/bin/x": ["main", "process"], "/a b/;": ['"main.(*T).f"']}.get(path, []),
    files=lambda start: [path for path in ("drops.pcapng", "s.xcap", "/a b/", "/a b/;") if path.startswith(start)],
)


def found(text: str) -> list[Candidate]:
    """What is completed where '|' stands."""
    before, _, after = text.partition("|")
    return complete(before + after, len(before), WORLD)


def names(text: str) -> list[str]:
    return [one.text for one in found(text)]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("dro|", "drop"),
        ("rawtr|", "rawtracepoint:"),
        ("rawtracepoint:kfree_s|", "kfree_skb"),
        ("rt:kfree_s|", "kfree_skb"),
        ("tracepoint:skb:kf|", "skb:kfree_skb"),
        ("rx, tx|", "tx"),
        ("interval:|", "1s"),
        ("xdp:|", "eth0"),
        ("tc:eth0:in|", "eth0:ingress"),
        ("uprobe:dr|", "drops.pcapng"),
        ("uprobe:/usr/bin/x:pro|", "process"),
        ("u:/usr/bin/x:ma|", "main"),
        ("u:/a|", '"/a b/'),
        ('u:"/a b/|', '"/a b/'),
        ('u:"/a b/;|', '"/a b/;"'),
        ('u:"/a b/;":mai|', '"main.(*T).f"'),
        ('xdp:"et|', "eth0"),
        ("hook mine = rawtracepoint:kfree_s|", "kfree_skb"),
        ("imp|", "import"),
        ('import "dr|', "drop"),
        ("option snap|", "snaplen"),
        ("drop /ic|", "icmp"),
        ("drop /icmp and rea|", "reason"),
        ("drop /icmp and reason == NETF|", "NETFILTER_DROP"),
        ("drop /reason != netf|", "NETFILTER_DROP"),
        ("drop { if args.reason == NETF|", "NETFILTER_DROP"),
        ("drop /host rou|", "router"),
        ("drop /port ss|", "ssh"),
        ("drop /tcp[tcpfl|", "tcpflags"),
        ("drop /tcp[tcpflags] & tcp-s|", "tcp-syn"),
        ('drop /ifname == "e|', "eth0"),
        ('drop /netns == "b|', "blue"),
        ('rx /inner "tc|', "tcp"),
        ("drop /icmp/ { cou|", "count"),
        ("drop /icmp/ { print(1); pri|", "print"),
        ("drop { count(rea|", "reason"),
        ("drop { @m[pid] = hi|", "hist"),
        ("drop { print(@by|", "@bytes"),
        ("drop { @mine = count(); print(@mi|", "@mine"),
        ("drop { $long = 1; print($l|", "$long"),
        ("drop { print(args.rea|", "reason"),
        ("drop { print(args.skb->dev|", "dev"),
        ("drop { print(skb->dev->nam|", "name"),
        ("drop { print(ip.s|", "src"),
        ("drop { print(sk.sta|", "state"),
        ("drop { print(((struct sk_buff *)args.skb)->dev|", "dev"),
        ("drop { if has(tc|", "tcp"),
        ('drop { dump("dr|', "drops.pcapng"),
        (".wat|", ".watch"),
        (".print @co|", "@count"),
        (".stop a|", "all"),
        (".pause |", "1"),
        (".desc rawtracepoint:kfree_s|", "kfree_skb"),
        (".hooks dr|", "drop"),
        (".load s|", "s.xcap"),
        (".set sn|", "snaplen"),
        (".set format |", "text"),
        (".set format js|", "json"),
        (".set buffer |", "ring"),
        (".set why |", "on"),
        (".set interface l|", "lo"),
        (".set output s|", "s.xcap"),
        (".help key|", "keys"),
        (".fields tc|", "tcp"),
    ],
)
def test_the_likeliest_comes_first(text: str, first: str) -> None:
    assert names(text)[0] == first


@pytest.mark.parametrize(
    "text",
    [
        "drop /icmp/ |",
        "drop { // dro|",
        "drop /* dro|",
        'drop { printf("dro|',
        ".ls |",
        "!ls |",
        "drop { print(nothing.x|",
        ".nonsense x|",
        "hook mi|",
    ],
)
def test_nothing_is_completed_where_nothing_fits(text: str) -> None:
    assert found(text) == []


def test_a_candidate_takes_the_place_of_what_was_typed() -> None:
    assert found("rx, dro|")[0] == Candidate("drop", 4, "a packet is thrown away, and the kernel says why (reason).")
    assert found("drop { print(args.rea|")[0] == Candidate("reason", 18, "enum skb_drop_reason")
    assert found("drop { print(@by|")[0] == Candidate("@bytes", 13, "map")


def test_what_stands_behind_the_cursor_is_left_alone() -> None:
    assert found("drop /ic|mp/ { dump; }")[0] == Candidate("icmp", 6, "tcpdump")


def test_fields_have_their_types() -> None:
    assert next(one for one in found("drop { print(ip.|") if one.text == "ttl").meta.startswith("uint8")
    assert next(one for one in found("drop { print(skb->|") if one.text == "dev").meta == "struct net_device *"


def test_all_kinds_of_hooks_and_all_libraries_are_completed() -> None:
    shown = {name.rstrip(":") for name in names("|")}
    assert shown >= {kind.value for kind in KINDS}
    assert shown >= set(LIBRARY.standard_names())


def test_all_commands_are_completed() -> None:
    assert set(names(".|")) == {f".{name}" for name in COMMANDS}


def test_hooks_that_are_not_read_yet_are_none() -> None:
    assert complete("rawtracepoint:k", 15, World(LIBRARY, KERNEL)) == []


def test_a_hook_that_is_not_there_has_no_arguments() -> None:
    assert names("rawtracepoint:nothing { print(args.|") == []


class Traced(FrozenKernel):
    """A kernel with kprobes, and without fentry."""

    def attaches(self, kind: str) -> bool:
        return kind == "kprobe"

    def functions(self, pattern: str, taking: object = ()) -> list[str]:
        del pattern, taking
        return ["ip_rcv", "tcp_v4_rcv"]


def test_functions_are_those_of_the_kernel_where_it_can_be_attached_to_them() -> None:
    kernel = Traced(ROOT / "tests" / "data" / "kernel" / "linux-6.18.json")
    hooks = hooks_by_kind(kernel, LIBRARY)
    world = World(LIBRARY, kernel, hooks)
    assert [one.text for one in complete("kprobe:rcv", 10, world)] == ["ip_rcv", "tcp_v4_rcv"]
    assert [one.text for one in complete("kr:tcp", 6, world)] == ["tcp_v4_rcv"]
    assert complete("fentry:rcv", 10, world) == []


def test_120_000_functions_are_searched() -> None:
    many = Names.of(f"{a}_{b}_{c}" for a in ("tcp", "udp", "ip") for b in range(200) for c in range(200))
    world = World(LIBRARY, KERNEL, {"rawtracepoint": many})
    first = complete("rawtracepoint:udp_7_", 20, world)[0]
    assert first == Candidate("udp_7_0", 14, "rawtracepoint")
    assert complete("rawtracepoint:up17_8", 20, world)[0].text.startswith("udp_1")
