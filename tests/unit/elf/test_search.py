"""Programs and libraries by name, against what ldconfig and the shell say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from xcapscript.elf import search
from xcapscript.elf.search import find_file


def test_a_program_is_found_as_the_shell_finds_it() -> None:
    assert find_file("sh") == Path(str(shutil.which("sh")))


def test_a_path_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").touch()
    assert find_file("./x") == Path("x")
    assert find_file("./y") is None
    assert find_file("x") is None


@pytest.mark.skipif(not Path("/sbin/ldconfig").exists(), reason="needs ldconfig")
@pytest.mark.parametrize("name", ["c", "libc", "libc.so.6"])
def test_a_library_is_found_as_the_dynamic_linker_finds_it(name: str) -> None:
    known = subprocess.run(["/sbin/ldconfig", "-p"], check=True, capture_output=True, text=True).stdout
    first = re.search(r"^\tlibc\.so\.6 .* => (.*)$", known, re.MULTILINE)
    assert first is not None
    assert find_file(name) == Path(first[1])


def test_without_the_linkers_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where musl is, or where the cache is damaged."""
    for content in (None, b"", b"glibc-ld.so.cache1.1" + bytes(4), b"x" * 100):
        cache = tmp_path / "cache"
        if content is not None:
            cache.write_bytes(content)
        monkeypatch.setattr(search, "CACHE", cache)
        found = find_file("c")
        assert found is not None
        assert found.name.startswith("libc.")
    assert find_file("no*such") is None
