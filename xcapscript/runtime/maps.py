"""Maps and counters, read from the kernel: per-CPU values are summed."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from xcapscript.kernel import bpf
from xcapscript.unit import Counter, MapSpec

VALUE_SIZE = 8


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted for one program."""

    hits: int
    no_packet: int
    no_link: int
    no_match: int
    unread: int
    matched: int
    lost: int


def read_map(descriptor: int, spec: MapSpec) -> dict[bytes, int]:
    """The value of each key of a map, summed over the CPUs."""
    form = f"={bpf.possible_cpus()}{'q' if spec.signed else 'Q'}"
    found = bpf.items(descriptor, spec.key.size, bpf.per_cpu_size(VALUE_SIZE))
    return {key: sum(struct.unpack(form, value)) for key, value in found}


def clear_map(descriptor: int, spec: MapSpec) -> None:
    """Remove every key."""
    for key in list(bpf.keys(descriptor, spec.key.size)):
        bpf.delete(descriptor, key)


def read_counts(descriptor: int, program: int) -> Counts:
    """The counters of the program of that number."""
    size = bpf.per_cpu_size(len(Counter) * VALUE_SIZE)
    value = bpf.lookup(descriptor, struct.pack("=I", program), size) or b""
    columns = zip(*struct.iter_unpack(f"={len(Counter)}Q", value), strict=True)
    return Counts(*(sum(column) for column in columns))


def read_full(descriptor: int, index: int) -> int:
    """How many updates of the map of that number found it full."""
    value = bpf.lookup(descriptor, struct.pack("=I", index), bpf.per_cpu_size(VALUE_SIZE)) or b""
    return sum(struct.unpack(f"={len(value) // VALUE_SIZE}Q", value))
