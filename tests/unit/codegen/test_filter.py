"""The C of a filter, compiled for this machine, must answer as libpcap's bpf_filter() does."""

from __future__ import annotations

import ctypes
import random
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.answers import MATCH, NO, UNREAD, answers
from tests.packets import Packet, ethernet_samples, raw_samples
from xcapscript.codegen.filter import UnsupportedFilter, filter_function, window_size
from xcapscript.errors import CompilerBug
from xcapscript.pcap.cbpf import Alu, Class, Instruction, Jump, Misc, Mode, Size
from xcapscript.pcap.libpcap import PcapError, RejectsAll, compile_expression
from xcapscript.unit import LinkType

ROOT = Path(__file__).parents[3]
EXPRESSIONS = [
    line
    for line in (ROOT / "tests" / "data" / "expressions.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
NEVER_TRUE = {text for text in EXPRESSIONS if re.search(r"\[ip\[(2:2|0\] - 70|16:4|8\] \*)|\[ether\[|0xfffffffe", text)}
"""They read at offsets that no packet has."""

COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed")

Program = tuple[Instruction, ...]

# What the kernel side has: its integers, a read that fails for bad addresses, and a window whose rest is stale.
SHIM = """
#include <string.h>
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

static const u64 kernel_address = 0xffff888000001000;
static const u8 *packet;
static u32 packet_len;
u32 stray_reads;

static long bpf_probe_read_kernel(void *to, u32 size, const void *from)
{
	u64 offset = (u64)from - kernel_address;

	if (offset > packet_len || size > packet_len - offset) {
		stray_reads++;
		return -14;
	}
	memcpy(to, packet + offset, size);
	return 0;
}

static long bpf_probe_read_user(void *to, u32 size, const void *from)
{
	stray_reads++;
	return -14;
}

u32 window_size;
#define XCAP_WINDOW window_size
#include <xcap/filter.h>

@FUNCTIONS@

static u64 (*const functions[])(const struct xcap_view *) = { @NAMES@ };

void judge(u32 function, u8 stale, u32 count, const u8 *bytes, const u32 *lengths, u8 *verdicts)
{
	u8 window[256];

	packet = bytes;
	for (u32 i = 0; i < count; i++, packet += packet_len) {
		packet_len = lengths[2 * i];
		struct xcap_view view = {
			.window = window,
			.window_len = packet_len < window_size ? packet_len : window_size,
			.start = kernel_address,
			.cap_len = packet_len,
			.linear_len = packet_len,
			.wire_len = lengths[2 * i + 1],
		};
		memset(window, stale, sizeof(window));
		memcpy(window, packet, view.window_len);
		u64 answer = functions[function](&view);
		verdicts[i] = answer == XCAP_MATCH ? 1 : xcap_is_unread(&view, answer) ? 2 : 0;
	}
}
"""


class Judge:
    """Filters compiled by the machine's C compiler."""

    def __init__(self, programs: Sequence[Program], directory: Path) -> None:
        names = [f"filter_{at}" for at in range(len(programs))]
        functions = "\n".join(filter_function(*pair) for pair in zip(names, programs, strict=True))
        source, library = directory / "filters.c", directory / "filters.so"
        source.write_text(SHIM.replace("@FUNCTIONS@", functions).replace("@NAMES@", ", ".join(names)))
        flags = ["-O1", "-Wall", "-Werror", "-Wno-unused-but-set-variable", "-Wno-unused-variable", "-shared", "-fPIC"]
        command = [str(COMPILER), *flags, f"-I{ROOT / 'bpf' / 'include'}", "-o", str(library), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:4000]
        self._library = ctypes.CDLL(str(library))

    def verdicts(self, program: int, packets: Sequence[Packet], window: int, stale: int) -> bytes:
        ctypes.c_uint32.in_dll(self._library, "window_size").value = window
        lengths = b"".join(struct.pack("=II", len(packet.data), packet.wire_len) for packet in packets)
        verdicts = ctypes.create_string_buffer(len(packets))
        data = b"".join(packet.data for packet in packets)
        self._library.judge(program, ctypes.c_uint8(stale), len(packets), data, lengths, verdicts)
        return verdicts.raw

    @property
    def stray_reads(self) -> int:
        return ctypes.c_uint32.in_dll(self._library, "stray_reads").value


def expected(program: Program, packets: Sequence[Packet]) -> bytes:
    answer = answers(program)
    return bytes(answer(packet.data, packet.wire_len) for packet in packets)


def disagreements(programs: Sequence[Program], packets: Sequence[Packet], directory: Path) -> list[tuple[int, int]]:
    """(program, packet) where the C and libpcap differ, with windows of two sizes and two kinds of stale bytes."""
    judge = Judge(programs, directory)
    found = []
    for at, program in enumerate(programs):
        wanted = expected(program, packets)
        for window, stale in ((256, 0), (64, 0xFF)):
            given = judge.verdicts(at, packets, window, stale)
            found += [(at, number) for number, pair in enumerate(zip(given, wanted, strict=True)) if pair[0] != pair[1]]
    assert judge.stray_reads == 0
    return found


def raw_programs() -> dict[str, Program]:
    """The expressions that mean something without a link header."""
    found = {}
    for text in EXPRESSIONS:
        try:
            found[text] = compile_expression(text, LinkType.RAW)
        except PcapError:
            continue
    return found


# ---- the same answers as libpcap


@needs_compiler
@pytest.mark.parametrize("optimize", [True, False])
def test_every_expression_on_ethernet(tmp_path: Path, *, optimize: bool) -> None:
    programs = [compile_expression(text, LinkType.EN10MB, optimize=optimize) for text in EXPRESSIONS]
    packets = ethernet_samples(900)
    assert len(programs) > 300
    found = disagreements(programs, packets, tmp_path)
    assert [(EXPRESSIONS[at], packets[number]) for at, number in found[:5]] == []


@needs_compiler
def test_every_expression_on_raw_ip(tmp_path: Path) -> None:
    programs = raw_programs()
    packets = raw_samples(600)
    assert len(programs) > 200
    found = disagreements(tuple(programs.values()), packets, tmp_path)
    assert [(list(programs)[at], packets[number]) for at, number in found[:5]] == []


def test_the_packets_tell_the_expressions_apart() -> None:
    """Agreement means something only where there are both answers."""
    packets = ethernet_samples(900)
    same = [text for text in EXPRESSIONS if len(set(expected(compile_expression(text, LinkType.EN10MB), packets))) < 2]
    assert set(same) <= NEVER_TRUE


LONG = {
    "ports": "tcp port (" + " or ".join(str(port) for port in range(40, 30000, 100)) + ") or udp port 53",
    "hosts": "host (" + " or ".join(f"10.{at}.0.{at + 1}" for at in range(200)) + " or 10.0.0.2)",
    "ip6": "ip6 host (" + " or ".join(f"2001:db8:{at:x}::1" for at in range(60)) + " or fe80::1)",
    "payload": " or ".join(f"udp[{8 + at}:4] = 0x{at:02x}000000" for at in range(200)),
    "sum": " + ".join(f"ether[{at}]" for at in range(60)) + " > 3000",
}


@needs_compiler
@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_long_expressions(tmp_path: Path, text: str) -> None:
    """Jumps of up to 255 instructions, and `ja` beyond."""
    program, packets = compile_expression(text, LinkType.EN10MB), ethernet_samples(900)
    assert {NO, MATCH, UNREAD} == set(expected(program, packets))
    assert disagreements([program], packets, tmp_path) == []


# ---- programs that libpcap would not make

SLOTS = 15
"""Of M[]: tests.answers needs one."""

LOADS = (Mode.BPF_ABS, Mode.BPF_ABS, Mode.BPF_IND, Mode.BPF_IND, Mode.BPF_IMM, Mode.BPF_MEM, Mode.BPF_LEN)
OFFSETS = (
    0,
    1,
    14,
    23,
    60,
    61,
    62,
    63,
    64,
    200,
    252,
    253,
    254,
    255,
    256,
    0x7FFFFFFF,
    0xFFFFEFFF,
    0xFFFFFFF0,
    0xFFFFFFFF,
)
VALUES = (0, 1, 2, 6, 31, 32, 33, 64, 0x45, 0xFF, 0x800, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF2, 0xFFFFFFFF)


def random_program(rng: random.Random) -> Program:
    length = rng.randrange(4, 40)
    # bpf_filter() itself leaves M[] as it is; libpcap stores before it loads.
    stores = (Instruction(Class.BPF_ST, 0, 0, slot) for slot in range(SLOTS))
    return (*stores, *(_random_instruction(rng, length - at) for at in range(length)), Instruction(0x16, 0, 0, 0))


def _random_instruction(rng: random.Random, left: int) -> Instruction:
    makers: tuple[Callable[[random.Random, int], Instruction], ...] = (_load, _load, _load_x, _alu, _alu, _jump, _move)
    return rng.choice(makers)(rng, left)


def _load(rng: random.Random, _left: int) -> Instruction:
    mode = rng.choice(LOADS)
    size = rng.choice(tuple(Size)) if mode in (Mode.BPF_ABS, Mode.BPF_IND) else Size.BPF_W
    # Offsets of ancillary data mean something else to a kernel.
    offset = rng.choice(OFFSETS[:-2] if mode is Mode.BPF_ABS else OFFSETS) if rng.random() < 0.5 else rng.randrange(70)
    k = {Mode.BPF_MEM: rng.randrange(SLOTS), Mode.BPF_IMM: rng.choice(VALUES)}.get(mode, offset)
    return Instruction(Class.BPF_LD | size | mode, 0, 0, k)


def _load_x(rng: random.Random, _left: int) -> Instruction:
    if rng.random() < 0.3:
        return Instruction(Class.BPF_LDX | Size.BPF_B | Mode.BPF_MSH, 0, 0, rng.choice((0, 14, 14, 63, 64, 255, 256)))
    mode = rng.choice((Mode.BPF_IMM, Mode.BPF_MEM, Mode.BPF_LEN))
    return Instruction(Class.BPF_LDX | mode, 0, 0, rng.randrange(SLOTS) if mode is Mode.BPF_MEM else rng.choice(VALUES))


def _alu(rng: random.Random, _left: int) -> Instruction:
    op = rng.choice(tuple(Alu))
    if op is Alu.BPF_NEG:
        return Instruction(Class.BPF_ALU | op, 0, 0, 0)
    source, k = rng.choice((0, 0x08)), rng.choice(VALUES)
    if op in (Alu.BPF_LSH, Alu.BPF_RSH):
        # A constant shift of 32 or more is undefined in bpf_filter() itself.
        k &= 31
    if op in (Alu.BPF_DIV, Alu.BPF_MOD):
        k = k or 3
    return Instruction(Class.BPF_ALU | op | source, 0, 0, k)


def _jump(rng: random.Random, left: int) -> Instruction:
    op = rng.choice(tuple(Jump))
    if op is Jump.BPF_JA:
        return Instruction(Class.BPF_JMP | op, 0, 0, rng.randrange(min(left, 6)))
    source = rng.choice((0, 0x08))
    return Instruction(Class.BPF_JMP | op | source, rng.randrange(left), rng.randrange(left), rng.choice(VALUES))


def _move(rng: random.Random, _left: int) -> Instruction:
    if rng.random() < 0.1:
        return Instruction(Class.BPF_RET, 0, 0, rng.randrange(2))
    code = rng.choice((Class.BPF_ST, Class.BPF_STX, *(Class.BPF_MISC | move for move in Misc)))
    return Instruction(code, 0, 0, rng.randrange(SLOTS))


@needs_compiler
def test_programs_at_random(tmp_path: Path) -> None:
    rng = random.Random(5)
    programs = [random_program(rng) for _ in range(600)]
    packets = ethernet_samples(300)
    assert sum(len(set(expected(program, packets))) > 1 for program in programs) > 60
    assert sum(UNREAD in expected(program, packets) for program in programs) > 60
    found = disagreements(programs, packets, tmp_path)
    assert [(programs[at], packets[number]) for at, number in found[:2]] == []


@needs_compiler
@pytest.mark.parametrize(
    ("program", "matches"),
    [
        # M[] starts at 0, as A and X do
        ([(0x60, 0, 0, 9), (0x15, 0, 1, 0), (0x06, 0, 0, 1), (0x06, 0, 0, 0)], True),
        ([(0x16, 0, 0, 0)], False),
        ([(0x87, 0, 0, 0), (0x15, 0, 1, 0), (0x06, 0, 0, 1), (0x06, 0, 0, 0)], True),
        # a constant of 0 divides nothing, and shifts by 32 leave nothing
        ([(0x00, 0, 0, 8), (0x34, 0, 0, 0), (0x06, 0, 0, 1)], False),
        ([(0x00, 0, 0, 8), (0x94, 0, 0, 0), (0x06, 0, 0, 1)], False),
        ([(0x00, 0, 0, 8), (0x64, 0, 0, 32), (0x16, 0, 0, 0)], False),
        ([(0x00, 0, 0, 8), (0x74, 0, 0, 33), (0x16, 0, 0, 0)], False),
        # what is behind a return does not count
        ([(0x06, 0, 0, 1), (0x15, 9, 9, 0)], True),
    ],
)
def test_corners(tmp_path: Path, program: list[tuple[int, int, int, int]], *, matches: bool) -> None:
    judge = Judge([tuple(Instruction(*insn) for insn in program)], tmp_path)
    assert judge.verdicts(0, [Packet(bytes(60), 60)], 64, 0) == bytes([matches])


@needs_compiler
def test_protochain_is_followed_through_16_headers(tmp_path: Path) -> None:
    program = compile_expression("ip6 protochain 6", LinkType.RAW)
    judge = Judge([program], tmp_path)
    chains = [
        struct.pack("!IHBB", 0x60000000, 0, 0, 64) + bytes(32) + bytes(8) * (headers - 1) + b"\x06" + bytes(27)
        for headers in (1, 16, 17)
    ]
    packets = [Packet(data, len(data)) for data in chains]
    assert expected(program, packets) == b"\1\1\1"
    assert judge.verdicts(0, packets, 256, 0) == b"\1\1\0"


# ---- what is refused


def test_what_is_not_in_the_packet_is_refused() -> None:
    with pytest.raises(UnsupportedFilter, match="not in the packet"):
        filter_function("f", compile_expression("ether[0xfffff014:4] = 1", LinkType.EN10MB))


@pytest.mark.parametrize(("text", "member"), [("inbound", "pkt_type"), ("ifindex 3", "ifindex")])
def test_direction_and_interface_are_members_of_the_view(text: str, member: str) -> None:
    assert f"a = v->{member};" in filter_function("f", compile_expression(text, LinkType.EN10MB))


def test_what_no_jump_can_cross_is_refused() -> None:
    terms = " or ".join(f"tcp[((tcp[12] & 0xf0) >> 2) + {at}:4] = {at}" for at in range(450))
    with pytest.raises(UnsupportedFilter, match="too long"):
        filter_function("f", compile_expression(terms, LinkType.EN10MB))


@pytest.mark.parametrize("name", ["", "1f", "f(void)", "f\n", "F", "f g", "f" * 64])
def test_a_name_that_is_none_reaches_no_c(name: str) -> None:
    with pytest.raises(CompilerBug):
        filter_function(name, compile_expression("tcp", LinkType.EN10MB))


@pytest.mark.parametrize("code", [0x38, 0x08, 0xFC, 0x85, 0xC0, 0x8C])
def test_an_unknown_instruction_is_our_mistake(code: int) -> None:
    with pytest.raises(CompilerBug):
        filter_function("f", [(code, 0, 0, 0), (0x06, 0, 0, 0)])


def test_the_window_is_a_power_of_two_for_all_filters() -> None:
    arp, tcp = compile_expression("arp", LinkType.EN10MB), compile_expression("tcp port 80", LinkType.EN10MB)
    payload = compile_expression("tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420", LinkType.EN10MB)
    assert window_size([]) == window_size([arp]) == 64
    assert window_size([arp, tcp]) == 128
    assert window_size([payload, arp]) == 256


def test_a_program_out_of_a_text_file_serves_as_well() -> None:
    assert filter_function("f", [(6, 0, 0, 1)]) == filter_function("f", [Instruction(6, 0, 0, 1)])


def test_what_rejects_all_has_no_program() -> None:
    with pytest.raises(RejectsAll):
        compile_expression("tcp and udp", LinkType.RAW)
