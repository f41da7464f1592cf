from __future__ import annotations

import stat
from pathlib import Path

import pytest
from prompt_toolkit.history import InMemoryHistory

from xcapscript.errors import KernelError
from xcapscript.repl.past import KEPT, LARGEST, past


def test_what_was_typed_is_kept_from_one_prompt_to_the_next(tmp_path: Path) -> None:
    one = past({}, tmp_path)
    one.store_string("drop {\n  dump;\n}")
    one.store_string("rx")
    assert list(past({}, tmp_path).load_history_strings()) == ["rx", "drop {\n  dump;\n}"]
    path = tmp_path / ".local" / "state" / "xcapscript" / "history"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_state_directory_is_where_xdg_says(tmp_path: Path) -> None:
    past({"XDG_STATE_HOME": f"{tmp_path}/state"}, tmp_path / "home").store_string("rx")
    assert (tmp_path / "state" / "xcapscript" / "history").exists()
    past({"XDG_STATE_HOME": "relative"}, tmp_path / "home").store_string("rx")
    assert (tmp_path / "home" / ".local").exists()


def test_a_directory_that_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "xcapscript").mkdir()
    (tmp_path / "xcapscript").chmod(0o777)
    with pytest.raises(KernelError, match="can be written by others"):
        past({"XDG_STATE_HOME": str(tmp_path)})


def test_where_nothing_can_be_kept_it_is_known_until_the_prompt_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert isinstance(past({"XDG_STATE_HOME": str(tmp_path / "file")}), InMemoryHistory)


def test_a_file_that_cannot_be_written_any_more_is_no_failure(tmp_path: Path) -> None:
    history = past({}, tmp_path)
    path = tmp_path / ".local" / "state" / "xcapscript" / "history"
    path.unlink()
    path.mkdir()
    history.append_string("rx")
    assert history.get_strings() == ["rx"]
    assert list(history.load_history_strings()) == []


def test_a_file_that_has_grown_large_keeps_its_last_entries(tmp_path: Path) -> None:
    history = past({}, tmp_path)
    path = tmp_path / ".local" / "state" / "xcapscript" / "history"
    for number in range(3):
        history.store_string(f"rx // {number} {'x' * (LARGEST // 3)}"[: LARGEST // 3] if number < 2 else "the last")
    history.store_string("y" * (LARGEST // 2))
    history.store_string("drop")
    found = list(past({}, tmp_path).load_history_strings())
    assert found == ["drop"]
    assert path.stat().st_size <= KEPT
