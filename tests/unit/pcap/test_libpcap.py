"""libpcap's words, its programs, and that no name goes to a server when it must not."""

from __future__ import annotations

import ctypes.util
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from xcapscript.errors import KernelError
from xcapscript.pcap import libpcap
from xcapscript.pcap.cbpf import Instruction
from xcapscript.pcap.libpcap import PcapError, RejectsAll, compile_expression, library_version, offline_match
from xcapscript.unit import LinkType

ROOT = Path(__file__).parents[3]
ARP = bytes(12) + b"\x08\x06" + bytes(46)


def test_a_program_is_what_libpcap_made() -> None:
    assert compile_expression("arp", LinkType.EN10MB) == (
        Instruction(0x28, 0, 0, 12),
        Instruction(0x15, 0, 1, 0x806),
        Instruction(0x06, 0, 0, 262144),
        Instruction(0x06, 0, 0, 0),
    )


def test_raw_ip_begins_with_the_ip_header() -> None:
    assert compile_expression("ip", LinkType.RAW)[0] == Instruction(0x30, 0, 0, 0)


def test_no_expression_takes_all() -> None:
    assert compile_expression("", LinkType.RAW) == (Instruction(0x06, 0, 0, 262144),)


def test_without_optimizing_the_program_is_longer() -> None:
    plain = compile_expression("port 80 or port 81", LinkType.EN10MB, optimize=False)
    assert len(plain) > len(compile_expression("port 80 or port 81", LinkType.EN10MB))


def test_the_netmask_serves_ip_broadcast() -> None:
    with pytest.raises(PcapError, match="netmask not known, so 'ip broadcast' not supported"):
        compile_expression("ip broadcast", LinkType.EN10MB)
    program = compile_expression("ip broadcast", LinkType.EN10MB, netmask=0xFFFFFF00)
    frame = bytes(12) + b"\x08\0" + b"\x45" + bytes(15) + bytes([10, 0, 0, 255])
    assert offline_match(program, frame, len(frame))
    assert not offline_match(program, frame[:-1] + b"\xfe", len(frame))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("foo", "syntax error"),
        ("tcp port", "syntax error"),
        ("port nonesuch", "unknown port 'nonesuch'"),
        ("vlan 5000", "VLAN tag 5000 greater than maximum 4095"),
        ("host 10.0.0.256", "invalid IPv4 address"),
        ("ip[0] / 0 = 1", "division by zero"),
        ("wlan type mgt", "802.11 link-layer types supported only on 802.11"),
        ("host é", "syntax error"),
        ("host \udcff", "syntax error"),
        ("tcp\0 or udp", "NUL"),
        ("tcp \ud800", "surrogate"),
        ("(" * 20000 + "tcp", "memory exhausted|syntax error|overflow"),
    ],
)
def test_a_refusal_has_the_words_of_libpcap(text: str, words: str) -> None:
    with pytest.raises(PcapError, match=words) as caught:
        compile_expression(text, LinkType.EN10MB)
    assert not isinstance(caught.value, RejectsAll)


def test_what_can_never_match_is_told_apart() -> None:
    with pytest.raises(RejectsAll, match=r"^expression rejects all packets$"):
        compile_expression("ip and ip6", LinkType.EN10MB)
    with pytest.raises(RejectsAll):
        compile_expression("arp", LinkType.RAW)


def test_threads_do_not_disturb_each_other() -> None:
    texts = [f"tcp port {port} and host 10.0.0.{port}" for port in range(1, 100)]
    alone = [compile_expression(text, LinkType.EN10MB) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(lambda text: compile_expression(text, LinkType.EN10MB), texts)) == alone


def test_a_packet_is_judged_by_what_was_captured_and_by_its_length() -> None:
    arp, long = compile_expression("arp", LinkType.EN10MB), compile_expression("greater 100", LinkType.EN10MB)
    assert offline_match(arp, ARP, 60)
    assert not offline_match(arp, ARP[:13], 60)
    assert offline_match(long, ARP, 100)
    assert not offline_match(long, ARP, 99)


def test_the_version_is_that_of_tcpdump() -> None:
    assert library_version().startswith("libpcap version 1.")


def test_without_libpcap_the_advice_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libpcap, "_SONAME", "libmissing.so.1")
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    with pytest.raises(KernelError) as caught:
        compile_expression("tcp", LinkType.EN10MB)
    assert "libpcap0.8" in str(caught.value.advice)


def test_a_library_of_another_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libpcap, "_SONAME", "libmissing.so.2")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.0.8")
    assert compile_expression("", LinkType.RAW)


# ---- names

LOOK_UP = """
from xcapscript.pcap.libpcap import PcapError, compile_expression
from xcapscript.unit import LinkType
for text in ("host localhost and port http", "ether host nonesuch or net nonesuch", "host nonesuch.example"):
    try:
        compile_expression(text, LinkType.EN10MB, resolve_names=False)
        print("compiled")
    except PcapError as error:
        print(error)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_without_names_no_server_is_asked(tmp_path: Path) -> None:
    """strace is the oracle. The C library does connect to the loopback address, to learn its own."""
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace), sys.executable]
    done = subprocess.run([*command, "-c", LOOK_UP], cwd=ROOT, capture_output=True, text=True, check=True)
    first, *others = done.stdout.splitlines()
    assert first == "compiled"
    assert "unknown host 'nonesuch.example'" in others[-1]
    calls = [line for line in trace.read_text().splitlines() if "sa_family=AF_INET" in line]
    assert [line for line in calls if '"127.0.0.1"' not in line and '"::1"' not in line] == []
    assert [line for line in calls if "htons(53)" in line] == []


def test_a_c_library_that_cannot_leave_dns_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_expression("tcp", LinkType.EN10MB)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    libpcap._look_up_in_files_only.cache_clear()
    with pytest.raises(KernelError, match="DNS") as caught:
        compile_expression("tcp", LinkType.EN10MB, resolve_names=False)
    assert "-n" in str(caught.value.advice)
