"""Static probes, against what readelf says of the same file, and damaged notes."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from xcapscript.elf.binary import Binary, NotReadable
from xcapscript.elf.notes import static_probes

PROGRAMS = Path(__file__).parents[2] / "data" / "programs"
SHOWN = re.compile(
    r"Provider: (\S*)\s+Name: (\S*)\s+Location: 0x(\w+), Base: 0x\w+, Semaphore: 0x(\w+)\s+Arguments: (.*)"
)


@pytest.mark.skipif(shutil.which("readelf") is None, reason="needs readelf")
@pytest.mark.parametrize("name", ["tiny", "bare"])
def test_they_are_those_that_readelf_shows(name: str) -> None:
    text = subprocess.run(["readelf", "-n", PROGRAMS / name], check=True, capture_output=True, text=True).stdout
    wanted = [
        (provider, name, int(address, 16), int(semaphore, 16), tuple(arguments.split()))
        for provider, name, address, semaphore, arguments in SHOWN.findall(text)
    ]
    found = [
        (one.provider, one.name, one.address, one.semaphore, one.arguments)
        for one in static_probes(Binary(PROGRAMS / name))
    ]
    assert found == wanted
    assert found


def test_damaged_notes_end_them(tmp_path: Path) -> None:
    whole, rng = (PROGRAMS / "tiny").read_bytes(), random.Random(3)
    at = whole.index(b"stapsdt\0") - 12
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 8)):
            data[at + rng.randrange(160)] = rng.randrange(256)
        (tmp_path / "x").write_bytes(data)
        with suppress(NotReadable):
            assert len(list(static_probes(Binary(tmp_path / "x")))) < 20
