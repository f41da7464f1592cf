"""What is shown of events for hours: each is another one, and none is kept."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.packets import eth, ipv4, udp
from xcapscript.event import Event
from xcapscript.layout import PACKET
from xcapscript.repl.screen import Screen
from xcapscript.repl.shown import Shown, VoiceLines
from xcapscript.sinks.jsonl import JsonSink
from xcapscript.sinks.values import ValueText
from xcapscript.source import Source
from xcapscript.unit import Attachment, EventKind, EventSpec, HookKind

SPEC = EventSpec(
    0, EventKind.LINE, PACKET, "tx", Attachment(HookKind.RAWTRACEPOINT, "net_dev_queue"), Source("x", "x").span(0, 1)
)
NUMBERS = {"link": 1, "wire_len": 60, "ifindex": 2}
VALUES = ValueText((), lambda _addresses, _depth: [])


def packet(number: int) -> Event:
    """Another sender, time, process and port each time."""
    data = eth(
        0x0800,
        ipv4(17, udp(number % 50_000 + 1, 53, bytes(18)), (f"10.{number >> 8 & 255}.{number & 255}.1", "10.0.0.2")),
    )
    given: dict[str, Any] = {**NUMBERS, "pid": number, "comm": b"p%d" % number, "ifname": b"veth%d" % number}
    values = [
        given.get(field.name, value)
        for field, value in zip(PACKET.fields, PACKET.decode(bytes(PACKET.size)), strict=True)
    ]
    return Event(SPEC, number * 10_000_000, 0, tuple(values), data)


@pytest.mark.parametrize(
    "sink",
    [
        lambda screen, lines: Shown(lines, screen.say, VALUES, colour=True),
        lambda _screen, lines: JsonSink(lines, VALUES),
    ],
    ids=["text", "json"],
)
def test_nothing_of_an_event_is_kept(sink: Callable[[Screen, VoiceLines], Any]) -> None:
    screen = Screen()
    lines = VoiceLines(screen.voice(), lambda: 80, lambda: "[1] ")
    shown = sink(screen, lines)

    def show(numbers: range) -> int:
        for number in numbers:
            shown.write(packet(number))
            assert f"10.{number >> 8 & 255}.{number & 255}.1" in screen.take()
        gc.collect()
        return sys.getallocatedblocks()

    before, after = show(range(1000)), show(range(1000, 6000))
    assert after - before < 100
