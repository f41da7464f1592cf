"""What lies between kernel and user space: all losses are counted, and nobody waits for a reader that falls behind."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from network import Network, sh
from traffic import python
from xcap import PATIENCE, XCAP, Done, Running, run

pytestmark = pytest.mark.kernel

PORT = 47009
EACH = 4000
"""Packets of each sender; there is one on each CPU."""

PROGRAM = f"tx /udp dst port {PORT}/ {{ dump; }}"
INTERFACE_STATISTICS, ISB_IFRECV, ISB_IFDROP = 5, 4, 5
CPUS = sorted(os.sched_getaffinity(0))[:4]
TOLD = re.compile(
    r"^lost ([\d,]+) packets so far \(tx\): try --buffer-size (\w+), a shorter -s or a narrower filter$", re.MULTILINE
)


@pytest.fixture(params=["ring", "ring in Python", "perf"])
def buffer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kind of buffer."""
    if request.param == "ring in Python":
        monkeypatch.setenv("XCAP_NATIVE", "0")
    kind, _, _ = request.param.partition(" ")
    return str(kind)


def sender(cpu: int) -> str:
    """Numbered datagrams from one CPU: its number, then theirs."""
    return python(f"""
        import os, struct
        os.sched_setaffinity(0, {{{cpu}}})
        s = socket.socket(type=socket.SOCK_DGRAM)
        for number in range({EACH}):
            s.sendto(struct.pack(">HI", {cpu}, number).ljust(1000, b"x"), ("10.78.0.2", {PORT}))
    """)


def send(net: Network) -> None:
    """All at once."""
    sh(" & ".join(net.in_a(sender(cpu)) for cpu in CPUS) + "; wait")


def packets(path: Path) -> list[tuple[int, int, int]]:
    """CPU, number and drop count of each packet of a file, as tshark reads them."""
    found = []
    for line in fields(path, "udp.payload", "frame.drop_count"):
        payload, _, dropped = line.partition("\t")
        cpu, number = struct.unpack(">HI", bytes.fromhex(payload[:12]))
        found.append((cpu, number, int(dropped or 0)))
    return found


def fields(path: Path, *names: str) -> list[str]:
    """What tshark reads of each packet, with tabs between."""
    return sh(f"tshark -r {path} -T fields {' '.join(f'-e {name}' for name in names)} 2>/dev/null").splitlines()


def statistics(path: Path) -> Iterator[dict[int, int]]:
    """The numbers in the options of each Interface Statistics Block."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        kind, size = struct.unpack_from("=II", data, at)
        if kind == INTERFACE_STATISTICS:
            options, option = data[at + 20 : at + size - 4], 0
            found = {}
            while option + 4 <= len(options):
                code, length = struct.unpack_from("=HH", options, option)
                if length == 8:
                    found[code] = struct.unpack_from("=Q", options, option + 4)[0]
                option += 4 + (length + 3) // 4 * 4
            yield found
        at += size


def overrun(net: Network, path: Path, *arguments: str) -> Done:
    """A run whose reader is stopped while all is sent."""
    running = Running(*arguments, "-i", net.left, "-e", PROGRAM, "-w", str(path))
    running.process.send_signal(signal.SIGSTOP)
    before = transmitted(net)
    send(net)
    assert transmitted(net) - before >= EACH * len(CPUS), "somebody waited for the reader"
    running.process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + PATIENCE
    while not TOLD.search(running._read(running._err)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return running.stop()


def transmitted(net: Network) -> int:
    """What the device has sent."""
    return int(sh(net.in_a(f"cat /sys/class/net/{net.left}/statistics/tx_packets")))


@pytest.mark.parametrize("size", ["4K", "256K"])
def test_what_is_lost_is_counted_exactly_and_told(net: Network, tmp_path: Path, buffer: str, size: str) -> None:
    path = tmp_path / "l.pcapng"
    done = overrun(net, path, "--buffer", buffer, "--buffer-size", size)
    assert done.status == 0, done.err
    found = packets(path)
    assert done.lost > 0
    assert len(found) + done.lost == EACH * len(CPUS)
    assert [one[ISB_IFDROP] for one in statistics(path)] == [done.lost]
    # a packet says how many were lost before it on its CPU; those behind the last nobody could say
    last = dict.fromkeys(CPUS, -1)
    for cpu, number, dropped in found:
        assert dropped == number - last[cpu] - 1
        last[cpu] = number
    behind = sum(EACH - 1 - number for number in last.values())
    assert sum(dropped for _, _, dropped in found) + behind == done.lost
    told = TOLD.findall(done.err)
    assert told == [(f"{done.lost:,}", "32M")]


def test_quiet_only_the_end_tells_of_losses(net: Network, tmp_path: Path) -> None:
    path = tmp_path / "q.pcapng"
    command = f"{net.in_a(sender(CPUS[0]))}; sleep 1.2"
    done = run("-q", "--buffer-size", "4K", "-i", net.left, "-e", PROGRAM, "-w", str(path), "--cmd", command)
    assert done.status == 0
    match = re.fullmatch(r"xcap: (\d+) events were lost: the reader fell behind\n", done.err)
    assert match, done.err
    assert len(packets(path)) + int(match[1]) == EACH


def test_all_cpus_are_in_one_file_in_the_order_of_time(net: Network, tmp_path: Path, buffer: str) -> None:
    path = tmp_path / "o.pcapng"
    senders = " & ".join(net.in_a(sender(cpu)) for cpu in CPUS)
    arguments = ("--buffer", buffer, "-i", net.left, "-e", PROGRAM, "-w", str(path))
    done = run(*arguments, "--cmd", f"{senders} & wait")
    assert done.status == 0, done.err
    assert done.lost == 0
    assert sorted(packets(path)) == [(cpu, number, 0) for cpu in CPUS for number in range(EACH)]
    times = [int(line.replace(".", "")) for line in fields(path, "frame.time_epoch")]
    assert times == sorted(times)
    assert [(one[ISB_IFRECV] >= EACH * len(CPUS), one[ISB_IFDROP]) for one in statistics(path)] == [(True, 0)]


def test_a_limit_is_exact(net: Network, tmp_path: Path, buffer: str) -> None:
    path = tmp_path / "c.pcapng"
    senders = " & ".join(net.in_a(sender(cpu)) for cpu in CPUS)
    arguments = ("--buffer", buffer, "-c", "777", "-i", net.left, "-e", PROGRAM, "-w", str(path))
    done = run(*arguments, "--cmd", f"{senders} & wait")
    assert done.status == 0, done.err
    assert len(packets(path)) == 777


def test_a_limit_is_exact_when_packets_are_lost(net: Network, tmp_path: Path, buffer: str) -> None:
    """A packet that is lost does not count: the one after it takes its turn."""
    path = tmp_path / "cl.pcapng"
    arguments = ("--buffer", buffer, "--buffer-size", "256K", "-c", "777", "-i", net.left, "-e", PROGRAM)
    running = Running(*arguments, "-w", str(path))
    running.process.send_signal(signal.SIGSTOP)
    send(net)
    running.process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + PATIENCE
    while running.process.poll() is None and time.monotonic() < deadline:
        send(net)
    done = running.wait()
    assert done.status == 0, done.err
    assert done.lost > 777
    assert len(packets(path)) == 777


def test_what_a_record_has_no_room_for_is_cut_and_marked(net: Network, tmp_path: Path) -> None:
    """A perf buffer's sample is at most 64 KiB with all that is around it."""
    path = tmp_path / "p.pcapng"
    command = python(f"""
        s = socket.socket(type=socket.SOCK_DGRAM)
        s.sendto(b"x" * 30000, ("127.0.0.1", {PORT}))
        s.sendto(b"x" * 10000, ("127.0.0.1", {PORT}))
    """)
    done = run("--buffer", "perf", "-i", "lo", "-e", PROGRAM, "-w", str(path), "--cmd", net.in_a(command))
    assert done.status == 0, done.err
    rows = [line.split("\t") for line in fields(path, "frame.len", "frame.cap_len", "frame.comment")]
    assert [(row[0], row[1], "partial" in row[2]) for row in rows] == [
        ("30042", "16384", True),
        ("10042", "10042", False),
    ]


