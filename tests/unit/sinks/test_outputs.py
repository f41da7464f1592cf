import dataclasses
import errno
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xcapscript.errors import UsageError
from xcapscript.layout import EVENT, lay_out
from xcapscript.sinks.base import HookCounts, SinkError
from xcapscript.sinks.outputs import Destinations, Form, Outputs
from xcapscript.sinks.rotation import Rotation
from xcapscript.source import Source
from xcapscript.types import U64, StackType
from xcapscript.unit import Aggregation, EventKind, EventSpec, MapSpec, Unit

SpecMaker = Callable[..., EventSpec]
RecordMaker = Callable[..., bytes]

TIME = 1_700_000_000_123_456_789
IP = bytes.fromhex("45000014000000004000000001020304" + "05060708")
COUNT = MapSpec(
    "@n",
    "map_0",
    lay_out("key", []),
    lay_out("value", [("value", U64)]),
    Aggregation.COUNT,
    signed=False,
    max_entries=1,
    span=Source("x", "x").span(0, 1),
)


def unit(*events: EventSpec) -> Unit:
    return Unit("", (), events, (COUNT,), (), 1)


def outputs(to: Destinations, *events: EventSpec) -> Outputs:
    return Outputs(unit(*events), to, lambda addresses, depth: [hex(a) for a in addresses[:depth]])


def run(found: Outputs, spec: EventSpec, record: bytes) -> None:
    found.handler(spec)(TIME, memoryview(record))
    found.settle()
    found.print_map(COUNT, {b"": 3}, TIME, None)
    found.close({"drop": HookCounts(1, 0)}, {})


@pytest.mark.parametrize("kind", [EventKind.LINE, EventKind.HEX])
def test_text(make_spec: SpecMaker, make_record: RecordMaker, kind: EventKind) -> None:
    spec, stream = make_spec(kind), io.StringIO()
    run(outputs(Destinations(stream), spec), spec, make_record(IP, link=101))
    first, *rest = stream.getvalue().splitlines()
    assert " drop veth-b IP 1.2.3.4 > 5.6.7.8:" in first
    assert len(rest) == (1 if kind is EventKind.LINE else 3)
    assert rest[-1] == "@n: 3"


def test_json(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    spec, stream = make_spec(EventKind.LINE), io.StringIO()
    run(outputs(Destinations(stream, form=Form.JSON), spec), spec, make_record(IP, link=101))
    entries = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [entry["type"] for entry in entries] == ["packet", "map", "end"]
    assert entries[0]["ns"] == entries[1]["ns"] == TIME


@pytest.mark.parametrize("form", list(Form))
def test_a_file_of_their_own(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker, form: Form) -> None:
    spec, stream, path = make_spec(EventKind.LINE), io.StringIO(), tmp_path / "lines"
    stream.isatty = lambda: True  # type: ignore[method-assign]
    run(outputs(Destinations(stream, lines=str(path), form=form), spec), spec, make_record(IP, link=101))
    assert stream.getvalue() == ""
    text = path.read_text(encoding="utf-8")
    assert "1.2.3.4 > 5.6.7.8" in text
    assert "\x1b" not in text


def test_lines_and_packets_in_one_file_are_refused(tmp_path: Path, make_spec: SpecMaker) -> None:
    path = tmp_path / "f"
    (tmp_path / "other").symlink_to(path)
    with pytest.raises(SinkError) as caught:
        outputs(Destinations(io.StringIO(), str(path), lines=f"{tmp_path}/other"), make_spec())
    assert caught.value.message == f"cannot write '{tmp_path}/other': packets are written to it"
    outputs(Destinations(io.StringIO(), os.devnull, lines=os.devnull), make_spec())


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo])
def test_lines_do_not_go_where_packets_go_under_another_name(
    tmp_path: Path,
    make_spec: SpecMaker,
    make_record: RecordMaker,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], None],
) -> None:
    errors, path = io.StringIO(), tmp_path / "f"
    monkeypatch.setattr(sys, "stderr", errors)
    make(path)
    with path.open("r+b", buffering=0) as other, os.fdopen(os.dup(other.fileno()), "w") as stream:
        dump, line = make_spec(), make_spec(EventKind.LINE, id=1)
        run(outputs(Destinations(stream, f"/dev/fd/{stream.fileno()}"), dump, line), line, make_record(IP, link=101))
        written = other.read(1 << 16)
    assert " drop veth-b IP 1.2.3.4 > 5.6.7.8:" in errors.getvalue()
    assert written.startswith(bytes.fromhex("0a0d0d0a"))
    assert b"1.2.3.4" not in written


