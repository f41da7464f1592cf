"""Maps and counters, read from the kernel: what the CPUs have is put together."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from xcapscript.kernel import bpf
from xcapscript.layout import Value
from xcapscript.unit import Aggregation, Counter, MapSpec

VALUE_SIZE = 8


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted for one program."""

    hits: int
    no_packet: int
    no_link: int
    no_match: int
    no_condition: int
    unread: int
    bad_reads: int
    matched: int
    lost: int
    missed: int = 0
    """Hits that the program was not run for, which are none of `hits`; known when all has been detached."""


def read_map(descriptor: int, spec: MapSpec) -> dict[bytes, Value]:
    """The value of each key of a map: of avg() and stats() the count and the total."""
    if not spec.per_cpu:
        found = bpf.items(descriptor, spec.key.size, spec.value.size)
        return {key: spec.value.decode(value)[0] for key, value in found}
    found = bpf.items(descriptor, spec.key.size, bpf.per_cpu_size(spec.value.size))
    return {key: _together(spec, value) for key, value in found}


def _together(spec: MapSpec, values: bytes) -> Value:
    """One value of those of all CPUs."""
    extreme = spec.aggregation in (Aggregation.MIN, Aggregation.MAX)
    number = "q" if spec.signed and not extreme else "Q"
    each = list(struct.iter_unpack(f"={'Q' * (len(spec.value.fields) - 1)}{number}", values))
    if extreme:
        return spec.unfold(max(kept for (kept,) in each))
    sums = tuple(map(sum, zip(*each, strict=True)))
    return sums[0] if len(sums) == 1 else sums


def clear_map(descriptor: int, spec: MapSpec) -> None:
    """Remove every key."""
    for key in list(bpf.keys(descriptor, spec.key.size)):
        bpf.delete(descriptor, key)


def zero_map(descriptor: int, spec: MapSpec) -> None:
    """Set what every key has to zeros, on all CPUs."""
    size = bpf.per_cpu_size(spec.value.size) if spec.per_cpu else spec.value.size
    for key in list(bpf.keys(descriptor, spec.key.size)):
        bpf.update(descriptor, key, bytes(size))


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
