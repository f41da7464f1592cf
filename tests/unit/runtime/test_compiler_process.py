"""The parent's side of the loader, with loaders of our own that need no BPF: one that works, and bad ones."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xcapscript.diagnostics import Code, ScriptError
from xcapscript.errors import CompilerBug, KernelError
from xcapscript.kernel.kinds import ProgramType
from xcapscript.layout import lay_out
from xcapscript.resources import bpf_directory
from xcapscript.runtime.compiler_process import FIXED_MAPS, CompilerProcess, Loaded, LoadedProgram
from xcapscript.source import Source
from xcapscript.types import U64
from xcapscript.unit import Aggregation, Attachment, HookKind, MapSpec, Program, Unit

ROOT = Path(__file__).parents[3]
SOURCE = Source("x.xcap", "drop { count; } begin { }")
SPAN = SOURCE.span(0, 15)
COUNTED = lay_out("value", [("value", U64)])

PREFACE = """\
import array, json, os, socket, sys
connection = socket.socket(fileno=int(sys.argv[-1]))
requests = connection.makefile("r")
def answer(**found):
    connection.sendall((json.dumps(found) + "\\n").encode())
def send(descriptors):
    some = array.array("i", descriptors)
    connection.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, some)])
def files(names):
    made = []
    for name in names:
        made.append(os.memfd_create(name))
        os.write(made[-1], name.encode())
    return made
"""

WORKS = """\
for line in requests:
    request = json.loads(line)
    copies = [name for name, loads in request["functions"] for _ in loads]
    names = copies + request["maps"]
    answer(descriptors=len(names))
    made = files(names)
    for at in range(0, len(made), 250):
        send(made[at : at + 250])
"""


def unit(programs: int = 2, maps: int = 1) -> Unit:
    kinds = [Attachment(HookKind.RAWTRACEPOINT, "kfree_skb"), Attachment(HookKind.BEGIN)]
    kinds += [Attachment(HookKind.TRACEPOINT, "skb:kfree_skb", 7), Attachment(HookKind.INTERVAL, period=5)]
    key = lay_out("key", [("k0", U64)])
    specs = [MapSpec(f"@{n}", f"xcap_map_{n}", key, COUNTED, Aggregation.COUNT, False, 9, SPAN) for n in range(maps)]  # noqa: FBT003
    probes = [Program(f"xcap_probe_{n}", kinds[n % 4], "drop", SPAN) for n in range(programs)]
    return Unit("int x; /* żółć */\n", tuple(probes), (), tuple(specs), (), 8)


Start = Callable[[str], CompilerProcess]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a process that runs a text of Python for its loader."""
    started: list[CompilerProcess] = []

    def run(code: str, preface: str = PREFACE) -> CompilerProcess:
        (tmp_path / "loader.py").write_text(preface + code)
        command = [sys.executable, "-IS", str(tmp_path / "loader.py")]
        (tmp_path / "python").write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        (tmp_path / "python").chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(tmp_path / "python"))
            started.append(CompilerProcess())
        return started[-1]

    yield run
    for process in started:
        process.close()


def contents(descriptor: int) -> str:
    return os.pread(descriptor, 100, 0).decode()


def test_the_loader_is_told_all_that_is_to_be_loaded(start: Start, tmp_path: Path) -> None:
    seen = tmp_path / "request.json"
    code = f"open({str(seen)!r}, 'w').write(requests.readline())"
    with pytest.raises(CompilerBug):
        start(code).load(unit(4, 1), Path("/some where"))
    request = json.loads(seen.read_text())
    assert request["text"] == "int x; /* żółć */\n"
    assert request["headers"] == "/some where"
    assert f"-I{bpf_directory() / 'include'}" in request["cflags"]
    raw, record = ProgramType.RAW_TRACEPOINT, ProgramType.TRACEPOINT
    assert [(name, [(load["type"], load["target"]) for load in loads]) for name, loads in request["functions"]] == [
        ("xcap_probe_0", [(raw, "kfree_skb")]),
        ("xcap_probe_1", [(raw, "")]),
        ("xcap_probe_2", [(record, "")]),
        ("xcap_probe_3", [(raw, "")]),
    ]
    assert request["maps"] == [*FIXED_MAPS, "xcap_map_0"]


def test_what_was_loaded_has_its_names(start: Start) -> None:
    loaded = start(WORKS).load(unit(), None)
    assert [contents(program.copies[0]) for program in loaded.programs] == ["xcap_probe_0", "xcap_probe_1"]
    assert {name: contents(descriptor) for name, descriptor in loaded.maps.items()} == {
        name: name for name in (*FIXED_MAPS, "xcap_map_0")
    }
    loaded.close()


def test_more_is_loaded_than_one_message_holds(start: Start) -> None:
    loaded = start(WORKS).load(unit(programs=300, maps=5), None)
    assert [contents(program.copies[0]) for program in loaded.programs] == [f"xcap_probe_{n}" for n in range(300)]
    assert {contents(descriptor) for descriptor in loaded.maps.values()} == set(loaded.maps)
    loaded.close()


