"""Files cut by size and by time under load: every packet is in exactly one of them.

The sender numbers its packets, and editcap turns the files into ones that are read here in a few lines.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.place import HEADERS, Broken, Place

PACE = 200_000
"""Packets a second while files are cut by time."""

EVERY = 1
"""Seconds of a file."""

NS = 1_000_000_000
_FILE_HEADER = 24
_RECORD = struct.Struct("=IIII")
_NUMBER = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Piece:
    """A file: the numbers of its packets, and the ns between its first and its last."""

    numbers: list[int]
    span: int


def rotation(place: Place, packets: int, megabytes: int, seconds: int) -> str:
    """Both ways to cut."""
    by_size = _cut(place, ("-C", str(megabytes)), ("-n",), packets, "size.pcapng")
    by_time = _cut(place, ("-G", str(EVERY)), ("-n", "-r", str(PACE)), PACE * seconds, "time-%H-%M-%S.pcapng")
    if len(by_size) < 2 or len(by_time) < 2:
        raise Broken(f"{len(by_size)} and {len(by_time)} files: nothing was cut")
    longest = max(piece.span for piece in by_time)
    if longest > EVERY * NS:
        raise Broken(f"a file of {EVERY} s has packets of {longest / NS:.3f} s")
    return (
        f"{packets:,} packets in {len(by_size)} files of {megabytes} MB, {PACE * seconds:,} in {len(by_time)} files of "
        f"{EVERY} s: each in exactly one"
    )


def _cut(place: Place, how: tuple[str, ...], pace: tuple[str, ...], packets: int, name: str) -> list[Piece]:
    """The files that a flood was written to. Broken if a packet is missing, there twice, or not in its place."""
    directory = place.directory / "rotation"
    directory.mkdir()
    with place.capture(directory / name, *how) as run:
        run.wait_until_attached()
        sent, _ = place.send(packets, *pace)
        run.end()
        lost = run.lost
    pieces = sorted((_read(path) for path in directory.iterdir()), key=lambda piece: piece.numbers[:1])
    found = [number for piece in pieces for number in piece.numbers]
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    if len(set(found)) != len(found):
        raise Broken(f"{' '.join(how)}: {len(found) - len(set(found)):,} packets are there twice")
    if len(found) + lost != sent:
        raise Broken(f"{' '.join(how)}: {sent:,} sent, but {len(found):,} in files + {lost:,} lost")
    if found != sorted(found):
        raise Broken(f"{' '.join(how)}: packets are not in the order in which they were sent")
    return pieces


def _read(path: Path) -> Piece:
    plain = path.with_suffix(".plain")
    subprocess.run(["editcap", "-F", "nsecpcap", str(path), str(plain)], check=True, capture_output=True)
    data = plain.read_bytes()
    plain.unlink()
    packets = list(_packets(data))
    times = [time for time, _ in packets]
    return Piece([number for _, number in packets], max(times, default=0) - min(times, default=0))


def _packets(data: bytes) -> Iterator[tuple[int, int]]:
    """The time of each packet of a pcap file, in ns, and its number."""
    at = _FILE_HEADER
    while at < len(data):
        seconds, ns, captured, _ = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        yield seconds * NS + ns, _NUMBER.unpack_from(data, at + HEADERS)[0]
        at += captured
