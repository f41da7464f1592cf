import errno
import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dpkt
import pytest

from xcapscript.layout import PACKET, lay_out
from xcapscript.sinks import pcapng
from xcapscript.sinks.base import DeletedError, HookCounts, SinkError
from xcapscript.sinks.output import Output
from xcapscript.sinks.pcapng import PcapngSink
from xcapscript.sinks.pending import FLUSH_SIZE
from xcapscript.types import StackType
from xcapscript.unit import Attachment, EventSpec, HookKind

SpecMaker = Callable[..., EventSpec]
RecordMaker = Callable[..., bytes]

TIME = 1_700_000_000_123_456_789
PING = bytes.fromhex("020000000002020000000001080045000054000040004001269b0a4d00010a4d00020800f7ff00030001") + bytes(
    range(56)
)
INTERFACE_STATISTICS = 5
ISB_IFRECV, ISB_IFDROP = 4, 5


def tshark(path: Path, *fields: str) -> list[list[str]]:
    """The fields of each packet, as tshark reads them."""
    command = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=|", *(a for f in fields for a in ("-e", f))]
    settings = {"WIRESHARK_CONFIG_DIR": str(path.parent)}  # not the user's
    result = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **settings})
    return [line.split("|") for line in result.stdout.splitlines()]


def blocks_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Type and body of each block; fails where the file isn't made of whole blocks."""
    data = path.read_bytes()
    while data:
        kind, length = struct.unpack_from("=II", data)
        assert length <= len(data)
        assert struct.unpack_from("=I", data, length - 4) == (length,)
        yield kind, data[8 : length - 4]
        data = data[length:]


