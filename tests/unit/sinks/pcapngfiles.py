"""What the tests of the pcapng writer have in common: a packet, and files looked at from outside."""

import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from xcapscript.sinks.pcapng import PcapngSink
from xcapscript.unit import EventSpec

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
