"""Events and ring records as the reader hands them to the sinks."""

import struct
from collections.abc import Callable

import pytest

from xcapscript.layout import PACKET, Layout
from xcapscript.source import Source
from xcapscript.unit import Attachment, EventKind, EventSpec, HookKind

NETNS = 4026532281
NETFILTER_DROP = 8


@pytest.fixture
def make_spec() -> Callable[..., EventSpec]:
    def make(kind: EventKind = EventKind.DUMP, layout: Layout = PACKET, **given: object) -> EventSpec:
        fields: dict[str, object] = {
            "id": 3,
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
    """A ring record: struct xcap_packet_event as the kernel lays it out, and the packet behind it."""

    def make(data: bytes, **given: int | bytes) -> bytes:
        fields: dict[str, int | bytes] = {
            "wire_len": len(data),
            "netns": NETNS,
            "reason": NETFILTER_DROP,
            "pid": 812,
            "link": 1,
            "comm": b"ping",
            "ifname": b"veth-b",
            **given,
        }
        numbers = [fields[name] for name in ("netns", "reason", "pid", "pid", "link")]
        head = struct.pack("=IIQIII", 3, 0, 0, fields["wire_len"], len(data), 2)
        return head + struct.pack("=IIIIHH16s16s", *numbers, 0, fields["comm"], fields["ifname"]) + data

    return make
