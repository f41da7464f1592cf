"""The command line as it is typed."""

from __future__ import annotations

import errno
import io
import os
import re

import pytest

from xcapscript import __version__
from xcapscript.cli.options import STAGES, Options, _parser, parse_options, usage
from xcapscript.cli.together import _spelled
from xcapscript.errors import UsageError
from xcapscript.sinks.base import SinkError

PLAIN = Options(
    program=None,
    files=(),
    arguments=(),
    named={},
    list=None,
    write=None,
    count=None,
    snaplen=None,
    interface=None,
    time=None,
    command=None,
    no_names=False,
    quiet=False,
    why=False,
    verbose=False,
    check=False,
    dump=None,
)


def given(*arguments: str) -> dict[str, object]:
    """What differs from a command line that says nothing."""
    found = parse_options(arguments)
    names = Options.__slots__
    return {name: getattr(found, name) for name in names if getattr(found, name) != getattr(PLAIN, name)}


@pytest.mark.parametrize(
    ("line", "options"),
    [
        (["-e", "rx"], {"program": "rx"}),
        (["-e", ""], {"program": ""}),
        (["x.xcap"], {"files": ("x.xcap",)}),
        (["-"], {"files": ("-",)}),
        (["-l"], {"list": "*"}),
        (["-l", "skb"], {"list": "skb"}),
        (["-l", "-v"], {"list": "*", "verbose": True}),
        (["-e", "rx", "-w", "-"], {"program": "rx", "write": "-"}),
        (["-e", "rx", "-o", "lines"], {"program": "rx", "output": "lines"}),
        (["-e", "rx", "-f", "json"], {"program": "rx", "format": "json"}),
        (["-e", "rx", "-f", "text"], {"program": "rx"}),
        (["-e", "rx", "-c", "10"], {"program": "rx", "count": 10}),
        (["-e", "rx", "-s", "128"], {"program": "rx", "snaplen": 128}),
        (["-e", "rx", "-s", "0"], {"program": "rx", "snaplen": 0}),
        (["-e", "rx", "-s", "4294967296"], {"program": "rx", "snaplen": 0xFFFFFFFF}),
        (["-l", "-v", "skb"], {"list": "skb", "verbose": True}),
        (["x.xcap", "--out=a=b"], {"files": ("x.xcap",), "named": {"out": "a=b"}}),
        (["x.xcap", "--help"], {"files": ("x.xcap",), "help": True}),
        (["-e", "rx", "-i", "eth0"], {"program": "rx", "interface": "eth0"}),
        (["-e", "rx", "--cmd", "ping -c 1 ::1"], {"program": "rx", "command": "ping -c 1 ::1"}),
        (["-e", "rx", "-nqv"], {"program": "rx", "no_names": True, "quiet": True, "verbose": True}),
        (["-e", "rx", "-p", "812"], {"program": "rx", "process": 812}),
        (["-e", "rx", "--last", "100"], {"program": "rx", "last": 100}),
        (["-e", "rx", "--why"], {"program": "rx", "why": True}),
        (["-e", "rx", "-C", "10"], {"program": "rx", "file_size": 10_000_000}),
        (["-e", "rx", "-C", "10k", "-W", "3"], {"program": "rx", "file_size": 10 << 10, "file_count": 3}),
        (["-e", "rx", "-C", "10M"], {"program": "rx", "file_size": 10 << 20}),
        (["-e", "rx", "-C", "1g"], {"program": "rx", "file_size": 1 << 30}),
        (["-e", "rx", "-G", "60", "-W", "1"], {"program": "rx", "file_seconds": 60, "file_count": 1}),
        (["-e", "rx", "-U"], {"program": "rx", "at_once": True}),
        (["-e", "rx", "-t", "-nnv"], {"program": "rx", "tcpdump": ("-nnv",)}),
        (["-e", "rx", "-t", "-n 'port 53 or icmp'"], {"program": "rx", "tcpdump": ("-n", "port 53 or icmp")}),
        (["-e", "rx", "-t", ""], {"program": "rx", "tcpdump": ()}),
        (["-t", "-n", "x.xcap", "-v"], {"files": ("x.xcap",), "tcpdump": ("-n",), "verbose": True}),
        (["-e", "rx", "-t", "-t"], {"program": "rx", "tcpdump": ("-t",)}),
        (["--install-extcap"], {"install_extcap": True}),
        (["-e", "rx", "--flame", "f.svg"], {"program": "rx", "flame": "f.svg"}),
        (["-e", "rx", "--progress"], {"program": "rx", "progress": True}),
        *((["-e", "rx", "--dump", stage], {"program": "rx", "dump": stage}) for stage in STAGES),
    ],
)
def test_each_option_says_one_thing(line: list[str], options: dict[str, object]) -> None:
    assert given(*line) == options


