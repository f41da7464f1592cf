"""The prompt as it is typed into: programs, Ctrl-C, Ctrl-D, and what goes wrong."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.history import InMemoryHistory

from xcapscript.errors import KernelError
from xcapscript.repl import commands, loop, outside
from xcapscript.repl.jobs import Jobs

CTRL_C, CTRL_D, ESCAPE = "\x03", "\x04", "\x1b"
STARTED = "[1] 1 probe attached"


def test_ctrl_d_leaves(run: Any) -> None:
    async def play(t: Any) -> None:
        t.source.send_text(CTRL_D)

    assert "type a clause" in run(play).text


def test_a_clause_runs_in_the_background_until_it_is_stopped(run: Any, sessions: Any) -> None:
    async def play(t: Any) -> None:
        await t.type("drop { @m[pid] = count(); }\r", "[1] starting", STARTED)
        await t.type("rx;\r", "[2] 1 probe attached")
        await t.type(".stop 1\r", "[1] stopped: 9 hits, 5 matched, 2 lost, 1 without a packet", "@m  ")
        await t.type(".ls\r", "[1] stopped", "[2] running")
        t.source.send_text(".quit\r")

    text = run(play).text
    assert [session.abandoned for session in sessions] == [True, True]
    assert "[2] stopped" in text.partition("[2] running")[2]


def test_leaving_asks_when_something_runs(run: Any, sessions: Any) -> None:
    async def play(t: Any) -> None:
        await t.type("rx\r", STARTED)
        t.source.send_text(CTRL_D)
        await t.type("n\r.ls\r", "[1] running")
        t.source.send_text(CTRL_D)
        await t.type(CTRL_C)
        await t.type(".ls\r", "[1] running")
        t.source.send_text(f"{CTRL_D}")
        t.source.send_text("\r")

    assert "[1] stopped" in run(play).text
    assert sessions[0].abandoned


def test_two_ctrl_d_leave_whatever_runs(run: Any) -> None:
    async def play(t: Any) -> None:
        await t.type("rx\r", STARTED)
        t.source.send_text(CTRL_D)
        t.source.send_text(CTRL_D)

    assert "[1] stopped" in run(play).text


def test_ctrl_c_drops_the_line(run: Any, sessions: Any) -> None:
    async def play(t: Any) -> None:
        await t.type(f"rx /icmp/ {{ dump; }}{CTRL_C}")
        await t.type(".ls\r", "nothing was started yet")
        t.source.send_text(CTRL_D)

    run(play)
    assert not sessions


def test_ctrl_c_on_an_empty_line_holds_the_output_and_enter_shows_it_again(run: Any) -> None:
    async def play(t: Any) -> None:
        await t.type("rx\r", STARTED)
        await t.type(CTRL_C, "output is held")
        await t.type(f"{CTRL_C}.ls\r", "[1] running")
        await t.type("\r.quit\r")

    assert run(play).text.count("output is held") == 1


def test_a_text_goes_on_until_it_is_whole(run: Any, sessions: Any) -> None:
    async def play(t: Any) -> None:
        await t.type("rx {\rcount(pid);\r}\r", STARTED)
        t.source.send_text(".quit\r")

    run(play)
    assert [spec.name for spec in sessions[0].unit.maps] == ["@count"]


def test_a_paste_of_several_lines_is_one_text(run: Any, sessions: Any) -> None:
    async def play(t: Any) -> None:
        await t.type(
            f"{ESCAPE}[200~rx {{\n  count(pid);\n}}\n\ntx {{ count(pid); }}{ESCAPE}[201~\r", "[1] 2 probes attached"
        )
        t.source.send_text(".quit\r")

    run(play)
    assert len(sessions) == 1


def test_a_mistake_is_not_run_and_the_cursor_goes_to_it(run: Any, sessions: Any) -> None:
    async def play(t: Any) -> None:
        # what is typed then stands where the cursor is: at the wrong word, which Ctrl-K takes away
        await t.type("rx { dupm; }\r\x0bdump; }\r", STARTED)
        t.source.send_text(".quit\r")

    run(play)
    assert "rx { dump; }" in sessions[0].unit.programs[0].span.source.text


def test_escape_enter_runs_what_is_not_whole_and_the_mistake_is_told(run: Any, sessions: Any) -> None:
    async def play(t: Any) -> None:
        await t.type(f"rx {{ dump;{ESCAPE}\r", "'}' is missing here")
        await t.type(".ls\r", "[1] failed")
        t.source.send_text(CTRL_D)

    run(play)
    assert not sessions


def test_what_only_the_job_finds_out_is_told_with_its_place(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xcapscript.repl.reading.is_quick", lambda _text: False)

    async def play(t: Any) -> None:
        await t.type("rx /tcp prot 80/\r", "[1] clause:1:5: error:", "hint:")
        await t.type(".ls\r", "[1] failed")
        t.source.send_text(CTRL_D)

    run(play)


def test_ctrl_c_between_two_lines_never_ends_the_prompt(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Jobs.start

    def interrupted(*given: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return start(*given)

    monkeypatch.setattr(Jobs, "start", interrupted)
    before = signal.getsignal(signal.SIGINT)

    async def play(t: Any) -> None:
        await t.type("rx\r", "[1] 1 probe attached")
        await t.type(".ls\r", "[1] running")
        await t.type("tx\r", "[2] 1 probe attached")
        t.source.send_text(".quit\r")

    run(play)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_clause_that_fails_never_ends_the_prompt(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("xcapscript.repl.jobs.load", fail)

    async def play(t: Any) -> None:
        await t.type("rx\r", "[1] ZeroDivisionError: oh", "[1] this is a bug in xcap")
        await t.type(".ls\r", "[1] failed")
        t.source.send_text(CTRL_D)

    run(play)


def test_a_bug_in_a_command_never_ends_the_prompt(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(loop, "run_command", fail)

    async def play(t: Any) -> None:
        await t.type(".ls\r", "ZeroDivisionError: oh", "this is a bug in xcap")
        t.source.send_text(CTRL_D)

    run(play)


def test_what_the_machine_cannot_do_is_told_each_time(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise KernelError("this kernel has none", advice="try another")

    monkeypatch.setattr(loop, "run_command", fail)

    async def play(t: Any) -> None:
        for _ in range(2):
            await t.type(".hooks x\r", "this kernel has none\ntry another")
        t.source.send_text(CTRL_D)

    assert "bug" not in run(play).text


def test_a_bug_in_a_completer_is_told_once_and_never_ends_the_prompt(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("xcapscript.repl.completer.complete", fail)

    async def play(t: Any) -> None:
        await t.type("dr", "ZeroDivisionError: oh")
        await t.type(f"o\t{CTRL_C}")
        await t.type(".ls\r", "nothing was started")
        t.source.send_text(CTRL_D)

    assert run(play).text.count("ZeroDivisionError") == 1


def test_a_bug_in_the_toolbar_never_ends_the_prompt(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("xcapscript.repl.start.toolbar", fail)

    async def play(t: Any) -> None:
        await t.type(".ls\r", "nothing was started")
        t.source.send_text(CTRL_D)

    run(play)


def test_tab_completes(run: Any, sessions: Any) -> None:
    async def play(t: Any) -> None:
        await t.type("retr")
        while t.line() != "retrans":
            t.source.send_text("\t")
            await asyncio.sleep(0.5)
        await t.type(" { count(pid); }\r", STARTED)
        t.source.send_text(".quit\r")

    run(play)
    assert sessions[0].unit.programs[0].hook == "retrans"


def test_what_was_typed_is_in_the_history(run: Any) -> None:
    history = InMemoryHistory(["drop /tcp/"])

    async def play(t: Any) -> None:
        await t.type(".history\r", "drop /tcp/")
        # up: .history, then what was there before
        await t.type("\x1b[A\x1b[A\r", STARTED)
        t.source.send_text(".quit\r")

    run(play, history=history)
    assert history.get_strings()[:3] == ["drop /tcp/", ".history", "drop /tcp/"]


def test_sigterm_ends_it_in_order(run: Any, sessions: Any) -> None:
    async def play(t: Any) -> None:
        await t.type("rx\r", STARTED)
        os.kill(os.getpid(), signal.SIGTERM)

    assert "[1] stopped" in run(play).text
    assert sessions[0].abandoned


def test_a_terminal_that_has_gone_ends_it_without_a_word_of_a_bug(run: Any, sessions: Any) -> None:
    def fail(*_args: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def play(t: Any) -> None:
        await t.type("rx\r", STARTED)
        t.paper.write_raw = t.paper.flush = fail
        t.source.send_text("x")

    assert "bug" not in run(play).text
    assert sessions[0].abandoned


def test_without_root_all_but_starting_works(run: Any, unprivileged: None, monkeypatch: pytest.MonkeyPatch) -> None:
    del unprivileged
    monkeypatch.setattr(outside, "page", lambda _text: False)

    async def play(t: Any) -> None:
        await t.type(".desc drop\r", "args.reason: enum skb_drop_reason")
        await t.type("rx { dump; }\r", "[1] capturing needs root", "[1] run it with sudo")
        await t.type(".c 1\r", "xcap_events.ringbuf_output")
        t.source.send_text(CTRL_D)

    assert "capturing needs root: completion" in run(play).text


def test_the_editor_s_text_stands_in_the_line(run: Any, sessions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "edit", lambda text: text.replace("pid", "uid"))

    async def play(t: Any) -> None:
        await t.type("rx { count(pid); }\r", STARTED)
        await t.type(".edit 1\r\r", "[2] 1 probe attached")
        t.source.send_text(".quit\r")

    run(play)
    assert sessions[1].unit.programs[0].span.source.text == "rx { count(uid); }"


def test_ctrl_x_ctrl_e_edits_the_line(run: Any, sessions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "edit", lambda text: text.replace("pid", "uid"))

    async def play(t: Any) -> None:
        await t.type("rx { count(pid); }\x18\x05")
        await t.until(lambda: t.line() == "rx { count(uid); }")
        await t.type("\r", STARTED)
        t.source.send_text(".quit\r")

    run(play)
    assert len(sessions) == 1


def test_an_editor_that_fails_leaves_the_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "false")

    async def play(t: Any) -> None:
        await t.type("rx\x18\x05", "false ended with status 1: nothing was changed")
        await t.until(lambda: t.line() == "rx")
        await t.type("\r", STARTED)
        t.source.send_text(".quit\r")

    run(play)


def test_vi_keys(run: Any, sessions: Any) -> None:
    async def play(t: Any) -> None:
        await t.type(".set vi on\r", "vi on")
        await t.type("tx")
        t.source.send_text(ESCAPE)
        await asyncio.sleep(1)
        await t.type("0rr\r", STARTED)
        t.source.send_text(".quit\r")

    run(play)
    assert sessions[0].unit.programs[0].hook == "rx"


def test_a_shell_s_status_is_told(run: Any, tmp_path: Path) -> None:
    async def play(t: Any) -> None:
        await t.type(f"!echo hello > {tmp_path}/said; exit 3\r", "exit status 3")
        await t.type("!\r", "write !COMMAND")
        t.source.send_text(CTRL_D)

    run(play)
    assert (tmp_path / "said").read_text() == "hello\n"


def test_a_text_that_is_too_high_goes_to_the_pager(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    paged: list[str] = []
    monkeypatch.setattr(outside, "page", lambda text: not paged.append(text))

    async def play(t: Any) -> None:
        t.source.send_text(".help\r")
        await t.until(lambda: bool(paged))
        t.source.send_text(".ls\r")
        t.source.send_text(CTRL_D)

    assert ".watch" not in run(play, rows=24).text
    assert ".watch" in paged[0]


def test_where_there_is_no_pager_all_is_written(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "page", lambda _text: False)

    async def play(t: Any) -> None:
        await t.type(".help\r", ".watch")
        t.source.send_text(CTRL_D)

    run(play, rows=24)


def test_every_command_is_in_the_help(run: Any) -> None:
    async def play(t: Any) -> None:
        await t.type(".help\r", *(f".{command.usage}" for command in commands.COMMANDS.values()))
        t.source.send_text(CTRL_D)

    run(play)
