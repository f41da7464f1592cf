"""Programs that packets go through, made by the tests; and what is in the files that come out."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.packets import eth, ipv4, udp

SOURCES = Path(__file__).parents[1] / "data" / "programs"


def udp_packets(count: int, largest: int = 16342) -> list[bytes]:
    """Packets of all sizes that programs handle, each of its own bytes; `largest` is that of a payload."""
    rng = random.Random(count)
    sizes = [size for size in (0, 18, 22, 100, 214, 215, 500, 1472, 8958, 16342) if size <= largest]
    return [
        eth(0x0800, ipv4(17, udp(1000 + number, 2000 + number, rng.randbytes(sizes[number % len(sizes)]))))
        for number in range(count)
    ]


def written(path: Path, packets: Sequence[bytes]) -> Path:
    """The file that the program reads."""
    path.write_bytes(b"".join(struct.pack("=I", len(packet)) + packet for packet in packets))
    return path


def dumped(path: Path) -> list[bytes]:
    """The bytes of each packet in a file, as Wireshark's own tools read it."""
    plain = path.with_suffix(".plain")
    subprocess.run(["editcap", "-F", "pcap", path, plain], check=True)
    data, found, at = plain.read_bytes(), [], 24
    while at < len(data):
        length = struct.unpack_from("=8xI", data, at)[0]
        found.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return found


def shown(path: Path, *fields: str) -> list[list[str]]:
    """Fields of each packet, as tshark sees them."""
    asked = [word for field in fields for word in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-r", path, "-T", "fields", *asked], check=True, capture_output=True, text=True, cwd="/"
    )
    return [line.split("\t") for line in done.stdout.splitlines()]
