"""Which file an import and a bare hook name mean."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from xcapscript.library import Library, default_library
from xcapscript.resources import stdlib_directory
from xcapscript.source import LARGEST_SCRIPT, Source


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """A directory beside the script, two of $XCAP_PATH, and a standard library."""
    found = {name: tmp_path / name for name in ("beside", "first", "second", "stdlib")}
    for directory in found.values():
        directory.mkdir()
    return found


@pytest.fixture
def library(places: dict[str, Path]) -> Library:
    return Library((places["first"], places["second"]), places["stdlib"])


@pytest.fixture
def script(places: dict[str, Path]) -> Source:
    return Source(str(places["beside"] / "main.xcap"), 'import "lib";')


def test_the_nearest_file_is_taken(library: Library, places: dict[str, Path], script: Source) -> None:
    for directory in reversed(places.values()):
        (directory / "lib.xcap").write_text(f"// {directory.name}")
        found = library.find("lib", script, None)
        assert found == Source(str(directory / "lib.xcap"), f"// {directory.name}")


def test_a_script_of_a_librarys_name_imports_the_library(library: Library, places: dict[str, Path]) -> None:
    for name in ("beside", "stdlib"):
        (places[name] / "lib.xcap").write_text(f"// {name}")
    own = Source(str(places["beside"] / "lib.xcap"), 'import "lib";')
    assert library.find("lib", own, None) == Source(str(places["stdlib"] / "lib.xcap"), "// stdlib")


def test_a_file_that_is_nowhere_is_none(library: Library, script: Source) -> None:
    assert library.find("lib", script, None) is None


def test_what_was_tried_is_told_in_its_order(library: Library, places: dict[str, Path], script: Source) -> None:
    assert library.candidates("lib", script) == [directory / "lib.xcap" for directory in places.values()]


def test_the_suffix_may_be_written(library: Library, script: Source) -> None:
    assert library.candidates("lib.xcap", script) == library.candidates("lib", script)


def test_a_one_liner_imports_from_the_working_directory(
    library: Library, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (places["beside"] / "lib.xcap").write_text("rx;")
    monkeypatch.chdir(places["beside"])
    assert library.find("lib", Source("-e", 'import "lib";'), None) == Source("lib.xcap", "rx;")


def test_an_imported_file_imports_from_its_own_directory(
    library: Library, places: dict[str, Path], script: Source
) -> None:
    (places["first"] / "outer.xcap").write_text('import "inner";')
    (places["first"] / "inner.xcap").write_text("rx;")
    outer = library.find("outer", script, None)
    assert outer is not None
    inner = library.find("inner", outer, None)
    assert inner == Source(str(places["first"] / "inner.xcap"), "rx;")


def test_a_path_may_go_through_directories(library: Library, places: dict[str, Path], script: Source) -> None:
    (places["beside"] / "sub").mkdir()
    (places["beside"] / "sub" / "lib.xcap").write_text("rx;")
    found = library.find("sub/lib", script, None)
    assert found is not None
    assert found.text == "rx;"


def test_an_absolute_path_is_taken_as_it_is(library: Library, tmp_path: Path, script: Source) -> None:
    (tmp_path / "far.xcap").write_text("tx;")
    assert library.find(str(tmp_path / "far"), script, None) == Source(str(tmp_path / "far.xcap"), "tx;")


def test_a_directory_is_no_script(library: Library, places: dict[str, Path], script: Source) -> None:
    (places["beside"] / "lib.xcap").mkdir()
    (places["stdlib"] / "lib.xcap").write_text("rx;")
    found = library.find("lib", script, None)
    assert found is not None
    assert found.name == str(places["stdlib"] / "lib.xcap")


def test_what_is_found_knows_where_it_was_imported(library: Library, places: dict[str, Path], script: Source) -> None:
    (places["stdlib"] / "lib.xcap").write_text("rx;")
    place = script.span(7, 12)
    found = library.find("lib", script, place)
    assert found is not None
    assert found.imported_at is place


def test_a_file_that_is_not_text_is_an_error(library: Library, places: dict[str, Path], script: Source) -> None:
    (places["beside"] / "lib.xcap").write_bytes(b"\xff\xfe")
    with pytest.raises(UnicodeDecodeError):
        library.find("lib", script, None)


@pytest.mark.parametrize("name", ["lib\0", "\udcff", "", "."])
def test_a_name_that_no_file_can_have_is_found_nowhere(library: Library, script: Source, name: str) -> None:
    assert library.find(name, script, None) is None


def test_a_name_that_is_too_long_for_a_file_is_none(library: Library, script: Source) -> None:
    assert library.find("a" * 1000, script, None) is None


def test_a_bare_hook_name_means_a_script_of_the_standard_library(library: Library, places: dict[str, Path]) -> None:
    (places["stdlib"] / "rx.xcap").write_text("hook rx = rawtracepoint:netif_receive_skb;")
    found = library.standard("rx")
    assert found == Source(str(places["stdlib"] / "rx.xcap"), "hook rx = rawtracepoint:netif_receive_skb;")


def test_a_bare_hook_name_is_looked_for_nowhere_else(library: Library, places: dict[str, Path]) -> None:
    for name in ("beside", "first", "second"):
        (places[name] / "rx.xcap").write_text("hook rx = rawtracepoint:netif_receive_skb;")
    assert library.standard("rx") is None


@pytest.mark.parametrize("name", ["../first/rx", "/etc/passwd", "rx.xcap", "", ".", "a b", "a\0"])
def test_a_bare_hook_name_is_no_path(library: Library, places: dict[str, Path], name: str) -> None:
    for directory in (places["first"], places["stdlib"]):
        (directory / "rx.xcap").write_text("rx;")
    assert library.standard(name) is None


def test_a_bare_hook_name_that_is_too_long_for_a_file_is_none(library: Library) -> None:
    assert library.standard("a" * 300) is None


def test_the_standard_names_are_sorted(library: Library, places: dict[str, Path]) -> None:
    for name in ("tx.xcap", "drop.xcap", "README.md", "rx.xcap"):
        (places["stdlib"] / name).write_text("")
    assert library.standard_names() == ["drop", "rx", "tx"]


@pytest.mark.parametrize(
    ("environment", "directories"),
    [
        ({}, ()),
        ({"XCAP_PATH": ""}, ()),
        ({"XCAP_PATH": "/a"}, (Path("/a"),)),
        ({"XCAP_PATH": ":/a::b/c:"}, (Path("/a"), Path("b/c"))),
    ],
)
def test_xcap_path_names_directories(environment: dict[str, str], directories: tuple[Path, ...]) -> None:
    assert default_library(environment) == Library(directories, stdlib_directory())


def test_the_standard_library_is_there() -> None:
    assert {"drop", "rx", "tx"} <= set(default_library({}).standard_names())


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", str(os.getuid()))


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("place", ["beside", "first"])
@pytest.mark.parametrize("wrong", [".", "lib.xcap", ".."])
def test_root_imports_nothing_that_everybody_can_write(
    library: Library, places: dict[str, Path], script: Source, place: str, wrong: str
) -> None:
    (places[place] / "lib.xcap").write_text("rx;")
    assert library.find("lib", script, None) is not None
    target = (places[place] / wrong).resolve()
    target.chmod(target.stat().st_mode | stat.S_IWOTH)
    with pytest.raises(PermissionError, match=re.escape(f"'{target}'")):
        library.find("lib", script, None)


@pytest.mark.usefixtures("as_root")
def test_root_imports_from_a_directory_in_which_others_replace_nothing(
    library: Library, places: dict[str, Path], script: Source
) -> None:
    (places["beside"] / "lib.xcap").write_text("rx;")
    places["beside"].chmod(0o1777)
    assert library.find("lib", script, None) is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_root_imports_nothing_of_another_user_from_there(
    library: Library, places: dict[str, Path], script: Source
) -> None:
    (places["beside"] / "lib.xcap").write_text("rx;")
    os.chown(places["beside"] / "lib.xcap", 65534, 65534)
    assert library.find("lib", script, None) is not None
    places["beside"].chmod(0o1777)
    with pytest.raises(PermissionError, match="another user's"):
        library.find("lib", script, None)


@pytest.mark.usefixtures("as_root")
def test_root_follows_no_link_that_everybody_can_replace(
    library: Library, places: dict[str, Path], script: Source
) -> None:
    (places["second"] / "lib.xcap").write_text("rx;")
    (places["beside"] / "lib.xcap").symlink_to(places["second"] / "lib.xcap")
    assert library.find("lib", script, None) is not None
    places["beside"].chmod(0o777)
    with pytest.raises(PermissionError, match="beside"):
        library.find("lib", script, None)


@pytest.mark.usefixtures("as_root")
def test_the_standard_library_is_as_trusted_as_the_program(
    library: Library, places: dict[str, Path], script: Source
) -> None:
    (places["stdlib"] / "lib.xcap").write_text("rx;")
    places["stdlib"].chmod(0o777)
    assert library.find("lib", script, None) is not None


def test_others_import_what_they_like(
    library: Library, places: dict[str, Path], script: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    (places["beside"] / "lib.xcap").write_text("rx;")
    places["beside"].chmod(0o777)
    assert library.find("lib", script, None) is not None


def test_a_library_has_an_end(library: Library, places: dict[str, Path], script: Source) -> None:
    (places["beside"] / "lib.xcap").write_text(" " * (LARGEST_SCRIPT + 1))
    with pytest.raises(OSError, match="larger"):
        library.find("lib", script, None)