@pytest.mark.parametrize(
    ("line", "program", "files", "arguments"),
    [
        (["x.xcap", "a", "b"], None, ("x.xcap",), ("a", "b")),
        (["-e", "rx", "a", "b"], "rx", (), ("a", "b")),
        (["a", "-e", "rx", "b"], "rx", (), ("a", "b")),
        (["-q", "x.xcap", "-v", "a", "-c", "5", "b"], None, ("x.xcap",), ("a", "b")),
        pytest.param(["-e", "rx", "--", "-v"], "rx", (), ("-v",)),
        pytest.param(["-e", "rx", "--", "-v", "--cmd"], "rx", (), ("-v", "--cmd")),
        (["x.xcap", "--", "-v"], None, ("x.xcap",), ("-v",)),
        (["x.xcap", "-5"], None, ("x.xcap",), ("-5",)),
        (["-e", "rx", ""], "rx", (), ("",)),
        (["--check", "x.xcap", "y.xcap"], None, ("x.xcap", "y.xcap"), ()),
        (["x.xcap", "--check", "y.xcap"], None, ("x.xcap", "y.xcap"), ()),
        (["--check", "-e", "rx", "a"], "rx", (), ("a",)),
    ],
)
def test_words_are_the_program_and_its_arguments(
    line: list[str], program: str | None, files: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    found = parse_options(line)
    assert (found.program, found.files, found.arguments) == (program, files, arguments)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("10", 10), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("1.5s", 1.5), ("0.25", 0.25)],
)
def test_times_are_in_seconds(text: str, seconds: float) -> None:
    assert given("-e", "rx", "--time", text)["time"] == seconds


@pytest.mark.parametrize("line", [[], ["-q"], ["-w", "x.pcapng"]])
def test_without_a_program_one_is_asked_for(line: list[str]) -> None:
    assert parse_options(line).prompts


@pytest.mark.parametrize("line", [["-e", "rx"], ["x.xcap"], ["-l"], ["--help"], ["--explain", "syntax"]])
def test_with_a_program_or_a_question_none_is_asked_for(line: list[str]) -> None:
    assert not parse_options(line).prompts


@pytest.mark.parametrize("line", [["--check"], ["--fmt"], ["--dump", "c"]])
def test_there_must_be_a_program(line: list[str]) -> None:
    with pytest.raises(UsageError, match="there is no program: give -e PROGRAM or a file"):
        parse_options(line)


