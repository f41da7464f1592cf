from __future__ import annotations

from pathlib import Path

import pytest

from xcapscript.errors import UsageError
from xcapscript.repl.outside import LESS, edit, ended, page, shell


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_the_pager_is_given_the_text(tmp_path: Path) -> None:
    pager = script(tmp_path / "pager", f'cat > {tmp_path}/paged; echo "$LESS" >> {tmp_path}/paged')
    assert page("one\ntwo\n", {"PAGER": pager, "PATH": "/usr/bin:/bin"})
    assert (tmp_path / "paged").read_text() == f"one\ntwo\n{LESS}\n"
    assert "-Psq leaves" in LESS


def test_a_pager_that_is_not_there_is_none() -> None:
    assert not page("one", {"PAGER": "/nowhere/pager"})


def test_the_editor_changes_a_text(tmp_path: Path) -> None:
    editor = script(tmp_path / "editor", 'sed -i s/dump/print/ "$2"')
    assert edit("rx { dump; }", {"VISUAL": f"{editor} -x", "EDITOR": "false"}) == "rx { print; }"


def test_an_editor_that_fails_changes_nothing() -> None:
    with pytest.raises(UsageError, match="false ended with status 1: nothing was changed"):
        edit("rx", {"EDITOR": "false"})


def test_without_an_editor_it_says_how_to_choose_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(UsageError, match=r"set \$EDITOR"):
        edit("rx", {})


def test_the_shell_s_status_is_given() -> None:
    assert (shell("exit 3"), shell("true")) == (3, 0)


def test_how_a_command_ended_is_told() -> None:
    assert ended(shell("exit 3")) == "exit status 3"
    assert ended(shell("kill -INT $$")) == "\ninterrupted by SIGINT"
    assert ended(shell("kill -KILL $$")) == "ended by SIGKILL"
    assert ended(-40) == "ended by signal 40"
