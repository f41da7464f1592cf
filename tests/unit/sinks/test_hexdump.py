import re
import struct
import subprocess
from pathlib import Path

import pytest

from xcapscript.sinks.hexdump import hex_lines
from xcapscript.unit import LinkType


def test_lines_are_those_of_tcpdump(tmp_path: Path) -> None:
    packets = [bytes(range(size)) for size in (*range(14, 50), 255, 256)]
    path = tmp_path / "packets.pcap"
    with path.open("wb") as file:
        file.write(struct.pack("=IHHiIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, LinkType.EN10MB, 0)[:24])
        for packet in packets:
            file.write(struct.pack("=IIII", 0, 0, len(packet), len(packet)) + packet)
    found = subprocess.run(["tcpdump", "-ntXX", "-r", path], capture_output=True, text=True, check=True).stdout
    expected = [
        re.findall(r"^\t0x.*$", part, re.MULTILINE) for part in re.split(r"^(?!\t0x).*\n", found, flags=re.MULTILINE)
    ]
    assert [list(hex_lines(packet, 80)) for packet in packets] == [lines for lines in expected if lines]


def test_nothing_is_no_line() -> None:
    assert list(hex_lines(b"", 80)) == []


@pytest.mark.parametrize(("width", "size"), [(200, 16), (74, 16), (73, 8), (46, 8), (45, 4), (10, 4)])
def test_a_narrow_terminal_gets_shorter_lines(width: int, size: int) -> None:
    data = bytes(range(0x40, 0x60))
    lines = list(hex_lines(data, width))
    assert len(lines) == len(data) // size
    assert bytes.fromhex("".join(line[10:].split("  ")[0] for line in lines)) == data
    assert lines[1].endswith(f"  {data[size : 2 * size].decode()}")
    assert max(len(line.expandtabs()) for line in lines) <= max(width, 32)
