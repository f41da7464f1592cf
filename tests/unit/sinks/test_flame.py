"""Flame graphs, as an XML parser and the readers of folded stacks see them."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from xcapscript.layout import Value, lay_out
from xcapscript.sinks.base import SinkError
from xcapscript.sinks.flame import FlameGraph, is_drawn
from xcapscript.sinks.values import ValueText
from xcapscript.source import Source
from xcapscript.types import STACK_SLACK, TASK_COMM, U32, U64, EnumType, IpType, StackType, Type
from xcapscript.unit import Aggregation, MapSpec

SVG = "{http://www.w3.org/2000/svg}"
NAMES = {
    1: "entry+0x1", 2: "ip_rcv+0x20", 3: "drop+0x9 [nf_tables]", 4: "tcp<&>\"'+0x4", 5: "bpf_prog_0011_f+0x1 [bpf]",
    6: "ip_rcv+0x44", 7: "a;b+0x1",
}  # fmt: skip
STACK = StackType(4)
REASON = EnumType("skb_drop_reason", ((6, "SKB_DROP_REASON_NO_SOCKET"), (7, "SKB_DROP_REASON_NETFILTER_DROP")))

Content = dict[tuple[int | bytes, ...], Value]


def resolve(addresses: tuple[int, ...], depth: int) -> list[str]:
    return [NAMES[address] for address in addresses[:depth]]


def stack(*addresses: int) -> bytes:
    return b"".join(address.to_bytes(8, "little") for address in addresses)


def map_of(aggregation: Aggregation, *keys: Type, name: str = "@count", value: Type = U64) -> MapSpec:
    key = lay_out("key", [(f"k{number}", kind) for number, kind in enumerate(keys)])
    pair = aggregation in (Aggregation.AVG, Aggregation.STATS)
    held = lay_out("value", [("count", U64), ("total", U64)] if pair else [("value", value)])
    span = Source("x", "x").span(0, 1)
    return MapSpec(name, "map_0", key, held, aggregation, signed=False, max_entries=9, span=span)


def packed(spec: MapSpec, content: Content) -> dict[bytes, Value]:
    found = {}
    for parts, kept in content.items():
        data = bytearray(spec.key.size)
        for member, part in zip(spec.key.fields, parts, strict=True):
            encoded = part if isinstance(part, bytes) else part.to_bytes(4, "little")
            data[member.offset : member.offset + len(encoded)] = encoded
        found[bytes(data)] = kept
    return found


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., str]:
    def drawn(name: str, *maps: tuple[MapSpec, Content]) -> str:
        path = tmp_path / name
        graph = FlameGraph(str(path), ValueText((), resolve))
        for spec, content in maps:
            graph.add(spec, packed(spec, content))
        graph.close()
        return path.read_text(encoding="utf-8")

    return drawn


BY_REASON = map_of(Aggregation.COUNT, REASON, STACK)
COUNTED: Content = {(6, stack(2, 1)): 3, (7, stack(3, 2, 1)): 5, (7, stack(3, 6, 1)): 2, (6, stack(4, 1)): 1}


def frames(text: str) -> dict[str, tuple[float, float, float]]:
    """By title: left edge, width, and top."""
    found = {}
    for group in ET.fromstring(text).iter(f"{SVG}g"):
        title, rect = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None
        assert rect is not None
        assert title.text not in found
        found[str(title.text)] = (float(rect.get("x", 0)), float(rect.get("width", 0)), float(rect.get("y", 0)))
    return found


def test_folded_lines_go_from_the_outermost_frame_to_the_innermost(draw: Callable[..., str]) -> None:
    assert draw("x.folded", (BY_REASON, COUNTED)).splitlines() == [
        "NETFILTER_DROP;entry;ip_rcv;drop [nf_tables] 7",
        "NO_SOCKET;entry;ip_rcv 3",
        "NO_SOCKET;entry;tcp<&>\"' 1",
    ]


def test_maps_are_told_apart_where_there_are_several(draw: Callable[..., str]) -> None:
    other = map_of(Aggregation.SUM, STACK, TASK_COMM, name="@bytes"), {(stack(7, 1), b"a b;\x1b\xff"): 100}
    assert draw("x.folded", (BY_REASON, {(6, stack(1)): 2}), other).splitlines() == [
        "@bytes;a b:\\x1b\\xff;entry;a:b 100",
        "@count;NO_SOCKET;entry 2",
    ]


@pytest.mark.parametrize(
    ("aggregation", "keys", "content", "weight"),
    [
        (Aggregation.COUNT, (STACK,), {(stack(1),): 4}, 4),
        (Aggregation.SUM, (STACK,), {(stack(1),): 40}, 40),
        (Aggregation.AVG, (STACK,), {(stack(1),): (3, 900)}, 3),
        (Aggregation.STATS, (STACK,), {(stack(1),): (5, 900)}, 5),
        (Aggregation.HIST, (STACK, U32), {(stack(1), 3): 2, (stack(1), 5): 6}, 8),
        (Aggregation.VALUE, (STACK,), {(stack(1),): 7}, 7),
    ],
)
def test_what_a_row_weighs(
    draw: Callable[..., str], aggregation: Aggregation, keys: tuple[Type, ...], content: Content, weight: int
) -> None:
    spec = map_of(aggregation, *keys)
    assert is_drawn(spec)
    assert draw("x.folded", (spec, content)) == f"entry {weight}\n"


def test_maps_that_are_not_drawn(draw: Callable[..., str]) -> None:
    for spec in (
        map_of(Aggregation.COUNT, U32),
        map_of(Aggregation.MIN, STACK),
        map_of(Aggregation.MAX, STACK),
        map_of(Aggregation.VALUE, STACK, value=IpType()),
        map_of(Aggregation.VALUE, U32, value=STACK),
    ):
        assert not is_drawn(spec)
        assert draw("x.folded", (spec, {(1,): 1})) == ""


def test_empty_stacks_and_empty_counts(draw: Callable[..., str]) -> None:
    content: Content = {(stack(),): 4, (stack(1),): 0}
    assert draw("x.folded", (map_of(Aggregation.COUNT, STACK), content)) == "(no stack) 4\n"


def test_a_picture_is_as_wide_as_what_was_counted(draw: Callable[..., str]) -> None:
    found = frames(draw("x.svg", (BY_REASON, COUNTED)))
    left, whole, bottom = found["all (11, 100.00%)"]
    widths = {name: round(width / whole * 11, 1) for name, (_, width, _) in found.items()}
    assert widths == {
        "all (11, 100.00%)": 11,
        "NETFILTER_DROP (7, 63.64%)": 7,
        "entry (7, 63.64%)": 7,
        "ip_rcv (7, 63.64%)": 7,
        "drop [nf_tables] (7, 63.64%)": 7,
        "NO_SOCKET (4, 36.36%)": 4,
        "entry (4, 36.36%)": 4,
        "ip_rcv (3, 27.27%)": 3,
        "tcp<&>\"' (1, 9.09%)": 1,
    }
    # callees stand on their callers, side by side
    assert bottom > found["NO_SOCKET (4, 36.36%)"][2] > found["entry (4, 36.36%)"][2] > found["ip_rcv (3, 27.27%)"][2]
    assert found["NETFILTER_DROP (7, 63.64%)"][0] == left
    assert found["NO_SOCKET (4, 36.36%)"][0] == pytest.approx(left + found["NETFILTER_DROP (7, 63.64%)"][1], abs=0.02)


def test_a_picture_needs_nothing_else_and_is_the_same_each_time(draw: Callable[..., str]) -> None:
    text = draw("x.svg", (BY_REASON, COUNTED))
    assert text == draw("y.svg", (BY_REASON, COUNTED))
    assert set(re.findall(r"https?://[^\"']*", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"href|@import|url\(", text)


def test_labels_fit(draw: Callable[..., str]) -> None:
    content: Content = {(stack(2, 1),): 10_000, (stack(5, 1),): 200, (stack(6, 1),): 1}
    labels = {}
    for group in ET.fromstring(draw("x.svg", (map_of(Aggregation.COUNT, STACK), content))).iter(f"{SVG}g"):
        text, title = group.find(f"{SVG}text"), group.find(f"{SVG}title")
        assert text is not None
        assert title is not None
        labels[str(title.text)] = text.text
    assert labels == {
        "all (10,201, 100.00%)": "all",
        "entry (10,201, 100.00%)": "entry",
        "ip_rcv (10,001, 98.04%)": "ip_rcv",
        "bpf_prog_0011_f [bpf] (200, 1.96%)": None,
    }


def test_what_cannot_be_seen_is_left_out(draw: Callable[..., str]) -> None:
    content: Content = {(stack(2, 1),): 1_000_000, (stack(3, 1),): 1}
    found = frames(draw("x.svg", (map_of(Aggregation.COUNT, STACK), content)))
    assert not any(name.startswith("drop") for name in found)


def test_nothing_counted_is_a_picture_that_says_so(draw: Callable[..., str]) -> None:
    text = draw("x.svg")
    assert "nothing was counted" in "".join(ET.fromstring(text).itertext())
    assert frames(text) == {}


def test_the_longest_stack_is_no_trouble(draw: Callable[..., str]) -> None:
    deep = StackType(127)
    size = 127 + STACK_SLACK
    content: Content = {(stack(*[1, 2] * (size // 2)),): 5}
    text = draw("x.svg", (map_of(Aggregation.COUNT, deep), content))
    assert len(list(ET.fromstring(text).iter(f"{SVG}g"))) == 128


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(SinkError):
        FlameGraph(str(tmp_path / "none" / "x.svg"), ValueText((), resolve))


def test_what_cannot_be_written_is_not_drawn() -> None:
    graph = FlameGraph("/dev/full", ValueText((), resolve))
    graph.add(BY_REASON, packed(BY_REASON, COUNTED))
    with pytest.raises(SinkError, match="No space left"):
        graph.close()
    assert graph.stacks is None
