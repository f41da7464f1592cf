"""How much of a packet is sent: what was asked for, by the way that its size and its hook need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xcapscript.codegen.generate import LARGEST_SNAPLEN, Options
from xcapscript.codegen.stmt import LARGEST_COPY, LINE_BYTES
from xcapscript.compiler import compile_script
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.sema.analyse import Settings
from xcapscript.source import Source
from xcapscript.unit import Buffer

KERNEL = FrozenKernel(Path(__file__).parents[2] / "data" / "kernel" / "linux-6.18.json")
TRACEPOINT = "tracepoint:net:netif_receive_skb"


def text_of(program: str, options: Options) -> str:
    return compile_script(Source("case", program), default_library({}), KERNEL, Settings(), options).unit.text


@pytest.mark.parametrize(
    ("program", "options", "asked"),
    [
        ("rx { dump; }", Options(), [LARGEST_SNAPLEN]),
        ("rx { dump; }", Options(snaplen=LARGEST_COPY), [LARGEST_COPY]),
        ("rx { dump; }", Options(snaplen=96), [96]),
        ("option snaplen = 96; rx { dump; }", Options(), [96]),
        ("option snaplen = 96; rx { dump; }", Options(snaplen=20000), [20000]),
        ('rx { dump("f", snaplen=20000); dump("g", snaplen=1000000); }', Options(), [20000, LARGEST_SNAPLEN]),
        ('rx { dump("f", snaplen=20000); }', Options(snaplen=128), [128]),
        ('rx { ring("f", 5); hex; } begin { commit("f"); }', Options(), [LARGEST_SNAPLEN, LARGEST_SNAPLEN]),
        ("rx { print; stack; dump; }", Options(), [LINE_BYTES, LINE_BYTES, LARGEST_SNAPLEN]),
        (f"{TRACEPOINT} {{ dump; }}", Options(), [LARGEST_SNAPLEN]),
        ("rx { dump; }", Options(buffer=Buffer.PERF), [LARGEST_SNAPLEN]),
    ],
)
def test_what_was_asked_for_is_what_a_packet_in_part_is_measured_by(
    program: str, options: Options, asked: list[int]
) -> None:
    noted = re.findall(r"xcap_note_captured\(&hit->event, cap, (\d+)\);", text_of(program, options))
    assert [int(number) for number in noted] == asked


@pytest.mark.parametrize(
    ("program", "options", "large"),
    [
        ("rx { dump; }", Options(), [LARGEST_SNAPLEN]),
        ("rx { dump; }", Options(snaplen=LARGEST_COPY + 1), [LARGEST_COPY + 1]),
        ("rx { dump; }", Options(snaplen=LARGEST_COPY), []),
        ('rx { dump("f", snaplen=128); dump("g"); print; hex; }', Options(), [LARGEST_SNAPLEN, LARGEST_SNAPLEN]),
        (f"{TRACEPOINT} {{ dump; }}", Options(), []),
        ("rx { dump; }", Options(buffer=Buffer.PERF), []),
    ],
)
def test_large_packets_are_read_into_the_ring_where_the_kernel_reads_them(
    program: str, options: Options, large: list[int]
) -> None:
    calls = re.findall(r"xcap_send_large\(.*, (\d+)\);", text_of(program, options))
    assert [int(number) for number in calls] == large


@pytest.mark.parametrize(("snaplen", "room"), [(None, LARGEST_COPY), (100000, LARGEST_COPY), (5000, 5000), (1, 256)])
def test_the_programs_own_memory_holds_a_copy(snaplen: int | None, room: int) -> None:
    assert f"u8 bytes[{room + 1024}];" in text_of("rx { dump; }", Options(snaplen=snaplen))
