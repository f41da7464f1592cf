"""ELF files as they lie in tests/data/programs, and damaged ones."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xcapscript.cli.main import WRONG_MACHINE, run_command
from xcapscript.elf.binary import Binary, NotReadable
from xcapscript.elf.search import find_file

PROGRAMS = Path(__file__).parents[2] / "data" / "programs"


def test_functions_and_where_they_are() -> None:
    """As `nm -S tiny` and `readelf -lW tiny` have it."""
    tiny = Binary(PROGRAMS / "tiny")
    assert sorted(tiny.functions) == ["_start", "process_frame", "receive_frame", "stage_one", "stage_two"]
    assert [(one.address, one.size) for one in tiny.functions["stage_one"]] == [(0x4000F0, 20)]
    assert tiny.offset(0x4000F0) == 0xF0
    assert tiny.offset(0x4FFFFF) is None
    assert (tiny.bits, tiny.machine, tiny.is_stripped) == (64, "x64", False)


def test_a_stripped_program_has_no_functions() -> None:
    bare = Binary(PROGRAMS / "bare")
    assert bare.is_stripped
    assert not bare.functions
    assert bare.offset(0x4000F0) == 0xF0


def test_what_is_no_program(tmp_path: Path) -> None:
    with pytest.raises(NotReadable, match=r"is no ELF file"):
        Binary(PROGRAMS / "tiny.c")
    with pytest.raises(NotReadable, match=r"cannot read '.*': No such file"):
        Binary(tmp_path / "missing")
    with pytest.raises(NotReadable, match=r"cannot read '.*': Is a directory"):
        Binary(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotReadable, match=r"is a named pipe"):
        Binary(tmp_path / "pipe")


def test_a_file_that_may_not_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    assert find_file(f"{tmp_path}/x") == tmp_path / "x"
    with pytest.raises(NotReadable, match=r"cannot read '.*': Permission denied"):
        Binary(tmp_path / "x")


def test_damaged_files_are_told(tmp_path: Path) -> None:
    """Cut and overwritten at random: they are read, or said to be damaged."""
    whole, rng = (PROGRAMS / "tiny").read_bytes(), random.Random(7)
    refused = 0
    for _ in range(400):
        data = bytearray(whole[: rng.randrange(4, len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(4, len(data))] = rng.randrange(256)
        (tmp_path / "x").write_bytes(data)
        try:
            binary = Binary(tmp_path / "x")
            for symbols in binary.functions.values():
                assert all(binary.offset(one.address) is None or one.name is not None for one in symbols)
        except NotReadable:
            refused += 1
    assert 50 < refused < 400


@pytest.mark.skipif(shutil.which("readelf") is None, reason="needs readelf")
def test_the_libraries_that_a_program_loads_are_those_of_readelf() -> None:
    path = Path(sys.executable).resolve()
    told = subprocess.run(["readelf", "-d", path], check=True, capture_output=True, text=True).stdout
    needed = re.findall(r"\(NEEDED\) .*\[(.*)\]", told)
    assert list(Binary(path).needed) == needed
    assert "libc.so.6" in needed


def test_a_function_of_a_library_that_a_program_loads_is_found_there() -> None:
    errors = io.StringIO()
    program = f"uprobe:{Path(sys.executable).resolve()}:malloc_usable_size {{ @ = count(); }}"
    assert run_command(["--check", "-e", program], errors) == WRONG_MACHINE
    assert "libc.so.6, which it loads, has it: write uprobe:libc.so.6:malloc_usable_size" in errors.getvalue()
