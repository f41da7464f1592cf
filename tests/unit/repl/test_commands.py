"""Every command with what it shows, and every way in which it can be written wrong."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from xcapscript.cli.options import parse_options
from xcapscript.errors import UsageError
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.repl.command import Desk, Edit, Leave, Shell
from xcapscript.repl.commands import COMMANDS, run_command
from xcapscript.repl.jobs import Jobs, State, Surroundings
from xcapscript.repl.screen import Screen
from xcapscript.repl.spare import Spare
from xcapscript.repl.toolbar import Meter
from xcapscript.source import Source
from xcapscript.syntax.parse import parse

ROOT = Path(__file__).parents[3]
KERNEL = FrozenKernel(ROOT / "tests" / "data" / "kernel" / "linux-6.18.json")
COUNTS = "drop /icmp/ { @m[pid] = count(); }"
STACKS = "drop { count(reason, kstack(3)); }"


class Nothing:
    def close(self) -> None:
        pass


@pytest.fixture
def desk(sessions: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    del sessions
    monkeypatch.chdir(tmp_path)
    screen = Screen()
    around = Surroundings(
        default_library({}),
        KERNEL,
        Spare(Nothing),  # type: ignore[arg-type]
        screen,
        lambda addresses, depth: [f"f{address}" for address in addresses if address][:depth],
        columns=lambda: 80,
        colour=False,
        crowded=lambda: False,
    )
    made = Desk(Jobs(around), around, parse_options([]), Meter())
    yield made
    for job in made.jobs:
        job.stop()
        job.wait()


def started(desk: Desk, *texts: str) -> None:
    """Start clauses, and wait until they run."""
    for text in texts:
        job = desk.jobs.start(text, desk.options)
        while job.state is State.STARTING:
            job.wait(0.01)
        assert job.state is State.RUNNING, desk.around.screen.take()


def ask(desk: Desk, line: str) -> str:
    found = run_command(desk, line)
    assert isinstance(found, str)
    return found


def refused(desk: Desk, line: str) -> str:
    with pytest.raises(UsageError) as error:
        run_command(desk, line)
    return str(error.value)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (".pirnt @m", "there is no command '.pirnt': did you mean '.print'?"),
        (".frobnicate", "there is no command '.frobnicate': see .help"),
        (".ls all", ".ls takes nothing behind it"),
        (".stop", "write .stop N, or .stop all"),
        (".stop 7", "there is no clause '7': nothing was started yet"),
        (".pause", "write .pause N, with the number of a clause"),
        (".resume x", "there is no clause 'x': nothing was started yet"),
        (".print", "write .print @map, or .print @map N for its N first keys"),
        (".print @m x", "write .print @map, or .print @map N for its N first keys"),
        (".print @m", "no clause has a map '@m': see .maps"),
        (".clear", "write .clear @map"),
        (".watch @m", "no clause has a map '@m': see .maps"),
        (".flame", "write .flame N, with the number of a clause that counts stacks, as count(kstack) does"),
        (".desc", "write .desc HOOK, such as .desc drop or .desc rawtracepoint:kfree_skb"),
        (".desc dorp", "unknown hook 'dorp' (did you mean 'drop'?)"),
        (".hooks nothing_like_it", "no hook matches 'nothing_like_it'"),
        (".fields tpc", "there are no fields of 'tpc': did you mean 'tcp'?"),
        (".fields struct nothing", "there are no fields of 'struct nothing': see .fields"),
        (".set snaplem 3", "there is no setting 'snaplem': did you mean 'snaplen'?"),
        (".set snaplen many", "argument -s: 'many' is not a number of bytes"),
        (".set vi maybe", "vi is on or off"),
        (
            ".set flame x.svg",
            "there is no setting 'flame': at the prompt .flame N draws the stacks of a clause, whenever you like",
        ),
        (".write /nowhere/x.pcapng", "cannot write '/nowhere/x.pcapng': No such file or directory"),
        (".write /", "cannot write '/': Is a directory"),
        (".load", "write .load FILE.xcap, and its parameters behind it"),
        (".load nowhere.xcap", "cannot read 'nowhere.xcap': No such file or directory"),
        (".save", "write .save FILE.xcap, or .save FILE.xcap 1 3 for some clauses"),
        (".save s.xcap", "nothing that could be saved has run yet"),
        (".edit 3", "there is no clause '3': nothing was started yet"),
        (".c", "write .c N, with the number of a clause"),
        (".stats 2", "there is no clause '2': nothing was started yet"),
        (".help nonsense", "there is no help on 'nonsense': see .help"),
        (".help pritn", "there is no help on 'pritn': did you mean 'print'?"),
        ("!", "write !COMMAND, such as !ip address"),
    ],
)
def test_a_command_that_is_written_wrong_says_how_it_is_written(desk: Desk, line: str, why: str) -> None:
    assert refused(desk, line) == why


def test_what_runs_is_listed_with_its_counts(desk: Desk) -> None:
    assert ask(desk, ".ls").startswith("nothing was started yet")
    started(desk, COUNTS)
    assert ask(desk, ".ls") == f"[1] running: 5 of 9 hits, 0/s, 2 lost\n    {COUNTS}"


def test_stop_ends_one_or_all(desk: Desk) -> None:
    started(desk, COUNTS, "rx", "tx")
    run_command(desk, ".stop 2")
    assert [job.state for job in desk.jobs] == [State.RUNNING, State.STOPPED, State.RUNNING]
    assert refused(desk, ".stop 2") == "clause 2 is stopped"
    run_command(desk, ".stop all")
    assert not desk.jobs.alive()


def test_pause_and_resume(desk: Desk, sessions: Any) -> None:
    started(desk, COUNTS)
    assert ask(desk, ".pause 1") == "[1] paused"
    assert sessions[0].paused
    assert refused(desk, ".pause 1") == "clause 1 is not running: it is paused"
    assert ask(desk, ".resume [1]") == "[1] running"
    assert not sessions[0].paused
    assert refused(desk, ".resume 1") == "clause 1 is not paused: it is running"


def test_maps_are_listed_printed_and_cleared(desk: Desk, sessions: Any) -> None:
    assert ask(desk, ".maps") == "no clause has a map"
    started(desk, COUNTS)
    assert ask(desk, ".maps") == "[1] @m: count, 1 key"
    sessions[0].rows = 3
    assert ask(desk, ".print @m") == "@m    count\n  44      9\n  43      8\n  42      7"
    assert ask(desk, ".print m 1") == "@m    count\n  44      9\n... 2 more"
    assert refused(desk, ".print @mm") == "no clause has a map '@mm': did you mean '@m'?"
    assert ask(desk, ".clear @m") == "@m is empty"
    assert ask(desk, ".print @m") == "@m is empty"


def test_a_map_is_there_after_its_clause(desk: Desk) -> None:
    started(desk, COUNTS)
    run_command(desk, ".stop 1")
    assert ask(desk, ".print @m") == "@m    count\n  42      7"


def test_maps_of_one_name_are_told_apart(desk: Desk) -> None:
    started(desk, COUNTS, COUNTS)
    assert ask(desk, ".print @m") == "[1]\n@m    count\n  42      7\n[2]\n@m    count\n  42      7"


def test_watch_keeps_names_and_lets_go_of_them(desk: Desk) -> None:
    started(desk, COUNTS)
    assert run_command(desk, ".watch @m") is None
    assert desk.watched == ("@m",)
    assert ask(desk, ".watch") == "no map is watched"
    assert desk.watched == ()


def test_a_flame_graph_is_drawn_of_stacks(desk: Desk, sessions: Any) -> None:
    started(desk, STACKS, COUNTS)
    (spec,) = sessions[0].unit.maps
    sessions[0].content = lambda _spec: {bytes(spec.key.size - 8) + (5).to_bytes(8, "little"): 7}
    assert ask(desk, ".flame 1") == "1 stack drawn in flame-1.svg"
    assert Path("flame-1.svg").read_text().startswith("<?xml")
    ask(desk, ".flame 1 x.folded")
    assert Path("x.folded").read_text().endswith(" 7\n")
    assert refused(desk, ".flame 2") == "nothing in clause 2 counts by stack, as count(kstack) does"


def test_hooks_and_what_they_give(desk: Desk) -> None:
    assert "rawtracepoint:kfree_skb" in ask(desk, ".hooks kfree").splitlines()
    assert len(ask(desk, ".hooks").splitlines()) > 20
    assert ask(desk, ".desc drop").splitlines() == [
        "drop: a packet is thrown away, and the kernel says why (reason).",
        "rawtracepoint:kfree_skb",
        "    args.skb: struct sk_buff *",
        "    args.location: void *",
        "    args.reason: enum skb_drop_reason",
        "    args.rx_sk: struct sock *",
        "    the packet is args.skb",
        "    the drop reason is args.reason",
    ]
    assert "no packet" in ask(desk, ".desc interval:1s")


def test_fields_of_packets_and_structs(desk: Desk) -> None:
    assert "tcp: sport dport seq ack flags window" in ask(desk, ".fields").splitlines()
    assert "tcp.flags" in ask(desk, ".fields tcp")
    assert "dev" in ask(desk, ".fields skb")
    assert ask(desk, ".fields struct sk_buff") == ask(desk, ".fields skb")
    assert "sk.state" in ask(desk, ".fields sk")


def test_dumped_packets_of_two_clauses_go_to_two_files(desk: Desk, tmp_path: Path) -> None:
    assert "p.pcapng" in ask(desk, ".write p.pcapng")
    started(desk, "rx { dump; }", "tx { dump; }")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p-2.pcapng", "p.pcapng"]
    assert "of its own" in ask(desk, ".write off")


def test_a_file_that_could_be_written_is_left_as_it_is(desk: Desk, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "there").write_text("before")
    ask(desk, ".write there")
    assert Path("there").read_text() == "before"
    assert f"{tmp_path}/new.pcapng" in ask(desk, ".write ~/new.pcapng")
    assert not Path("new.pcapng").exists()


def test_a_script_is_loaded(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "s.xcap").write_text('import "other";\nmine;')
    (tmp_path / "other.xcap").write_text("hook mine = rawtracepoint:netif_receive_skb;")
    run_command(desk, ".load s.xcap")
    (job,) = desk.jobs
    while job.state is State.STARTING:
        job.wait(0.01)
    assert job.state is State.RUNNING
    (tmp_path / "s.xcap").write_bytes(b"\xff")
    assert refused(desk, ".load s.xcap") == "cannot read 's.xcap': it is not UTF-8 text"


def test_a_script_is_loaded_with_its_parameters(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "a script.xcap").write_text('param top = 5, "how many";\nrx { @m[ifname] = count(); print($1, $top); }')
    run_command(desk, ".load 'a script.xcap' 80 --top=3")
    (job,) = desk.jobs
    while job.state is State.STARTING:
        job.wait(0.01)
    assert job.state is State.RUNNING
    assert (job.options.arguments, job.options.named) == (("80",), {"top": "3"})
    ask(desk, ".save s.xcap 1")
    assert "// run with: xcap s.xcap 80 --top=3\n" in Path("s.xcap").read_text()
    (tmp_path / "plain.xcap").write_text("rx;")
    assert refused(desk, ".load plain.xcap 80").startswith("'80' is no part of the program, which has no $1")
    assert refused(desk, ".load plain.xcap -c 3").startswith("behind a script stand its parameters")
    assert refused(desk, ".load 'plain.xcap").startswith("No closing quotation")


def test_what_runs_is_saved_as_a_script_that_runs_as_it_stands(desk: Desk) -> None:
    ask(desk, ".set snaplen 96")
    started(desk, "rx /icmp/", COUNTS)
    assert ask(desk, ".save s.xcap") == "2 clauses saved: run them with xcap s.xcap"
    text = Path("s.xcap").read_text()
    assert text.startswith("#!/usr/bin/env xcap\n")
    assert "option snaplen = 96;" in text
    assert len(parse(Source("s.xcap", text)).items) == 3
    assert os.access("s.xcap", os.X_OK)
    assert ask(desk, ".save t.xcap 2") == "1 clause saved: run it with xcap t.xcap"
    assert "rx" not in Path("t.xcap").read_text()


def test_clauses_that_do_not_go_together_are_not_saved(desk: Desk) -> None:
    started(desk, COUNTS, "rx { @m[ifname] = count(); }")
    assert refused(desk, ".save s.xcap").startswith("these clauses do not go together in one script")
    assert not Path("s.xcap").exists()


def test_what_ran_is_saved_when_nothing_runs(desk: Desk) -> None:
    started(desk, COUNTS)
    run_command(desk, ".stop 1")
    assert ask(desk, ".save s.xcap").startswith("1 clause saved")
    assert refused(desk, ".save /nowhere/s.xcap") == "cannot write '/nowhere/s.xcap': No such file or directory"


def test_edit_gives_the_text_of_a_clause_or_the_last_one(desk: Desk) -> None:
    assert run_command(desk, ".edit") == Edit("")
    desk.typed.append("rx")
    assert run_command(desk, ".edit") == Edit("rx")
    started(desk, COUNTS)
    assert run_command(desk, ".edit 1") == Edit(COUNTS)


def test_the_c_of_a_clause_is_shown(desk: Desk) -> None:
    started(desk, COUNTS)
    assert "BPF_RINGBUF" in ask(desk, ".c 1") or "struct xcap" in ask(desk, ".c 1")


def test_the_history_is_searched(desk: Desk) -> None:
    desk.typed += ["rx /tcp/", "drop {\n  dump;\n}"]
    assert ask(desk, ".history") == "rx /tcp/\ndrop { dump; }"
    assert ask(desk, ".history drop") == "drop { dump; }"
    assert ask(desk, ".history udp") == "nothing that was typed has that in it"


def test_stats_tell_what_became_of_every_hit(desk: Desk) -> None:
    assert ask(desk, ".stats") == "nothing has run yet"
    started(desk, COUNTS)
    told = f"[1] {COUNTS}\n    drop: 9 seen, 1 no packet, 3 filter said no, 5 matched, 2 lost"
    assert ask(desk, ".stats") == ask(desk, ".stats 1") == told
    run_command(desk, ".stop 1")
    assert ask(desk, ".stats") == told


@pytest.mark.parametrize("topic", ["keys", "predicates", "hooks", "actions", "values", "maps", "output", "dump", ".ls"])
def test_there_is_help(desk: Desk, topic: str) -> None:
    assert ask(desk, f".help {topic}")


def test_the_help_is_as_wide_as_the_terminal(desk: Desk) -> None:
    for command in COMMANDS.values():
        assert f".{command.usage}" in ask(desk, ".help")
    assert max(map(len, ask(desk, ".help").splitlines())) < 80


def test_the_shell_and_the_end_are_the_loop_s(desk: Desk) -> None:
    assert run_command(desk, "! ls -l") == Shell("ls -l")
    with pytest.raises(Leave):
        run_command(desk, ".quit")


def test_the_doctor_is_asked_in_a_process_of_its_own(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def done(command: list[str], **_given: object) -> Any:
        return subprocess.CompletedProcess(command, 0, stdout=f"{command[-1]}\n", stderr="")

    monkeypatch.setattr(subprocess, "run", done)
    assert ask(desk, ".doctor") == "--doctor"
