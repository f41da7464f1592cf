"""Events and ring records as the reader hands them to the sinks."""

import sys
from collections.abc import Callable

import pytest

from xcapscript.layout import PACKET, Layout, size_of
from xcapscript.source import Source
from xcapscript.unit import Attachment, EventKind, EventSpec, HookKind

NETNS = 4026532281
NETFILTER_DROP = 8


@pytest.fixture
def make_spec() -> Callable[..., EventSpec]:
    def make(kind: EventKind = EventKind.DUMP, layout: Layout = PACKET, **given: object) -> EventSpec:
        fields: dict[str, object] = {
            "id": 0,
            "kind": kind,
            "layout": layout,
            "hook": "drop",
            "attachment": Attachment(HookKind.RAWTRACEPOINT, "kfree_skb"),
            "span": Source("test.xcap", "drop").span(0, 4),
            "has_reason": True,
            "reasons": ((2, "SKB_DROP_REASON_NOT_SPECIFIED"), (NETFILTER_DROP, "SKB_DROP_REASON_NETFILTER_DROP")),
        }
        return EventSpec(**{**fields, **given})  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_record() -> Callable[..., bytes]:
    """A ring record: the fields of PACKET, zero where nothing is said, and the packet behind them."""

    def make(data: bytes, **given: int | bytes) -> bytes:
        fields: dict[str, int | bytes] = {
            "id": 0,
            "wire_len": len(data),
            "cap_len": len(data),
            "ifindex": 2,
            "netns": NETNS,
            "reason": NETFILTER_DROP,
            "pid": 812,
            "link": 1,
            "comm": b"ping",
            "ifname": b"veth-b",
            **given,
        }
        fields.setdefault("tid", fields["pid"])
        record = bytearray(PACKET.size)
        for name, value in fields.items():
            place = PACKET.field(name)
            size = size_of(place.type)
            packed = value if isinstance(value, bytes) else value.to_bytes(size, sys.byteorder)
            record[place.offset : place.offset + len(packed)] = packed
        return bytes(record) + data

    return make
