"""pcap files as tcpdump and dpkt read them."""

from __future__ import annotations

import resource
import signal
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import dpkt
import pytest

from xcapscript.sinks.base import SinkError
from xcapscript.sinks.pcap import PcapSink, whole_records
from xcapscript.unit import EventSpec

SpecMaker = Callable[..., EventSpec]
RecordMaker = Callable[..., bytes]

TIME = 1_700_000_000_123_456_789
PING = bytes.fromhex("020000000002020000000001080045000054000040004001269b0a4d00010a4d00020800f7ff00030001") + bytes(
    range(56)
)
IP6 = bytes.fromhex("6000000000003b40") + bytes(15) + b"\1" + bytes(15) + b"\1"


def test_times_lengths_and_bytes_are_kept(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path = tmp_path / "d.pcap"
    sink = PcapSink(str(path), 128)
    sink.dump(make_spec(), TIME, memoryview(make_record(PING, wire_len=1500)))
    sink.dump(make_spec(), TIME + 1, memoryview(make_record(PING[:61])))
    sink.settle()
    sink.close({})
    assert sink.packets == 2
    data = path.read_bytes()
    assert struct.unpack_from("=IHHiIII", data) == (0xA1B23C4D, 2, 4, 0, 0, 128, 1)
    assert struct.unpack_from("=IIII", data, 24) == (1_700_000_000, 123_456_789, 98, 1500)
    with path.open("rb") as file:
        assert [packet for _, packet in dpkt.pcap.Reader(file)] == [PING, PING[:61]]


@pytest.mark.parametrize(("packet", "word"), [(PING[14:], "IP 10.77.0.1 > 10.77.0.2: ICMP"), (IP6, "IP6 ::1 > ::1")])
def test_a_packet_without_a_link_header_gets_one_of_zeros(
    packet: bytes, word: str, tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    path = tmp_path / "d.pcap"
    sink = PcapSink(str(path), 0)
    sink.dump(make_spec(), TIME, memoryview(make_record(packet, link=101)))
    sink.close({})
    done = subprocess.run(["tcpdump", "-enr", path], capture_output=True, text=True, check=True)
    assert "00:00:00:00:00:00 > 00:00:00:00:00:00" in done.stdout
    short = subprocess.run(["tcpdump", "-nr", path], capture_output=True, text=True, check=True)
    assert word in short.stdout


def test_a_full_disk_leaves_whole_records(tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker) -> None:
    path = tmp_path / "d.pcap"
    sink = PcapSink(str(path), 0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (24 + 2 * (16 + len(PING)) + 50, limits[1]))
    try:
        for number in range(4):
            sink.dump(make_spec(), TIME + number, memoryview(make_record(PING)))
        sink.settle()
        with pytest.raises(SinkError):
            sink.flush()
        sink.close({})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert (sink.packets, sink.saved) == (None, 2)
    assert path.stat().st_size == 24 + 2 * (16 + len(PING))


def test_whole_records_are_told_from_torn_ones() -> None:
    record = struct.pack("=IIII", 1, 2, 5, 9) + b"abcde"
    for limit in range(3 * len(record) + 1):
        assert whole_records(record * 3, limit) == limit // len(record) * len(record)
