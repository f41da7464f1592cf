import struct
import subprocess
from pathlib import Path

import dpkt
import pytest

from tests.unit.sinks.pcapngfiles import (
    INTERFACE_STATISTICS,
    ISB_IFDROP,
    ISB_IFRECV,
    PING,
    TIME,
    RecordMaker,
    SpecMaker,
    blocks_of,
    options_of,
    tshark,
    write,
)
from xcapscript.layout import PACKET, lay_out
from xcapscript.sinks import pcapng
from xcapscript.sinks.base import HookCounts
from xcapscript.sinks.pcapng import PcapngSink
from xcapscript.types import StackType
from xcapscript.unit import Attachment, HookKind


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


def test_a_hook_without_target_is_described_by_its_name(
    tmp_path: Path, make_spec: SpecMaker, make_record: RecordMaker
) -> None:
    path = tmp_path / "d.pcapng"
    write(path, make_spec(hook="begin", attachment=Attachment(HookKind.BEGIN)), make_record(PING, netns=0))
    assert tshark(path, "frame.interface_description") == [["begin"]]