def test_no_command_that_we_run_inherits_what_was_loaded(start: Start) -> None:
    loaded = start(WORKS).load(unit(), None)
    assert not any(
        os.get_inheritable(descriptor) for descriptor in (loaded.programs[0].copies[0], *loaded.maps.values())
    )
    loaded.close()


def test_what_was_loaded_outlives_the_loader(start: Start) -> None:
    process = start(WORKS)
    loaded = process.load(unit(), None)
    process.close()
    assert contents(loaded.programs[0].copies[0]) == "xcap_probe_0"
    loaded.close()


def test_what_was_loaded_is_given_back() -> None:
    pipe = os.pipe()
    Loaded((LoadedProgram((pipe[0],)),), {"xcap_events": pipe[1]}).close()
    for descriptor in pipe:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit(1)",
        "requests.readline(); raise SystemExit(1)",
        "requests.readline(); os.kill(os.getpid(), 9)",
        "requests.readline(); connection.sendall(b'{\"descriptors\"'); raise SystemExit",
        "requests.readline(); os.write(2, b'LLVM ERROR: no\\n'); raise SystemExit",
    ],
)
def test_a_loader_that_dies_is_our_fault(start: Start, code: str) -> None:
    with pytest.raises(CompilerBug, match="ended without an answer"):
        start(code).load(unit(), None)


def test_the_last_words_of_a_loader_are_kept(start: Start) -> None:
    code = "requests.readline(); print('out'); sys.stdout.flush(); os.write(2, b'LLVM ERROR: \\xff\\n')"
    with pytest.raises(CompilerBug) as caught:
        start(code).load(unit(), None)
    assert caught.value.log == "out\nLLVM ERROR: \ufffd\n"


def test_missing_bindings_of_bcc_are_told_as_what_they_are(start: Start) -> None:
    with pytest.raises(KernelError, match="bcc"):
        start("from bcc import BPF", preface="").load(unit(), None)


def test_a_text_that_does_not_compile_is_explained(start: Start) -> None:
    log = "x.xcap:1:9: error: use of undeclared identifier 'y'\n1 error generated.\n"
    code = f"requests.readline(); sys.stderr.write({log!r}); sys.stderr.flush(); answer(failed='compile', reason='no')"
    with pytest.raises(ScriptError) as caught:
        start(code).load(unit(), None)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.span) == (Code.COMPILE, SPAN)


def test_a_program_that_is_refused_is_explained(start: Start) -> None:
    log = "0: (79) r1 = *(u64 *)(r1 +3200)\ninvalid bpf_context access off=3200 size=8\n"
    code = f"""
requests.readline()
sys.stderr.write({log!r})
sys.stderr.flush()
answer(failed='xcap_probe_1', reason='Failed to load BPF program: Permission denied')
"""
    with pytest.raises(KernelError, match="invalid bpf_context access") as caught:
        start(code).load(unit(), None)
    assert caught.value.log == log


@contextmanager
def hang_guard(seconds: int) -> Iterator[None]:
    """Fails what would wait for ever."""

    def fail(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("sent", ["", "send(files('a'))"])
def test_a_loader_that_dies_while_it_sends_is_not_waited_for(start: Start, sent: str) -> None:
    process = start(f"requests.readline(); answer(descriptors=7); {sent or 'pass'}")
    with hang_guard(2), pytest.raises(CompilerBug):
        process.load(unit(), None)


def test_a_process_is_ended_whatever_it_does(start: Start, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    process = start(f"""
import signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
open({str(pid_file)!r}, 'w').write(str(os.getpid()))
answer(failed='compile', reason='')
while True:
    time.sleep(60)
""")
    with pytest.raises(CompilerBug):
        process.load(unit(), None)
    process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_process_can_be_closed_twice_and_before_it_did_anything(start: Start) -> None:
    process = start(WORKS)
    process.close()
    process.close()


def test_nothing_is_left_open(start: Start) -> None:
    before = open_files()
    process = start(WORKS)
    loaded = process.load(unit(), None)
    process.close()
    loaded.close()
    assert open_files() == before


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_ctrl_c_at_the_terminal_does_not_reach_the_loader(start: Start, tmp_path: Path) -> None:
    seen = tmp_path / "session"
    code = f"requests.readline(); open({str(seen)!r}, 'w').write(f'{{os.getpid()}} {{os.getsid(0)}}')"
    with pytest.raises(CompilerBug):
        start(code).load(unit(), None)
    process, session = seen.read_text().split()
    assert process == session


def test_modules_of_the_working_directory_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real loader, in a directory where somebody left a `bcc` of his own."""
    (tmp_path / "bcc.py").write_text(f"open({str(tmp_path / 'trapped')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    process = CompilerProcess()
    with pytest.raises((CompilerBug, KernelError, ScriptError)):
        process.load(unit(), None)
    process.close()
    assert not (tmp_path / "trapped").exists()
