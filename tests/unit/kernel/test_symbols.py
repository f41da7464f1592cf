"""Addresses to names, and the frames that are ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from xcapscript.kernel.symbols import Symbols, strip_entry
from xcapscript.types import STACK_SLACK

KALLSYMS = """\
0000000000001000 A a_constant
ffffffff81000000 T _stext
ffffffff81000000 T startup_64
ffffffff81000040 t ip_rcv_core
ffffffff81000100 T ip_rcv
ffffffff81000180 d a_variable
ffffffff81000200 W weak_one
ffffffffc0201000 t veth_xmit\t[veth]
ffffffffc0301000 t bpf_prog_6deef7357e7b4530_hook\t[bpf]
ffffffffc0101000 t nf_hook\t[nf_tables]
"""


@pytest.fixture
def symbols(tmp_path: Path) -> Symbols:
    path = tmp_path / "kallsyms"
    path.write_text(KALLSYMS)
    return Symbols(path)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (0xFFFFFFFF81000100, "ip_rcv+0x0"),
        (0xFFFFFFFF810001FF, "ip_rcv+0xff"),
        (0xFFFFFFFF81000200, "weak_one+0x0"),
        (0xFFFFFFFFC0201010, "veth_xmit+0x10 [veth]"),
        (0xFFFFFFFFC0301004, "bpf_prog_6deef7357e7b4530_hook+0x4 [bpf]"),
    ],
)
def test_an_address_is_the_function_before_it(symbols: Symbols, address: int, name: str) -> None:
    assert symbols.resolve(address) == name
    assert symbols.resolve(address) == name


def test_modules_need_not_be_in_order(symbols: Symbols) -> None:
    assert symbols.resolve(0xFFFFFFFFC0101001) == "nf_hook+0x1 [nf_tables]"


def test_the_first_of_several_names_is_shown(symbols: Symbols) -> None:
    assert symbols.resolve(0xFFFFFFFF81000000) == "_stext+0x0"
    assert symbols.resolve(0xFFFFFFFF81000004) == "_stext+0x4"


@pytest.mark.parametrize("address", [0, 0x1000, 0xFFFFFFFF80FFFFFF, 0xFFFFFFFF90000000, 0xFFFFFFFFFFFFFFFF])
def test_an_address_in_no_function_is_hex(symbols: Symbols, address: int) -> None:
    assert symbols.resolve(address) == hex(address)


def test_hidden_addresses_give_hex(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text("".join(f"{0:016x}{line[16:]}\n" for line in KALLSYMS.splitlines()))
    assert Symbols(path).resolve(0xFFFFFFFF81000100) == "0xffffffff81000100"
    assert Symbols(path).resolve(5) == "0x5"


def test_no_kallsyms_gives_hex(tmp_path: Path) -> None:
    assert Symbols(tmp_path / "missing").resolve(0xFFFFFFFF81000100) == "0xffffffff81000100"


def test_nothing_is_read_before_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    symbols = Symbols(path)
    path.write_text(KALLSYMS)
    assert symbols.resolve(0xFFFFFFFF81000100) == "ip_rcv+0x0"


LATER = """\
ffffffffc0301800 t bpf_prog_0011223344556677_later\t[bpf]
ffffffffc0309000 t bpf_prog_8899aabbccddeeff_latest\t[bpf]
"""


def test_what_came_later_is_found_in_a_fresh_reading(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text(KALLSYMS)
    now = [100.0]
    symbols = Symbols(path, lambda: now[0])
    assert symbols.resolve(0xFFFFFFFFC0301004) == "bpf_prog_6deef7357e7b4530_hook+0x4 [bpf]"
    path.write_text(KALLSYMS + LATER)
    near = "bpf_prog_6deef7357e7b4530_hook+0x808 [bpf]"
    assert symbols.resolve(0xFFFFFFFFC0301808) == near
    far = "bpf_prog_6deef7357e7b4530_hook+0x8008 [bpf]"
    assert symbols.resolve(0xFFFFFFFFC0309008) == far
    now[0] += 0.9
    assert symbols.resolve(0xFFFFFFFFC0309008) == far
    now[0] += 0.2
    assert symbols.resolve(0xFFFFFFFFC0309008) == "bpf_prog_8899aabbccddeeff_latest+0x8 [bpf]"
    assert symbols.resolve(0xFFFFFFFFC0301808) == "bpf_prog_0011223344556677_later+0x8 [bpf]"
    assert symbols.resolve(0xFFFFFFFFC0301900) == "bpf_prog_0011223344556677_later+0x100 [bpf]"


def test_what_is_unknown_costs_no_more_than_one_reading(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text(KALLSYMS)
    now = [100.0]
    symbols = Symbols(path, lambda: now[0])
    assert symbols.resolve(0xFFFFFFFF81000100) == "ip_rcv+0x0"
    for address in (0x1000, 0x1001):
        now[0] += 5
        assert symbols.resolve(address) == hex(address)
    path.write_text(f"0000000000000fff t late\n{KALLSYMS}")
    now[0] += 5
    # it was looked for in vain in a reading of its own
    assert symbols.resolve(0x1000) == "0x1000"
    assert symbols.resolve(0x1002) == "late+0x3"


def test_names_are_kept_when_the_file_goes(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text(KALLSYMS)
    now = [100.0]
    symbols = Symbols(path, lambda: now[0])
    assert symbols.resolve(0xFFFFFFFF81000100) == "ip_rcv+0x0"
    path.unlink()
    now[0] += 5
    assert symbols.resolve(0x1000) == "0x1000"
    assert symbols.resolve(0xFFFFFFFF81000100) == "ip_rcv+0x0"


PROGRAM = "bpf_prog_6deef7357e7b4530_hook+0x4b [bpf]"


@pytest.mark.parametrize(
    ("frames", "left"),
    [
        ([PROGRAM, "bpf_trace_run4+0x9b", "__traceiter_kfree_skb+0x4b", "sk_skb_reason_drop+0x9"], 1),
        ([PROGRAM, "bpf_trace_run4+0x9b", "sk_skb_reason_drop+0x9", "ip_rcv+0x1"], 2),
        (
            [
                PROGRAM,
                "bpf_trace_run1+0x9b",
                "__bpf_trace_net_dev_template+0x9",
                "__traceiter_netif_rx+0x4",
                "netif_rx+0x1",
            ],
            1,
        ),
        (
            [
                PROGRAM,
                "trace_call_bpf+0x7a",
                "perf_trace_run_bpf_submit+0x4e",
                "perf_trace_kfree_skb+0x9",
                "tcp_rcv+0x1",
            ],
            1,
        ),
        ([PROGRAM, "bpf_trampoline_6442470313+0x43", "ip_rcv+0x9"], 1),
        (["0xffffffffc0301004", "bpf_trace_run4+0x9b", "ip_rcv+0x1"], 1),
        (["ip_rcv+0x1", "bpf_trace_run4+0x9b"], 2),
        (["0xffffffffc0301004", "0xffffffffc0301008", "ip_rcv+0x1"], 3),
        (["bpf_prog_load+0x1", "__sys_bpf+0x2"], 2),
        ([], 0),
    ],
)
def test_the_leading_frames_of_the_tracing_go(frames: list[str], left: int) -> None:
    assert list(strip_entry(frames)) == frames[len(frames) - left :]


def test_no_more_go_than_were_taken_in_excess() -> None:
    frames = ["bpf_trace_run4+0x9b"] * (STACK_SLACK + 2)
    assert len(strip_entry(frames)) == 2
