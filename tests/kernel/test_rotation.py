"""Files cut by size and time while packets come: each is whole, and each packet in exactly one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from network import Network, sh
from traffic import python
from xcap import run

pytestmark = pytest.mark.kernel

NOBODY = 65534


def numbered(count: int, pause: float = 0) -> str:
    """Datagrams from a to b that begin with their number."""
    return python(f"""
        s = socket.socket(type=socket.SOCK_DGRAM)
        for number in range({count}):
            s.sendto(number.to_bytes(4, "big") + bytes(196), ("10.78.0.2", 9999))
            time.sleep({pause})
    """)


def numbers(path: Path) -> list[int]:
    """The datagrams' numbers, as tshark reads them from a file."""
    text = sh(f"tshark -r {path} -T fields -e udp.payload 2>/dev/null")
    return [int(line[:8], 16) for line in text.splitlines()]


def times(path: Path) -> list[float]:
    return [float(line) for line in sh(f"tshark -r {path} -T fields -e frame.time_epoch 2>/dev/null").splitlines()]


def by_age(directory: Path) -> list[Path]:
    return sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.parametrize("suffix", ["pcapng", "pcap"])
def test_every_packet_of_many_is_in_one_file(net: Network, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"f.{suffix}"
    program = "tx /udp dst port 9999/ { dump; }"
    done = run("-i", net.left, "-e", program, "-C", "100k", "-w", str(out), "--cmd", net.in_a(numbered(3000)))
    assert done.status == 0, done.err
    files = [out, *(Path(f"{out}{number}") for number in range(1, len(list(tmp_path.iterdir()))))]
    assert len(files) >= 6
    assert f"{3000 - done.lost} packets written to {out} ({len(files)} files)" in done.err
    found = [number for path in files for number in numbers(path)]
    assert found == sorted(set(found))
    assert len(found) == 3000 - done.lost
    largest = 242 + 200  # a packet, and what a block has besides
    assert all(100 << 10 < path.stat().st_size <= (100 << 10) + largest for path in files[:-1])
    assert files[-1].stat().st_size <= (100 << 10) + largest


def test_a_ring_of_files_has_the_last_packets(net: Network, tmp_path: Path) -> None:
    out = tmp_path / "f.pcapng"
    program = "tx /udp dst port 9999/ { dump; }"
    done = run(
        "-i",
        net.left,
        "-e",
        program,
        "-C",
        "50k",
        "-W",
        "11",
        "-w",
        str(out),
        "--cmd",
        net.in_a(numbered(3000, 0.0002)),
    )
    assert (done.status, done.lost) == (0, 0), done.err
    assert {path.name for path in tmp_path.iterdir()} == {f"f.pcapng{number:02}" for number in range(11)}
    found = [number for path in tmp_path.iterdir() for number in numbers(path)]
    assert sorted(found) == list(range(3000 - len(found), 3000))
    assert f"{len(found)} packets written to {out} (11 files)" in done.err


def test_slices_of_time_end_the_run_and_have_the_packets_of_their_time(net: Network, tmp_path: Path) -> None:
    out = tmp_path / "f-%s.pcapng"
    command = net.in_a(numbered(30, 0.1)) + "; sleep 60"
    done = run("-i", net.left, "-e", "tx /udp dst port 9999/", "-G", "1", "-W", "5", "-w", str(out), "--cmd", command)
    assert (done.status, done.lost) == (0, 0), done.err
    files = by_age(tmp_path)
    assert len(files) == 5
    assert [number for path in files for number in numbers(path)] == list(range(30))
    assert not numbers(files[-1])
    # the first slice began when xcap did, whose second is in its name, and each later one a second after the one before
    seconds = [int(path.stem.removeprefix("f-")) for path in files]
    assert seconds == list(range(seconds[0], seconds[0] + 5))
    starts = [times(path)[:1] for path in files]
    for second, path in zip(seconds, files, strict=True):
        assert all(second <= time < second + 2 for time in times(path))
    assert sum(map(len, starts)) >= 3


def test_all_files_of_a_program_are_cut(net: Network, tmp_path: Path) -> None:
    program = f'tx /udp dst port 9999/ {{ dump("{tmp_path}/one.pcapng"); dump; }}'
    done = run(
        "-i", net.left, "-e", program, "-C", "10k", "-w", str(tmp_path / "two.pcapng"), "--cmd", net.in_a(numbered(100))
    )
    assert done.status == 0, done.err
    for name in ("one", "two"):
        files = sorted(tmp_path.glob(f"{name}*"))
        assert len(files) >= 3
        assert sorted(number for path in files for number in numbers(path)) == list(range(100))
        for path in files:
            sh(f"tcpdump -nr {path}")


def test_new_files_belong_to_who_called_sudo(net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    monkeypatch.setenv("SUDO_GID", str(NOBODY))
    out = tmp_path / "f.pcapng"
    program = "tx /udp dst port 9999/ { dump; }"
    done = run("-i", net.left, "-e", program, "-C", "10k", "-w", str(out), "--cmd", net.in_a(numbered(100)))
    assert done.status == 0, done.err
    owners = [path.stat() for path in tmp_path.iterdir()]
    assert len(owners) >= 3
    assert {(owner.st_uid, owner.st_gid) for owner in owners} == {(NOBODY, NOBODY)}


@pytest.mark.parametrize("name", ["-", "pipe"])
def test_what_is_no_regular_file_cannot_be_cut(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    program = f'rx {{ dump("{name}"); }}'
    done = run("-e", program, "-C", "1", "--time", "1s", cwd=tmp_path)
    assert done.status == 2
    assert f"'{name}' cannot be cut into files by -C or -G: it is no regular file" in done.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    sh(f"mount -t tmpfs -o size=128k xcap-test {tmp_path}")
    try:
        yield tmp_path
    finally:
        sh(f"umount {tmp_path}")


@pytest.mark.parametrize("options", [["-C", "50k"], ["-U"], []])
def test_a_full_disk_ends_the_capture_and_all_that_is_there_can_be_read(
    net: Network, small_disk: Path, options: list[str]
) -> None:
    out = small_disk / "f.pcapng"
    command = net.in_a(numbered(2000, 0.001)) + "; sleep 60"
    done = run("-i", net.left, "-e", "tx /udp dst port 9999/", *options, "-w", str(out), "--cmd", command)
    assert done.status == 3, done.err
    complaints = [line for line in done.err.splitlines() if line.startswith("xcap: ")]
    assert len(complaints) == 1
    assert "No space left on device" in complaints[0]
    files = by_age(small_disk)
    assert len(files) == (3 if "-C" in options else 1)
    found = [number for path in files for number in numbers(path)]
    assert found == list(range(len(found)))
    assert len(found) > 100
    assert f"disk full: {len(found)} packets are in {out}" in done.err
    for path in files:
        sh(f"capinfos {path}")


@pytest.mark.parametrize("native", ["0", "1"])
def test_a_full_disk_takes_nothing_from_a_file_elsewhere(
    net: Network,
    small_disk: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    native: str,
) -> None:
    monkeypatch.setenv("XCAP_NATIVE", native)
    out = tmp_path_factory.mktemp("elsewhere") / "f.pcapng"
    program = f'tx /udp dst port 9999/ {{ dump("{small_disk}/f.pcapng"); dump; }}'
    # all at once, so that the disk is full in the middle of a batch
    done = run("-i", net.left, "-e", program, "-w", str(out), "--cmd", net.in_a(numbered(3000)))
    assert done.status == 3, done.err
    match = re.search(r"(\d+) matched", done.err)
    assert match
    assert f"{int(match[1]) - done.lost} packets written to {out}\n" in done.err
    assert numbers(out) == list(range(len(numbers(out))))
    assert len(numbers(out)) == int(match[1]) - done.lost > 100
