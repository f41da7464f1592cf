"""What user space writes into the shared state, and that the programs see it where it is written."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from xcapscript.resources import bpf_directory
from xcapscript.runtime.control import EXITED, LIVE, REMAINING_OFFSET, Control
from xcapscript.runtime.maps import Counts
from xcapscript.unit import Counter

COMPILER = shutil.which("cc")

LIMIT = (1 << 63) - 1


class Kernel:
    """The programs' side of the shared page."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("controls")
        os.ftruncate(self.descriptor, mmap.PAGESIZE)

    def read(self) -> tuple[int, int, int]:
        """live, exited, remaining"""
        live, exited, remaining = struct.unpack("=IIq", os.pread(self.descriptor, 16, 0))
        return live, exited, remaining

    def exit(self) -> None:
        """A program says exit: it closes the gate."""
        os.pwrite(self.descriptor, struct.pack("=II", 0, 1), 0)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    made = Kernel()
    yield made
    os.close(made.descriptor)


@pytest.fixture
def control(kernel: Kernel) -> Iterator[Control]:
    made = Control(kernel.descriptor)
    yield made
    made.close()


def test_the_gate_is_closed_at_first(kernel: Kernel, control: Control) -> None:
    assert not control.exited
    assert kernel.read() == (0, 0, 0)


def test_the_gate_opens_and_closes(kernel: Kernel, control: Control) -> None:
    control.open_gate()
    assert kernel.read() == (1, 0, 0)
    control.close_gate()
    assert kernel.read() == (0, 0, 0)


def test_the_gate_stays_closed_when_a_program_has_said_exit(kernel: Kernel, control: Control) -> None:
    """That is what `begin { exit; }` does: its program runs before the gate is opened."""
    kernel.exit()
    assert control.exited
    control.open_gate()
    assert kernel.read()[0] == 0


@pytest.mark.parametrize("count", [1, 2**31, 2**32 + 5, LIMIT])
def test_the_limit_is_what_remains(kernel: Kernel, control: Control, count: int) -> None:
    control.limit(count)
    control.open_gate()
    assert kernel.read() == (1, 0, count)


def test_a_closed_control_leaves_the_programs_as_they_are(kernel: Kernel) -> None:
    control = Control(kernel.descriptor)
    control.open_gate()
    control.close()
    assert kernel.read() == (1, 0, 0)


@pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed")
def test_both_sides_of_the_border_mean_the_same_places(tmp_path: Path) -> None:
    wanted = [f"xcap_control, {name}" for name in ("live", "exited", "remaining")]
    wanted += [f"xcap_counters, {counter.name.lower()}" for counter in Counter]
    text = "\n".join(
        [
            "#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>",
            "typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32;",
            "typedef uint64_t u64; typedef int64_t s64;",
            "struct sk_buff { int x; }; struct xcap_packet_event { int x; };",
            "#include <xcap/runtime.h>",
            "int main(void) {",
            *(f'printf("%zu ", offsetof(struct {member}));' for member in wanted),
            'printf("%zu", sizeof(struct xcap_counters)); return 0; }',
        ]
    )
    (tmp_path / "x.c").write_text(text)
    include = f"-I{bpf_directory() / 'include'}"
    subprocess.run([str(COMPILER), include, "-o", tmp_path / "x", tmp_path / "x.c"], check=True)
    found = [int(n) for n in subprocess.run([tmp_path / "x"], check=True, capture_output=True).stdout.split()]
    words = [LIVE * 4, EXITED * 4, REMAINING_OFFSET]
    assert found == [*words, *(counter * 8 for counter in Counter), len(Counter) * 8]


def test_counts_are_named_in_the_order_of_the_counters() -> None:
    # behind them stands what the kernel itself counts
    assert [field.name for field in fields(Counts)] == [*(counter.name.lower() for counter in Counter), "missed"]