def options_of(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while True:
        code, length = struct.unpack_from("=HH", data, at)
        if code == 0:
            return found
        found[code] = data[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4


def write(path: Path, spec: EventSpec, *records: bytes) -> None:
    sink = PcapngSink(str(path), 262144)
    for number, record in enumerate(records):
        sink.dump(spec, TIME + number, memoryview(record))
    sink.close({})


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_tshark_reads_all_that_is_known_of_a_packet(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    path = tmp_path / "d.pcapng"
    write(path, make_spec(), make_record(PING, wire_len=1500), make_record(PING[:61], ifname=b"eth0", reason=77))
    fields = ["time_epoch", "len", "cap_len", "comment", "interface_name"]
    assert tshark(path, *(f"frame.{field}" for field in fields)) == [
        ["1700000000.123456789", "1500", "98", "drop NETFILTER_DROP pid=812 comm=ping netns=4026532281", "veth-b"],
        ["1700000000.123456790", "61", "61", "drop 77 pid=812 comm=ping netns=4026532281", "eth0"],
    ]
    assert (
        tshark(path, "frame.interface_description", "ip.dst")
        == [["drop (rawtracepoint:kfree_skb) in netns 4026532281", "10.77.0.2"]] * 2
    )


def test_packets_without_a_link_header_are_raw_ip(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    path = tmp_path / "d.pcapng"
    write(path, make_spec(), make_record(PING), make_record(PING[14:], link=101))
    assert tshark(path, "frame.interface_id", "frame.protocols", "icmp.ident") == [
        ["0", "eth:ethertype:ip:icmp:data", "3"],
        ["1", "raw:ip:icmp:data", "3"],
    ]


def test_what_is_unknown_is_left_out(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path = tmp_path / "d.pcapng"
    spec = make_spec(hook="rawtracepoint:kfree_skb", has_reason=False)
    write(path, spec, make_record(PING, netns=0, pid=0, comm=b"", ifname=b""))
    assert tshark(path, "frame.comment", "frame.interface_name", "frame.interface_description") == [
        ["rawtracepoint:kfree_skb", "none", "rawtracepoint:kfree_skb"]
    ]


def test_a_task_without_a_name_is_still_told(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path = tmp_path / "d.pcapng"
    write(path, make_spec(), make_record(PING, comm=b""))
    assert tshark(path, "frame.comment") == [["drop NETFILTER_DROP pid=812 comm= netns=4026532281"]]


def test_names_that_could_steer_a_terminal_are_escaped(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    path = tmp_path / "d.pcapng"
    write(path, make_spec(), make_record(PING, comm=b"a\x1b[31m\xff\n", ifname="vé\x1b".encode()))
    assert tshark(path, "frame.comment", "frame.interface_name") == [
        ["drop NETFILTER_DROP pid=812 comm=a\\x1b[31m\\xff\\x0a netns=4026532281", "vé\\x1b"]
    ]


def test_dpkt_reads_the_packets(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path, packets = tmp_path / "d.pcapng", [PING[:size] for size in (98, 97, 96, 95)]
    write(path, make_spec(), *(make_record(packet) for packet in packets))
    with path.open("rb") as file:
        read = list(dpkt.pcapng.Reader(file))
    assert [data for _, data in read] == packets
    assert read[0][0] == pytest.approx(TIME / 1e9)


def test_a_capture_without_packets_is_a_valid_file(tmp_path: Path) -> None:
    path = tmp_path / "d.pcapng"
    PcapngSink(str(path), 128).close({"drop": HookCounts(7, 0)})
    assert tshark(path, "frame.number") == []
    assert b"xcapscript" in next(blocks_of(path))[1]


def test_a_clause_has_its_own_interface_with_its_filter(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    path = tmp_path / "d.pcapng"
    sink = PcapngSink(str(path), 96)
    for number, text in enumerate(("icmp", "icmp", None, "net \udcff")):
        sink.dump(make_spec(id=number, filter=text), TIME, memoryview(make_record(PING)))
    sink.close({})
    assert tshark(path, "frame.interface_id") == [["0"], ["0"], ["1"], ["2"]]
    about = subprocess.run(["capinfos", path], capture_output=True, text=True, check=True).stdout
    assert "Filter string = icmp" in about
    assert "Capture length = 96" in about
    assert "Time resolution = 0x09" in about


def test_records_are_copied_when_the_batch_ends(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path, ring = tmp_path / "d.pcapng", bytearray(make_record(PING))
    sink = PcapngSink(str(path), 128)
    view = memoryview(ring)
    sink.dump(make_spec(), TIME, view)
    sink.settle()
    view.release()
    ring.clear()  # raises BufferError while anything points into it
    sink.close({})
    assert tshark(path, "icmp.seq") == [["1"]]


def test_a_layout_that_goes_on_behind_the_packet_fields(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    path = tmp_path / "d.pcapng"
    layout = lay_out("longer", [*((f.name, f.type) for f in PACKET.fields), ("stack", StackType(3))])
    record = make_record(PING)
    write(path, make_spec(layout=layout), record[: PACKET.size] + bytes(layout.size - PACKET.size) + PING)
    assert tshark(path, "ip.src") == [["10.77.0.1"]]


def test_more_kinds_of_packets_than_are_remembered(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pcapng, "KNOWN", 3)
    path = tmp_path / "d.pcapng"
    records = [make_record(PING, pid=number % 5 + 1, wire_len=100 + number % 7) for number in range(40)]
    write(path, make_spec(), *records)
    assert tshark(path, "frame.len", "frame.comment", "frame.interface_id") == [
        [str(100 + number % 7), f"drop NETFILTER_DROP pid={number % 5 + 1} comm=ping netns=4026532281", "0"]
        for number in range(40)
    ]


@pytest.mark.parametrize(
    ("devices", "lost", "expected"),
    [
        ([b"a"], 2, [(9, 2)]),
        ([b"a"], 0, [(9, 0)]),
        ([b"a", b"b"], 0, [(None, 0), (None, 0)]),
        ([b"a", b"b"], 2, [(None, 2), (None, None)]),
    ],
)
def test_losses_add_up_over_the_interfaces_of_a_hook(
    tmp_path: Path,
    make_spec: SpecMaker,
    make_record: RecordMaker,
    devices: list[bytes],
    lost: int,
    expected: list[tuple[int | None, int | None]],
) -> None:
    path = tmp_path / "d.pcapng"
    sink = PcapngSink(str(path), 128, clock=lambda: TIME)
    for device in devices:
        sink.dump(make_spec(), TIME, memoryview(make_record(PING, ifname=device)))
    sink.dump(make_spec(id=4, hook="rx"), TIME, memoryview(make_record(PING)))
    sink.close({"drop": HookCounts(9, lost)})
    found = [options_of(body[12:]) for kind, body in blocks_of(path) if kind == INTERFACE_STATISTICS]
    counts = [
        tuple(
            None if code not in options else struct.unpack("=Q", options[code])[0] for code in (ISB_IFRECV, ISB_IFDROP)
        )
        for options in found
    ]
    assert counts == [*expected, (None, None)]


def test_large_batches_are_written_at_once_and_small_ones_when_flushed(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    path = tmp_path / "d.pcapng"
    sink = PcapngSink(str(path), 128)
    empty, record = path.stat().st_size, memoryview(make_record(PING))
    sink.dump(make_spec(), TIME, record)
    sink.settle()
    assert path.stat().st_size == empty
    sink.flush()
    assert len(tshark(path, "frame.number")) == 1
    for _ in range(FLUSH_SIZE // len(PING)):
        sink.dump(make_spec(), TIME, record)
    sink.settle()
    assert len(tshark(path, "frame.number")) == 1 + FLUSH_SIZE // len(PING)


def test_the_system_may_write_less_than_asked(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:7]))
    write(tmp_path / "d.pcapng", make_spec(), *[make_record(PING)] * 3)
    assert len(tshark(tmp_path / "d.pcapng", "frame.number")) == 3


def test_a_full_device_is_told_when_the_file_is_opened() -> None:
    with pytest.raises(SinkError, match=r"^cannot write '/dev/full': No space left on device$"):
        PcapngSink("/dev/full", 128)


def test_what_was_written_before_the_limit_is_readable(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    path = tmp_path / "d.pcapng"
    with largest_file(10_000):
        sink = PcapngSink(str(path), 128)
        for _ in range(200):
            sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
        sink.settle()
        with pytest.raises(SinkError, match="File too large") as caught:
            sink.flush()
        assert caught.value.errno == errno.EFBIG
        sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
        sink.settle()
        sink.flush()
        sink.close({})
    assert 10_000 - 300 < path.stat().st_size <= 10_000
    packets = sum(kind == 6 for kind, _ in blocks_of(path))
    assert (sink.packets, sink.saved) == (None, packets)
    assert len(tshark(path, "frame.number")) == packets > 30


@pytest.mark.parametrize("kept", [b"", b"the user's own"])
def test_a_file_that_cannot_even_begin_is_not_left_behind(tmp_path: Path, kept: bytes) -> None:
    path = tmp_path / "d.pcapng"
    if kept:
        path.write_bytes(kept)
    with largest_file(20), pytest.raises(SinkError, match="File too large"):
        PcapngSink(str(path), 128)
    # what was there is somebody else's: its name, owner and mode stay
    assert path.exists() == bool(kept)
    assert not kept or path.stat().st_size == 0


def test_a_file_that_is_deleted_is_told(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path, other = tmp_path / "d.pcapng", tmp_path / "other"
    for lose in (path.unlink, lambda: other.replace(path)):
        other.write_text("x")
        sink = PcapngSink(str(path), 128)
        for _ in range(3):
            sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
        sink.settle()
        lose()
        with pytest.raises(DeletedError, match=r"d.pcapng' was deleted while it was written: its 3 packets are lost$"):
            sink.close({})
        assert sink.packets is None


def test_a_file_that_is_moved_is_followed(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path, other, link = tmp_path / "d.pcapng", tmp_path / "other", tmp_path / "link"
    path.touch()
    link.symlink_to(path)
    sink = PcapngSink(str(link), 128)
    sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
    path.rename(other)
    sink.close({})
    assert (sink.packets, sink.moved_to) == (1, str(other))
    sink = PcapngSink(str(path), 128)
    sink.close({})
    assert sink.moved_to is None


def test_a_failure_at_the_end_is_told_once(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path = tmp_path / "d.pcapng"
    with largest_file(1_000):
        sink = PcapngSink(str(path), 128)
        for _ in range(20):
            sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
        with pytest.raises(SinkError, match="File too large"):
            sink.close({})
    assert list(blocks_of(path))


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True)
    try:
        path = tmp_path / "d.pcapng"
        sink = PcapngSink(str(path), 128)
        for _ in range(2000):
            sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
        with pytest.raises(SinkError, match="No space left on device"):
            sink.settle()
        sink.close({})
        assert len(tshark(path, "frame.number")) == sum(kind == 6 for kind, _ in blocks_of(path)) > 200
        assert sink.saved == sum(kind == 6 for kind, _ in blocks_of(path))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_reader_that_goes_away(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sink = PcapngSink(str(fifo), 128)
    assert os.read(reader, 4) == bytes.fromhex("0a0d0d0a")
    os.close(reader)
    sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
    sink.settle()
    with pytest.raises(SinkError, match="Broken pipe") as caught:
        sink.flush()
    assert caught.value.errno == errno.EPIPE
    sink.close({})


def test_a_reader_that_was_never_there_is_told_as_one_that_goes_away() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sink = PcapngSink(Output("the pipe", descriptor=writing), 128)
    with pytest.raises(SinkError, match="Broken pipe") as caught:
        sink.flush()
    assert caught.value.errno == errno.EPIPE
    sink.flush()
    assert sink.packets is None
    sink.close({})


def test_standard_output(tmp_path: Path) -> None:
    code = "from xcapscript.sinks.pcapng import PcapngSink; PcapngSink('-', 128).close({})"
    result = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    (tmp_path / "d.pcapng").write_bytes(result.stdout)
    assert [kind for kind, _ in blocks_of(tmp_path / "d.pcapng")] == [0x0A0D0D0A, 1]


def test_a_file_without_packets_is_read_by_tcpdump(tmp_path: Path) -> None:
    path = tmp_path / "d.pcapng"
    PcapngSink(str(path), 128).close({})
    done = subprocess.run(["tcpdump", "-nr", path], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_a_killed_writer_leaves_what_was_flushed(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    path = tmp_path / "d.pcapng"
    child = os.fork()
    if child == 0:
        sink = PcapngSink(str(path), 128)
        for _ in range(3):
            sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
        sink.settle()
        sink.flush()
        sink.dump(make_spec(), TIME, memoryview(make_record(PING)))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(tshark(path, "frame.number")) == 3


def test_a_hook_without_target_is_described_by_its_name(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    path = tmp_path / "d.pcapng"
    write(path, make_spec(hook="begin", attachment=Attachment(HookKind.BEGIN)), make_record(PING, netns=0))
    assert tshark(path, "frame.interface_description") == [["begin"]]
