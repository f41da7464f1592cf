"""Filters as BPF programs in the kernel must answer as libpcap does.

No traffic is needed: packets lie in a mapped array, and each program is told by BPF_PROG_TEST_RUN where its packet is.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import random
import struct
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.answers import MATCH, NO, UNREAD, answers
from tests.packets import Packet, ethernet_samples, raw_samples
from xcapscript.codegen.filter import filter_function
from xcapscript.kernel import bpf
from xcapscript.kernel.headers import header_tree
from xcapscript.pcap.cbpf import Instruction
from xcapscript.pcap.libpcap import PcapError, compile_expression
from xcapscript.unit import LinkType

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

ROOT = Path(__file__).parents[2]
EXPRESSIONS = [
    line
    for line in (ROOT / "tests" / "data" / "expressions.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
PER_MODULE = 24
WINDOW = 64
"""Small, so that many loads go behind it."""

Program = tuple[Instruction, ...]

FIXED = """
#define XCAP_WINDOW @WINDOW@
#include <xcap/filter.h>

struct area { u8 bytes[@AREA@]; };
struct window { u8 bytes[XCAP_WINDOW]; };
BPF_F_TABLE("array", u32, struct area, packets, 1, BPF_F_MMAPABLE);
BPF_ARRAY(address, u64, 1);
BPF_PERCPU_ARRAY(windows, struct window, 1);

int where(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	u64 at = (u64)packets.lookup(&zero);

	address.update(&zero, &at);
	return 0;
}
"""

PROGRAM = """
int run_@NUMBER@(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct window *window = windows.lookup(&zero);

	if (!window)
		return 8;
	struct xcap_view view = {
		.window = window->bytes, .start = ctx->args[0], .cap_len = ctx->args[1], .wire_len = ctx->args[2],
	};
	u64 size = view.linear_len = view.cap_len;
	XCAP_PIN(size);
	if (size > XCAP_WINDOW)
		size = XCAP_WINDOW;
	view.window_len = size;
	if (bpf_probe_read_kernel(window->bytes, size, (void *)view.start))
		return 9;
	u64 answer = filter_@NUMBER@(&view);
	return answer == XCAP_MATCH ? 1 : xcap_is_unread(&view, answer) ? 2 : 0;
}
"""


def verdicts(programs: Sequence[Program], packets: Sequence[Packet]) -> tuple[list[bytes], float, float]:
    """What the kernel answers, program by program; CPU seconds to compile them all, and to load them."""
    from bcc import BPF  # noqa: PLC0415  # in a process of its own only: BCC's compiler may exit

    area = mmap.PAGESIZE + sum(len(packet.data) for packet in packets)
    texts = [FIXED.replace("@WINDOW@", str(WINDOW)).replace("@AREA@", str(area))]
    for number, program in enumerate(programs):
        texts += [filter_function(f"filter_{number}", program), PROGRAM.replace("@NUMBER@", str(number))]
    start = time.process_time()
    module = BPF(text="\n".join(texts), cflags=[f"-I{ROOT / 'bpf' / 'include'}"])
    compiled = time.process_time()
    functions = [module.load_func(f"run_{number}", BPF.RAW_TRACEPOINT).fd for number in range(len(programs))]
    loaded = time.process_time()
    runs = list(_place(module, packets, area))
    found = [bytes(bpf.test_run(function, run) for run in runs) for function in functions]
    return found, compiled - start, loaded - compiled


def _place(module: Any, packets: Sequence[Packet], area: int) -> Iterator[bytes]:
    """Put the packets into the array, one right behind another; the arguments of a run for each."""
    where = module.load_func("where", module.RAW_TRACEPOINT)
    bpf.test_run(where.fd, bytes(8))
    address = module["address"][0].value
    assert address >> 63, "not the address of anything in the kernel"
    offset = 0
    with mmap.mmap(module["packets"].map_fd, area) as memory:
        for packet in packets:
            memory[offset : offset + len(packet.data)] = packet.data
            yield struct.pack("=4Q", address + offset, len(packet.data), packet.wire_len, 0)
            offset += len(packet.data)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessPoolExecutor]:
    if tree := header_tree(tmp_path_factory.mktemp("cache")):
        os.environ["BCC_KERNEL_SOURCE"] = str(tree)
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("fork")) as pool:
        yield pool
    os.environ.pop("BCC_KERNEL_SOURCE", None)


def expected(program: Program, packets: Sequence[Packet]) -> bytes:
    answer = answers(program)
    return bytes(answer(packet.data, packet.wire_len) for packet in packets)


@pytest.mark.parametrize("link", LinkType)
def test_the_kernel_answers_as_libpcap_does(worker: ProcessPoolExecutor, link: LinkType) -> None:
    packets = (ethernet_samples if link is LinkType.EN10MB else raw_samples)(200)
    programs = {}
    for text in EXPRESSIONS[::3]:
        try:
            programs[text] = compile_expression(text, link)
        except PcapError:
            continue
    assert len(programs) > 60
    texts = list(programs)
    parts = [texts[at : at + PER_MODULE] for at in range(0, len(texts), PER_MODULE)]
    jobs = [worker.submit(verdicts, [programs[text] for text in part], packets) for part in parts]
    for part, job in zip(parts, jobs, strict=True):
        for text, given in zip(part, job.result()[0], strict=True):
            wanted = expected(programs[text], packets)
            assert [packets[at] for at in range(len(packets)) if given[at] != wanted[at]] == [], text


def _addresses(count: int) -> Iterator[str]:
    """IPv6 addresses with nothing in common."""
    rng = random.Random(7)
    return (":".join(f"{rng.randrange(1, 65536):x}" for _ in range(8)) for _ in range(count))


LONG = {
    "300 ports": "tcp port (" + " or ".join(str(port) for port in range(40, 30040, 100)) + ") or udp port 53",
    "200 hosts": "host (" + " or ".join(f"10.{at}.0.{at + 1}" for at in range(200)) + " or 10.0.0.2)",
    "60 IPv6 addresses": "ip6 host (" + " or ".join(_addresses(59)) + " or fe80::1)",
    "150 IPv6 addresses": "ip6 host (" + " or ".join(_addresses(149)) + " or fe80::1)",
    "200 payload terms": " or ".join(f"udp[{8 + at}:4] = 0x{at:02x}000000" for at in range(200)),
    "200 payload terms behind TCP": " or ".join(
        f"tcp[((tcp[12] & 0xf0) >> 2) + {at}:4] = {0x47455420 + at}" for at in range(200)
    ),
    "a sum of 60 products": " + ".join(f"ip[{at}] * (ip[{at + 1}] - ({at} + ether[{at}]))" for at in range(60))
    + " > 7",
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_long_expressions_load_in_ten_seconds(worker: ProcessPoolExecutor, text: str) -> None:
    packets = ethernet_samples(300)
    program = compile_expression(text, LinkType.EN10MB)
    (given,), compiling, loading = worker.submit(verdicts, [program], packets).result()
    wanted = expected(program, packets)
    assert {NO, MATCH, UNREAD} == set(wanted)
    assert given == wanted
    assert compiling + loading < 10
