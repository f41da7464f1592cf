"""The running kernel's facts against what the kernel itself does and says elsewhere."""

from __future__ import annotations

import gc
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xcapscript.kernel import bpf
from xcapscript.kernel.headers import header_tree
from xcapscript.kernel.libbpf import check, load
from xcapscript.kernel.live import LiveKernel
from xcapscript.kernel.symbols import Symbols
from xcapscript.kernel.tracefs import Tracefs
from xcapscript.types import EnumType

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

HASH, PERCPU_HASH, ARRAY = 1, 5, 2
MOUNTED = any(os.access(f"{place}/events", os.R_OK) for place in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"))


@contextmanager
def bpf_map(kind: int, value_size: int = 8, max_entries: int = 4096) -> Iterator[int]:
    fd = check(load().bpf_map_create(kind, b"test", 4, value_size, max_entries, None))
    try:
        yield fd
    finally:
        os.close(fd)


def u32(number: int) -> bytes:
    return struct.pack("=I", number)


def u64(number: int) -> bytes:
    return struct.pack("=Q", number)


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    return header_tree(tmp_path_factory.mktemp("cache"))


def run(tree: Path | None, code: str, *arguments: str) -> str:
    """The output of a Python program: BCC may take its process along."""
    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, **({"BCC_KERNEL_SOURCE": str(tree)} if tree else {})}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- tracefs


@pytest.mark.skipif(MOUNTED, reason="tracefs is mounted here already")
def test_tracefs_is_read_without_a_trace_in_the_mount_table() -> None:
    mounts = Path("/proc/self/mountinfo")
    gc.collect()  # what earlier tests left to be closed
    before, open_before = mounts.read_text(), descriptors()
    tracefs = Tracefs()
    assert "skb:kfree_skb" in tracefs.names
    assert mounts.read_text() == before
    del tracefs
    gc.collect()
    assert descriptors() == open_before
    assert mounts.read_text() == before


def test_every_tracepoint_can_be_read() -> None:
    kernel = LiveKernel()
    names = kernel.tracepoints()
    assert len(names) > 500
    ids = set()
    for name in names:
        found = kernel.tracepoint(*name.split(":", 1))
        assert found is not None
        assert len({field.name for field in found.fields}) == len(found.fields)
        ids.add(found.id)
    assert len(ids) == len(names)


def test_what_the_kernel_calls_a_tracepoint_it_also_calls_a_raw_one() -> None:
    """The two lists come from different places. These categories have an event for each tracepoint."""
    kernel = LiveKernel()
    events = {name.partition(":")[2] for name in kernel.tracepoints() if name.startswith(("skb:", "net:", "napi:"))}
    assert events
    assert events <= set(kernel.raw_tracepoints())


def test_the_enum_of_a_record_is_that_of_the_raw_tracepoint() -> None:
    kernel = LiveKernel()
    record, raw = kernel.tracepoint("skb", "kfree_skb"), kernel.raw_tracepoint("kfree_skb")
    assert record is not None
    assert raw is not None
    of_record = [field.type for field in record.fields if isinstance(field.type, EnumType)]
    of_raw = [argument.type for argument in raw.arguments if isinstance(argument.type, EnumType)]
    assert of_record == of_raw == [kernel.enum("skb_drop_reason")]


# ---- symbols


def test_functions_have_the_names_that_kallsyms_gives_them() -> None:
    names: dict[int, list[str]] = {}
    for line in Path("/proc/kallsyms").read_text().splitlines():
        digits, kind, name, *module = line.split()
        if kind in "tTwW":
            names.setdefault(int(digits, 16), []).append(" ".join((f"{name}+0x0", *module)))
    symbols = Symbols()
    for address in random.Random(1).sample(sorted(names), 2000):
        assert symbols.resolve(address) == names[address][0]


# ---- BTF and the header tree