@pytest.mark.parametrize(
    "line",
    [
        ["--flame", "-"],
        ["--flame", ""],
        ["--flame", "f", "-w", "f"],
        ["--flame", "f", "-o", "f"],
        ["--flame", "./f", "-o", "f"],
        ["-c", "0"],
        ["-c", "-1"],
        ["-c", "x"],
        ["-c", "1.5"],
        ["-c", ""],
        ["-c", "²"],
        ["-c", "9" * 5000],
        ["-s", "-1"],
        ["-s", "x"],
        ["-s", ""],
        ["--time", "0"],
        ["--time", "0.0s"],
        ["--time", "-1s"],
        ["--time", "1d"],
        ["--time", "s"],
        ["--time", "1 s"],
        ["--time", "nan"],
        ["--time", "inf"],
        ["--time", "1e3"],
        ["--time", ""],
        ["-i", ""],
        ["-i", "a/b"],
        ["-i", "sixteen_letters_"],
        ["-i", "ż" * 8],
        ["--dump", "asm"],
        ["--nonsense"],
        ["-z"],
        ["-w"],
        ["-o"],
        ["-f", "xml"],
        ["-w", "-", "-o", "-"],
        ["-C", "0"],
        ["-C", "1kb"],
        ["-C", "1.5"],
        ["-C", "-1"],
        ["-G", "0"],
        ["-G", "1m"],
        ["-W", "2"],
        ["-C", "1", "-W", "0"],
        ["-C", "1", "-w", "-"],
        ["-G", "1", "-w", "-"],
        ["-G", "1", "--last", "10"],
        ["-t"],
        ["-t", "'"],
        ["-t", "-n", "-w", "-"],
        ["-t", "-n", "-o", "-"],
        ["-e"],
        ["--cmd"],
    ],
)
def test_what_makes_no_sense_is_refused(line: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_options(["-e", "rx", *line])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["-l", "--doctor"], "--doctor and -l do not go together"),
        (["-l", "-w", "f"], "-l and -w do not go together"),
        (["-l", "skb", "x.xcap"], "'x.xcap' is a word too many beside -l"),
        (["-l", "-v", "skb", "x.xcap"], "'x.xcap' is a word too many beside -l"),
        (["--doctor", "-e", "rx"], "'rx' is a word too many beside --doctor"),
        (["--doctor", "--time", "3s"], "--doctor and --time do not go together"),
        (["--explain", "map-clash", "--doctor"], "--explain and --doctor do not go together"),
        (["--install-extcap", "-l"], "--install-extcap and -l do not go together"),
        (["--check", "-w", "f", "x.xcap"], "--check and -w do not go together"),
        (["--check", "-c", "3", "x.xcap"], "--check and -c do not go together"),
        (["--check", "--dump", "c", "-e", "rx"], "--check and --dump do not go together"),
        (["--fmt", "-w", "f", "x.xcap"], "--fmt and -w do not go together"),
        (["--fmt", "--check", "x.xcap"], "--fmt and --check do not go together"),
        (["--fmt", "-f", "json", "x.xcap"], "--fmt and -f do not go together"),
        (["--dump", "c", "--time", "3s", "-e", "rx"], "--dump and --time do not go together"),
    ],
)
def test_what_would_be_ignored_is_refused(line: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_options(line)


@pytest.mark.parametrize(
    "line",
    [
        ["-l", "-v", "-q"],
        ["--doctor", "-v"],
        ["--check", "-n", "-i", "lo", "-e", "rx"],
        ["--fmt", "--diff", "x.xcap"],
        ["--dump", "c", "-w", "f", "-s", "9", "-c", "1", "-p", "1", "-e", "rx", "--buffer-size", "4K"],
        ["x.xcap", "-l", "--help"],
    ],
)
def test_what_goes_together_is_taken(line: list[str]) -> None:
    parse_options(line)


def test_options_are_called_as_they_are_written() -> None:
    """A word that --help does not have would be no help."""
    words = re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", usage())
    parser = {action.dest: action.option_strings for action in _parser()._actions if action.option_strings}
    for name, strings in parser.items():
        assert _spelled(name) in strings or name in {"help", "version", "program", "quiet", "verbose"}
        assert set(strings) <= set(words)


def test_a_refusal_names_the_option_and_what_was_given() -> None:
    with pytest.raises(UsageError, match=r"-c: 'ten' is not a number from 1"):
        parse_options(["-e", "rx", "-c", "ten"])


def test_a_name_that_is_no_text_is_refused_as_such() -> None:
    with pytest.raises(UsageError, match="argument -i: '\udcff' is not UTF-8 text"):
        parse_options(["-i", "\udcff", "x.xcap"])


def test_an_interface_may_have_as_long_a_name_as_the_kernel_allows() -> None:
    assert given("-e", "rx", "-i", "fifteen_letters")["interface"] == "fifteen_letters"


@pytest.mark.parametrize(("line", "text"), [(["--version"], f"xcap {__version__}\n")])
def test_questions_are_answered_on_standard_output(
    line: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_options(line)
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    assert out.startswith(text)
    assert err == ""


class FullStream(io.StringIO):
    def write(self, _text: str, /) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_answer_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", FullStream())
    with pytest.raises(SinkError, match="cannot write standard output: No space left on device"):
        parse_options(["--version"])


@pytest.mark.parametrize("word", ["--out", "--out=1", "--9=1"])
def test_a_parameter_without_a_program_or_a_value_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="unrecognized arguments"):
        parse_options([word] if word.endswith("=1") else ["x.xcap", word])


def test_standard_output_is_no_file_of_that_name() -> None:
    assert parse_options(["-e", "x", "--flame", "./-", "-w", "-"]).flame == "./-"


def test_help_fits_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, usage().splitlines())) <= 80


def test_help_names_every_option() -> None:
    out = usage()
    options = [
        "-e",
        "-w",
        "-o",
        "-f",
        "-c",
        "-s",
        "-C",
        "-G",
        "-W",
        "-U",
        "-t",
        "--install-extcap",
        "-i",
        "--time",
        "--cmd",
        "-l",
        "-n",
        "-q",
        "-v",
        "--why",
        "--check",
        "--dump",
        "--buffer",
        "--buffer-size",
    ]
    assert [option for option in options if f"  {option} " not in out and f"  {option}\n" not in out] == []
    assert "exit status: 0; exit(n)'s n; 1 the program is wrong" in out