@pytest.mark.parametrize("name", ["f.pcapng", "f.pcap"])
def test_packets_do_not_go_to_a_terminal(tmp_path: Path, make_spec: SpecMaker, name: str) -> None:
    """What is in them could steer it."""
    ours, terminal = os.openpty()
    try:
        (tmp_path / name).symlink_to(os.ttyname(terminal))
        with pytest.raises(UsageError, match=f"'.*/{name}' is a terminal: packets go to a file or a pipe"):
            outputs(Destinations(io.StringIO(), str(tmp_path / name)), make_spec(EventKind.DUMP))
        os.write(terminal, b"lines may")
        assert os.read(ours, 100) == b"lines may"
    finally:
        os.close(ours)
        os.close(terminal)


def test_a_terminal_gets_no_more_than_can_be_read(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    for terminal in (True, False):
        spec, stream = make_spec(EventKind.LINE), io.StringIO()
        stream.isatty = lambda shown=terminal: shown  # type: ignore[method-assign, misc]
        found = outputs(Destinations(stream), spec)
        record = memoryview(make_record(IP, link=101))
        for _ in range(1000):
            found.handler(spec)(TIME, record)
        found.close({}, {})
        assert (" more" in stream.getvalue()) is terminal
        assert (len(stream.getvalue().splitlines()) == 1000) is not terminal


def test_a_flame_graph_in_a_file_of_packets_is_refused(tmp_path: Path, make_spec: SpecMaker) -> None:
    path = str(tmp_path / "f")
    with pytest.raises(SinkError, match="packets are written to it"):
        outputs(Destinations(io.StringIO(), path, flame=path), make_spec())


def test_a_flame_graph_is_written_at_the_end(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path, spec = tmp_path / "f.folded", make_spec(EventKind.LINE)
    key = lay_out("key", [("stack", StackType(2))])
    of = dataclasses.replace(COUNT, key=key)
    found = outputs(Destinations(io.StringIO(), flame=str(path)), spec)
    assert found.flame is not None
    found.flame.add(of, {(5).to_bytes(key.size, "little"): 3})
    assert path.read_text() == ""
    run(found, spec, make_record(IP, link=101))
    assert path.read_text() == "0x5 3\n"
    assert found.flame.stacks == 1


def test_how_far_it_is(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path, dump = tmp_path / "f", make_spec(EventKind.DUMP)
    found = outputs(Destinations(io.StringIO(), str(path)), dump)
    empty = found.so_far()
    assert empty is not None
    assert empty[0] == 0
    found.handler(dump)(TIME, memoryview(make_record(IP, link=101)))
    found.settle()
    found.flush()
    assert found.so_far() == (1, path.stat().st_size)
    assert outputs(Destinations(io.StringIO()), make_spec(EventKind.LINE)).so_far() is None


class FullStream(io.StringIO):
    def write(self, _text: str, /) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_stream_that_fails_says_so_once(make_spec: SpecMaker, make_record: RecordMaker) -> None:
    spec = make_spec(EventKind.LINE)
    found = outputs(Destinations(FullStream()), spec)
    found.handler(spec)(TIME, memoryview(make_record(IP, link=101)))
    with pytest.raises(SinkError, match="cannot write standard output: No space left on device"):
        found.settle()
    run(found, spec, make_record(IP, link=101))


def test_standard_error_is_called_so(
    make_spec: SpecMaker, make_record: RecordMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", FullStream())
    spec = make_spec(EventKind.LINE)
    found = outputs(Destinations(sys.stderr), spec)
    found.handler(spec)(TIME, memoryview(make_record(IP, link=101)))
    with pytest.raises(SinkError, match="cannot write standard error: No space left on device"):
        found.settle()


def test_files_are_ended_also_when_lines_fail(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path, dump = tmp_path / "f", make_spec(EventKind.DUMP)
    shown = make_spec(EventKind.PRINTF, lay_out("values", [(f.name, f.type) for f in EVENT.fields]), id=1, format="x")
    found = outputs(Destinations(FullStream(), str(path)), dump, shown)
    found.handler(dump)(TIME, memoryview(make_record(IP, link=101)))
    # in the same batch: what fails in the middle of it keeps nothing from the other outputs
    found.handler(shown)(TIME, memoryview(bytes(EVENT.size)))
    found.handler(dump)(TIME, memoryview(make_record(IP, link=101)))
    with pytest.raises(SinkError):
        found.settle()
    found.close({}, {})
    assert list(found.written()) == [(str(path), 2)]
    assert path.stat().st_size > 100


def test_a_name_is_made_once(tmp_path: Path, make_spec: SpecMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = outputs(Destinations(io.StringIO()), make_spec(id=0), make_spec(id=1))
    (name,) = found.named_by_us
    assert name.startswith("xcap-")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_with_nothing_to_write_to_tcpdump_shows_packets_and_no_file_is_made(
    tmp_path: Path,
    make_spec: SpecMaker,
    make_record: RecordMaker,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = make_spec()
    found = outputs(Destinations(io.StringIO(), tcpdump=("-nt",)), spec)
    run(found, spec, make_record(IP, link=101))
    assert capfd.readouterr().out.startswith("IP 1.2.3.4 > 5.6.7.8:")
    assert list(tmp_path.iterdir()) == []
    assert list(found.written()) == []


def test_packets_of_a_file_are_shown_as_well(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    named, other = make_spec(id=0, path=str(tmp_path / "f.pcap")), make_spec(id=1)
    found = outputs(Destinations(io.StringIO(), tcpdump=("-nt",), last=1), named, other)
    for spec in (named, named, other):
        found.handler(spec)(TIME, memoryview(make_record(IP, id=spec.id, link=101)))
    found.settle()
    found.close({}, {})
    assert capfd.readouterr().out.count("IP 1.2.3.4 > 5.6.7.8:") == 2
    assert list(found.written()) == [(str(tmp_path / "f.pcap"), 1)]


@pytest.mark.parametrize("at_once", [{}, {"at_once": True}])
def test_at_once_is_after_each_batch(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker, at_once: dict[str, bool]
) -> None:
    spec, path = make_spec(), tmp_path / "f.pcapng"
    found = outputs(Destinations(io.StringIO(), str(path), **at_once), spec)
    empty = path.stat().st_size
    found.handler(spec)(TIME, memoryview(make_record(IP, link=101)))
    found.settle()
    assert (path.stat().st_size > empty) == bool(at_once)
    found.flush()
    assert path.stat().st_size > empty


def test_files_of_two_names_do_not_become_one(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    first, second = make_spec(id=0, path=str(tmp_path / "f")), make_spec(id=1, path=str(tmp_path / "f1"))
    found = outputs(Destinations(io.StringIO(), rotation=Rotation(size=150)), first, second)
    for spec in (first, first, second):
        found.handler(spec)(TIME, memoryview(make_record(IP, link=101)))
    with pytest.raises(SinkError, match=r"cannot write '.*/f1': it belongs to '.*/f1'"):
        found.settle()
    found.close({}, {})
    assert list(found.written()) == [(str(tmp_path / "f1"), 1)]


def test_one_file_is_told_by_its_own_name_and_many_by_what_they_have_in_common(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    spec, path = make_spec(), f"{tmp_path}/f"
    found = outputs(Destinations(io.StringIO(), path, rotation=Rotation(size=150, files=10)), spec)
    for packets, told in enumerate((f"{path}0", f"{path} (2 files)"), 1):
        found.handler(spec)(TIME, memoryview(make_record(IP, link=101)))
        assert list(found.written()) == [(told, packets)]
    found.close({}, {})


def test_a_name_that_is_made_here_has_a_time_in_it_where_time_cuts(
    tmp_path: Path, make_spec: SpecMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = outputs(Destinations(io.StringIO(), rotation=Rotation(seconds=60)), make_spec())
    assert found.named_by_us == ["xcap-%Y%m%d-%H%M%S.pcapng"]
    (path,) = tmp_path.iterdir()
    assert "%" not in path.name
    assert not list(found.notes())