PROGRAM = r"""
#include <net/sock.h>
BPF_HASH(seen, u32, u64);
RAW_TRACEPOINT_PROBE(kfree_skb)
{
    struct sk_buff *skb = (struct sk_buff *)ctx->args[0];
    enum skb_drop_reason reason = (enum skb_drop_reason)ctx->args[2];
    struct sock *sk = skb->sk;
    char comm[TASK_COMM_LEN];
    struct iphdr ip;
    u32 length = skb->len;
    u64 sum = offsetof(struct sk_buff, len);
    bool known = true;

    if (ntohs(skb->protocol) != ETH_P_IP && skb->protocol != htons(ETH_P_IPV6))
        return 0;
    switch (skb->protocol) {
    case htons(ETH_P_ARP):
        return 0;
    }
    if (sk && sk->sk_family == AF_INET && sk->sk_state == TCP_ESTABLISHED)
        sum += ntohl(sk->sk_daddr) + ntohs(sk->sk_dport);
    bpf_get_current_comm(&comm, sizeof(comm));
    bpf_probe_read_kernel(&ip, sizeof(ip), skb->head + skb->network_header);
    if (ip.protocol == IPPROTO_TCP && reason == SKB_DROP_REASON_NO_SOCKET && known)
        sum += comm[0];
    seen.update(&length, &sum);
    return 0;
}
"""

COMPILE = """
import sys
from bcc import BPF
bpf = BPF(text=sys.argv[1])
print("loaded")
"""


def test_a_program_that_reads_the_kernels_structs_compiles_and_loads(tree: Path) -> None:
    assert run(tree, COMPILE, PROGRAM).endswith("loaded\n")


def test_c_lays_out_structs_as_btf_says(tree: Path) -> None:
    """Clang has only the text: sizes and offsets are its own."""
    btf, checks = LiveKernel().btf, []
    for name in ("sk_buff", "sock", "net_device", "net", "tcp_sock", "task_struct", "skb_shared_info"):
        found = btf.struct(name)
        assert found is not None
        checks.append(f"_Static_assert(sizeof(struct {name}) == {found.size}, {name!r});".replace("'", '"'))
        checks += [
            f'_Static_assert(offsetof(struct {name}, {m.name}) == {m.bit_offset // 8}, "{name}.{m.name}");'
            for m in found.members
            if not m.bit_size and m.bit_offset % 8 == 0
        ]
    assert len(checks) > 500
    text = "\n".join(checks) + "\nint program(void *ctx) { return 0; }\n"
    assert run(tree, COMPILE, text).endswith("loaded\n")


ATTACH = """
import os, sys
from bcc import BPF
from xcapscript.kernel import bpf, perfevents
from xcapscript.kernel.live import LiveKernel
text = '''
BPF_ARRAY(hits, u64, 2);
int raw(struct bpf_raw_tracepoint_args *ctx) { hits.atomic_increment(0); return ctx->args[0] + 1; }
int record(void *ctx) { hits.atomic_increment(1); return 0; }
'''
program = BPF(text=text)
raw = program.load_func("raw", BPF.RAW_TRACEPOINT).fd
record = program.load_func("record", BPF.TRACEPOINT).fd
hits = program["hits"].map_fd
def count():
    return [int.from_bytes(value, sys.byteorder) for _, value in sorted(bpf.items(hits, 4, 8))]
print(bpf.test_run(raw, (41).to_bytes(8, sys.byteorder) * 12), count())
fds = [
    bpf.open_raw_tracepoint("sys_enter", raw),
    perfevents.open_tracepoint(LiveKernel().tracepoint("raw_syscalls", "sys_enter").id, record),
]
for _ in range(100): os.getppid()
for fd in fds: os.close(fd)
after = count()
for _ in range(100): os.getppid()
print(min(after) >= 100, after == count())
try: bpf.open_raw_tracepoint("no_such_tracepoint", raw)
except FileNotFoundError: print("none")
"""


def test_programs_run_while_they_are_attached(tree: Path) -> None:
    assert run(tree, ATTACH).splitlines() == ["42 [1, 0]", "True True", "none"]


# ---- maps


