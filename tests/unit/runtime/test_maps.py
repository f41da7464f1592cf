"""Maps, on a stand-in for the kernel's."""

import struct
from collections.abc import Iterator

import pytest

from xcapscript.kernel import bpf
from xcapscript.layout import lay_out
from xcapscript.runtime.maps import zero_map
from xcapscript.source import Source
from xcapscript.types import S64, U32, U64
from xcapscript.unit import Aggregation, MapSpec

CPUS = 3


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, bytes]:
    content: dict[bytes, bytes] = {}

    def keys(_fd: int, _size: int) -> Iterator[bytes]:
        yield from content

    monkeypatch.setattr(bpf, "possible_cpus", lambda: CPUS)
    monkeypatch.setattr(bpf, "keys", keys)
    monkeypatch.setattr(bpf, "update", lambda _fd, key, value: content.update({key: value}))
    return content


@pytest.mark.parametrize(
    ("aggregation", "members", "size"),
    [
        (Aggregation.COUNT, [("value", U64)], 8 * CPUS),
        (Aggregation.STATS, [("count", U64), ("total", S64)], 16 * CPUS),
        (Aggregation.VALUE, [("value", U32)], 8),
    ],
)
def test_zeroing_keeps_the_keys(
    kernel: dict[bytes, bytes], aggregation: Aggregation, members: list[tuple[str, object]], size: int
) -> None:
    key, span = lay_out("key", [("k", U32)]), Source("x", "x").span(0, 1)
    value = lay_out("value", members)  # type: ignore[arg-type]
    spec = MapSpec("@m", "map_0", key, value, aggregation, signed=True, max_entries=9, span=span)
    kernel.update({struct.pack("=Q", number): b"\1" * size for number in range(2)})
    zero_map(7, spec)
    assert kernel == {struct.pack("=Q", number): bytes(size) for number in range(2)}
