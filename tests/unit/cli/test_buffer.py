"""--buffer and --buffer-size: what may be said, what the script may say, and what is taken where nothing is said."""

from __future__ import annotations

import io
import re
from mmap import PAGESIZE
from pathlib import Path

import pytest

from xcapscript import capture
from xcapscript.cli import main
from xcapscript.cli.options import parse_options
from xcapscript.codegen.generate import Options
from xcapscript.compiler import compile_script
from xcapscript.errors import UsageError
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.sema.analyse import Settings
from xcapscript.source import Source
from xcapscript.unit import Buffer, Unit

KERNEL = FrozenKernel(Path(__file__).parents[2] / "data" / "kernel" / "linux-6.18.json")
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

EVERYTHING = """
begin { printf("%d", pid); }
rawtracepoint:kfree_skb /icmp/ { dump; dump("x"); ring("f", 5); commit("f"); print; hex; stack(3); print(len); exit; }
tracepoint:net:netif_receive_skb { @ = count(); print(@); clear(@); zero(@); if (len > 5) { dump; } }
interval:1s { print(1); }
"""


def compiled(text: str, options: Options) -> Unit:
    return compile_script(Source("case", text), default_library(), KERNEL, Settings(writes=True), options).unit


@pytest.mark.parametrize(
    ("text", "size"),
    [("4K", 4 * KIB), ("4096", 4096), ("100000", 100000), ("128M", 128 * MIB), ("1g", GIB), ("512k", 512 * KIB)],
)
def test_a_size_is_in_bytes_or_has_a_unit(text: str, size: int) -> None:
    assert parse_options(["-e", "rx", "--buffer-size", text]).buffer_size == size


@pytest.mark.parametrize("text", ["", "0", "4095", "3K", "1025M", "2G", "1T", "-1", "1.5M", "4 K", "x", "9" * 40])
def test_another_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size from 4K to 1G"):
        parse_options(["-e", "rx", f"--buffer-size={text}"])


def test_a_buffer_is_a_ring_or_perf() -> None:
    assert parse_options(["-e", "rx"]).buffer is None
    assert parse_options(["-e", "rx", "--buffer", "ring"]).buffer is Buffer.RING
    assert parse_options(["-e", "rx", "--buffer", "perf"]).buffer is Buffer.PERF
    with pytest.raises(UsageError, match="invalid choice: 'queue'"):
        parse_options(["-e", "rx", "--buffer", "queue"])


@pytest.mark.parametrize(
    ("size", "script", "pages"),
    [
        (None, "", 32 * MIB // PAGESIZE),
        (None, "option buffer_size = 65536; ", 65536 // PAGESIZE),
        (MIB, "option buffer_size = 65536; ", MIB // PAGESIZE),
        (4096, "", 1),
        (4097, "", 2),
        (5 * 4096, "", 8),
    ],
)
@pytest.mark.parametrize("buffer", list(Buffer))
def test_the_command_line_goes_before_the_script(size: int | None, script: str, pages: int, buffer: Buffer) -> None:
    unit = compiled(f"{script}begin {{ }}", Options(buffer=buffer, buffer_size=size))
    assert (unit.buffer, unit.buffer_pages) == (buffer, pages)
    assert f"BPF_RINGBUF_OUTPUT(xcap_events, {pages});" in unit.text or buffer is Buffer.PERF


def test_every_record_goes_to_the_same_buffer() -> None:
    texts = {buffer: compiled(EVERYTHING, Options(limit=3, buffer=buffer)).text for buffer in Buffer}
    assert "BPF_PERF_OUTPUT(xcap_events);" in texts[Buffer.PERF]
    assert "ring" not in re.sub(r'"\w+"|/\*.*?\*/', "", texts[Buffer.PERF].split("BPF_PERF_OUTPUT")[1]).lower()
    assert "perf" not in texts[Buffer.RING]
    sent = texts[Buffer.RING].count(".ringbuf_output(")
    assert texts[Buffer.PERF].count(".perf_submit(ctx, ") == sent > 12


def test_what_was_asked_for_is_not_asked_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(capture, "has_ring_buffers")
    for buffer in Buffer:
        assert main._buffer(parse_options(["-e", "rx", "--buffer", buffer]), io.StringIO()) is buffer


@pytest.mark.parametrize(
    ("there", "quiet", "buffer", "said"),
    [
        (True, False, Buffer.RING, ""),
        (False, False, Buffer.PERF, "xcap: this kernel has no ring buffers: perf buffers take their place\n"),
        (False, True, Buffer.PERF, ""),
    ],
)
def test_without_ring_buffers_perf_buffers_are_taken(
    monkeypatch: pytest.MonkeyPatch, *, there: bool, quiet: bool, buffer: Buffer, said: str
) -> None:
    monkeypatch.setattr(capture, "has_ring_buffers", lambda: there)
    errors = io.StringIO()
    assert main._buffer(parse_options(["-e", "rx", *["-q"] * quiet]), errors) is buffer
    assert errors.getvalue() == said