def test_single_elements() -> None:
    with bpf_map(HASH) as fd:
        assert bpf.lookup(fd, u32(1), 8) is None
        bpf.update(fd, u32(1), u64(5))
        bpf.update(fd, u32(1), u64(6))
        assert bpf.lookup(fd, u32(1), 8) == u64(6)
        assert bpf.take(fd, u32(1), 8) == u64(6)
        assert bpf.take(fd, u32(1), 8) is None
        assert not bpf.delete(fd, u32(1))
        bpf.update(fd, u32(2), u64(7))
        assert bpf.delete(fd, u32(2))
        assert bpf.map_shape(fd) == bpf.MapShape(HASH, 4, 8, 4096)


def test_an_element_is_taken_without_the_system_call_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with bpf_map(HASH) as fd:
        bpf.update(fd, u32(1), u64(5))
        monkeypatch.setattr(bpf, "hasattr", lambda *_: False, raising=False)
        assert bpf.take(fd, u32(1), 8) == u64(5)
        assert bpf.lookup(fd, u32(1), 8) is None


@pytest.mark.parametrize("count", [0, 1, 1000, 4096])
def test_all_elements_are_found_in_batches_and_one_by_one(count: int) -> None:
    expected = {u32(n): u64(n * n) for n in range(count)}
    with bpf_map(HASH) as fd:
        for key, value in expected.items():
            bpf.update(fd, key, value)
        assert dict(bpf.items(fd, 4, 8)) == expected
        assert dict(bpf._one_by_one(fd, 4, 8)) == expected
        assert sorted(bpf.keys(fd, 4)) == sorted(expected)


def test_a_map_without_batches_is_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf, "_batch", lambda *_: ([], 524))
    with bpf_map(HASH) as fd:
        bpf.update(fd, u32(1), u64(5))
        assert list(bpf.items(fd, 4, 8)) == [(u32(1), u64(5))]


def test_a_bucket_that_is_too_big_gets_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf, "_BATCH", 1)
    expected = {u32(n): u64(n) for n in range(200)}
    with bpf_map(HASH, max_entries=256) as fd:
        for key, value in expected.items():
            bpf.update(fd, key, value)
        assert dict(bpf.items(fd, 4, 8)) == expected


def test_what_is_no_map_is_an_error() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        list(bpf.items(-1, 4, 8))


def test_values_of_all_cpus() -> None:
    cpus = bpf.possible_cpus()
    assert bpf.per_cpu_size(4) == bpf.per_cpu_size(8) == 8 * cpus
    value = b"".join(u64(n + 1) for n in range(cpus))
    with bpf_map(PERCPU_HASH) as fd:
        bpf.update(fd, u32(1), value)
        assert bpf.lookup(fd, u32(1), bpf.per_cpu_size(8)) == value
        assert list(bpf.items(fd, 4, bpf.per_cpu_size(8))) == [(u32(1), value)]
        assert bpf.take(fd, u32(1), bpf.per_cpu_size(8)) == value


def test_an_array_is_read_too() -> None:
    with bpf_map(ARRAY, max_entries=3) as fd:
        bpf.update(fd, u32(1), u64(5))
        assert sorted(bpf.items(fd, 4, 8)) == [(u32(0), u64(0)), (u32(1), u64(5)), (u32(2), u64(0))]


def test_a_map_can_be_read_while_it_changes() -> None:
    """What stays is found each time; what comes and goes neither hurts nor keeps us."""
    staying = {u32(n) for n in range(500)}
    with bpf_map(HASH) as fd:
        for key in staying:
            bpf.update(fd, key, u64(0))
        parent, child = os.getpid(), os.fork()
        if child == 0:
            while os.getppid() == parent:
                for n in range(1000, 3000):
                    bpf.update(fd, u32(n), u64(n))
                for n in range(1000, 3000):
                    bpf.delete(fd, u32(n))
            os._exit(0)
        try:
            end = time.monotonic() + 2
            while time.monotonic() < end:
                assert staying <= {key for key, _ in bpf.items(fd, 4, 8)}
                assert len(list(bpf.keys(fd, 4))) <= 4096
                assert {len(value) for _, value in bpf._one_by_one(fd, 4, 8)} == {8}
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