def test_all_that_is_seen_is_the_same(net: Network, buffer: str) -> None:
    """Every kind of program sends something, and every kind of record comes."""
    echo = "/icmp and icmp[icmptype] == icmp-echo/"
    program = (
        'begin { printf("begin\\n"); } end { printf("end\\n"); print(@n); }'
        " interval:100ms { @ticks = count(); }"
        f" rx {echo} {{ @n = count(); print(len); hex; stack(1); }}"
        f' tracepoint:net:netif_receive_skb {echo} {{ printf("%d\\n", len); print; }}'
    )
    ping = f"{net.in_a('ping -c 3 -i 0.2 -s 100 10.78.0.2')} >&2"
    done = run("--buffer", buffer, "-i", net.right, "-e", program, "--cmd", ping)
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "begin"
    assert lines.count("142") == 6
    assert sum(line.lstrip().startswith("0x0000:") for line in lines) == 3
    assert sum("ICMP echo request" in line for line in lines) == 9
    assert lines[lines.index("end") + 1] == "@n: 3"
    ticks = re.search(r"^@ticks: (\d+)$", done.out, re.MULTILINE)
    assert ticks
    assert int(ticks[1]) >= 3


def test_exit_stops_at_once_and_gives_the_status(net: Network, buffer: str) -> None:
    program = f"tx /udp dst port {PORT}/ {{ print(len); exit(7); }}"
    done = run("--buffer", buffer, "-i", net.left, "-e", program, "--cmd", net.in_a(sender(CPUS[0])))
    assert (done.status, done.out) == (7, "1042\n")


def test_a_recorder_keeps_what_comes_through_any_buffer(net: Network, tmp_path: Path, buffer: str) -> None:
    path = tmp_path / "r.pcapng"
    arguments = ("--buffer", buffer, "--last", "10", "-i", net.left, "-e", PROGRAM, "-w", str(path))
    done = run(*arguments, "--cmd", net.in_a(sender(CPUS[0])))
    assert done.status == 0, done.err
    assert [number for _, number, _ in packets(path)] == list(range(EACH - 10, EACH))


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A control group that has less memory than the largest buffer takes."""
    for root, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = root / f"xcap-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / limit).exists():
                (group / limit).write_text(str(700 << 20))
                yield group
                return
        finally:
            group.rmdir()
    pytest.skip("no control group here has a limit of memory")


def test_no_memory_for_a_buffer_is_told_with_what_helps(little_memory: Path) -> None:
    command = [*XCAP, "--buffer-size", "1G", "--time", "1s", "-e", "drop { dump; }", "-w", "/dev/null"]

    def enter() -> None:
        (little_memory / "cgroup.procs").write_text(str(os.getpid()))

    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE, preexec_fn=enter)
    assert done.returncode == 3, done.stderr
    assert done.stderr == (
        "xcap: the kernel has no memory for the buffer\nxcap: try a smaller one with --buffer-size, such as 4M\n"
    )
