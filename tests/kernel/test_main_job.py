"""The main job, as a user runs it: real drops, an outside oracle for each number."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from network import Network, sh
from xcap import Running, run

from xcapscript.kernel.libbpf import load

pytestmark = pytest.mark.kernel

PING = "ping -c 5 -i 0.2 -W 1 10.78.0.2"
EXAMPLES = Path(__file__).parents[2] / "examples"


def fields(path: Path, *names: str) -> list[list[str]]:
    """What tshark reads from a file, a row a packet."""
    options = " ".join(f"-e {name}" for name in names)
    text = sh(f"tshark -r {path} -T fields {options} 2>/dev/null")
    return [line.split("\t") for line in text.splitlines()]


def bytes_of(path: Path) -> str:
    """Every packet's bytes, as tcpdump prints them."""
    return sh(f"tcpdump -nr {path} -t -xx 2>/dev/null")


def test_drops_are_written_counted_and_explained(net: Network, tmp_path: Path) -> None:
    net.drop_icmp()
    out = tmp_path / "d.pcapng"
    program = "drop /icmp/ { dump; count(reason, kstack(3)); }"
    done = run("-i", net.right, "-e", program, "-w", str(out), "--cmd", f"{net.in_a(PING)}; true")
    assert done.status == 0, done.err
    assert net.icmp_drops() == 5
    comments = fields(out, "frame.comment", "frame.interface_name", "icmp.seq")
    assert [row[2] for row in comments] == ["1", "2", "3", "4", "5"]
    for comment, interface, _ in comments:
        assert re.fullmatch(rf"drop NETFILTER_DROP pid=\d+ comm=ping netns={net.netns(net.b)}", comment)
        assert interface == net.right
    assert len(sh(f"tcpdump -nr {out} icmp").splitlines()) == 5
    assert re.search(r"@count\[NETFILTER_DROP,\n(    \S+\+0x[0-9a-f]+\n){3}\]: 5\n", done.out), done.out
    assert "bpf_trace_run" not in done.out
    assert done.lost == 0


def test_a_clause_without_a_block_prints_what_tcpdump_would(net: Network) -> None:
    done = run(
        "-c", "3", "-e", "rx /icmp and src host 10.78.0.1/", "--cmd", f"{net.in_a('ping -c 4 -i 0.2 10.78.0.2')} >&2"
    )
    lines = done.out.splitlines()
    assert len(lines) == 3
    for number, line in enumerate(lines, 1):
        stamp = r"\d\d:\d\d:\d\d\.\d{9}"
        what = rf"IP 10\.78\.0\.1 > 10\.78\.0\.2: ICMP echo request, id \d+, seq {number}, length 64"
        assert re.fullmatch(rf"{stamp} rx {net.right} {what}", line)


def test_what_is_dumped_at_tx_is_what_tcpdump_sees(net: Network, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.pcapng", tmp_path / "theirs.pcap"
    net.forget()
    expression = "icmp or arp or (icmp6 and ip6[40] == 128)"
    capture = f"tcpdump -i {net.left} --immediate-mode -Q out -U -w {theirs} '{expression}'"
    tcpdump = subprocess.Popen(f"exec {net.in_a(capture)}", shell=True, stderr=subprocess.PIPE)
    assert tcpdump.stderr is not None
    tcpdump.stderr.readline()
    traffic = "; ".join(
        (
            net.in_a("ping -c 3 -i 0.2 -s 1000 10.78.0.2"),
            net.in_a("ping -c 3 -i 0.2 -s 4000 10.78.0.2"),
            net.in_a("ping -6 -c 3 -i 0.2 fd78::2"),
        )
    )
    # the other host's packets pass tx as well: what leaves host a has its device
    done = run("-e", f"tx /{expression}/ {{ dump; }}", "-w", str(ours), "--cmd", f"({traffic}) >&2; sleep 0.3")
    tcpdump.send_signal(signal.SIGINT)
    tcpdump.wait(10)
    sh(f"tshark -r {ours} -Y 'frame.interface_name == {net.left}' -w {ours}.left 2>/dev/null")
    # bytes and order; the clocks are read at two places
    assert bytes_of(Path(f"{ours}.left")) == bytes_of(theirs)
    assert len(fields(theirs, "frame.number")) > 12
    assert done.lost == 0


def test_exactly_as_many_as_asked_for(net: Network, tmp_path: Path) -> None:
    out = tmp_path / "n.pcapng"
    flood = net.in_a("ping -f -c 2000 10.78.0.2")
    done = run(
        "-c",
        "100",
        "-e",
        "tx /icmp/ { dump; count; } rx /icmp/ { dump; count; }",
        "-w",
        str(out),
        "--cmd",
        f"{flood} >&2",
    )
    assert done.status == 0
    assert len(fields(out, "frame.number")) == 100
    assert "@count: 100\n" in done.out


def test_under_nohup_a_capture_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which nohup hands on, and so do we
    try:
        running = Running("-e", 'interval:20ms { printf("tick\\n"); }')
    finally:
        signal.signal(signal.SIGHUP, before)
    running.process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        running.process.wait(0.3)
    done = running.stop()
    assert (done.status, done.out.count("tick") > 2) == (0, True)


def test_a_name_that_is_too_long_is_refused() -> None:
    done = run("-e", "drop { dump; }", "-w", "x" * 300)
    assert (done.status, "File name too long" in done.err) == (3, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_and_loses_nothing(net: Network, tmp_path: Path, number: signal.Signals) -> None:
    net.drop_icmp()
    out = tmp_path / "s.pcapng"
    program = 'drop /icmp/ { dump; print; count(reason); } end { printf("the end\\n"); }'
    running = Running("-i", net.right, "-e", program, "-w", str(out))
    sh(net.in_a(PING), check=False)
    done = running.stop(number)
    assert done.status == 0, done.err
    assert done.out.count("echo request") == 5
    assert done.out.endswith("the end\n@count[NETFILTER_DROP]: 5\n")
    assert len(fields(out, "frame.number")) == 5


def test_killed_it_leaves_nothing_attached_and_a_readable_file(net: Network, tmp_path: Path) -> None:
    net.drop_icmp()
    out = tmp_path / "k.pcapng"
    running = Running("-i", net.right, "-e", "drop /icmp/ { dump; } t:skb:kfree_skb /icmp/ { dump; }", "-w", str(out))
    sh(net.in_a(PING), check=False)
    time.sleep(1.2)
    programs = _programs_of(running.process.pid)
    assert len(programs) == 2
    running.process.kill()
    running.wait()
    assert len(fields(out, "frame.number")) == 10
    # the kernel frees programs a moment after their last descriptor
    deadline = time.monotonic() + 10
    while any(map(_exists, programs)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_exists, programs))


def _programs_of(process: int) -> set[int]:
    """The ids of the BPF programs that a process holds, directly or by what they are attached with."""
    found = set()
    for info in Path(f"/proc/{process}/fdinfo").iterdir():
        found |= {int(number) for number in re.findall(r"^prog_id:\s+(\d+)$", info.read_text(), re.MULTILINE)}
    return found


def _exists(program: int) -> bool:
    descriptor = load().bpf_prog_get_fd_by_id(program)
    if descriptor >= 0:
        os.close(descriptor)
    return bool(descriptor >= 0)


def test_time_ends_the_run() -> None:
    before = time.monotonic()
    done = run("--time", "500ms", "-e", 'interval:100ms { printf("tick\\n"); } end { printf("end\\n"); }')
    assert done.status == 0
    assert 3 <= done.out.count("tick\n") <= 5
    assert done.out.endswith("end\n")
    assert time.monotonic() - before < 30


def test_begin_alone_ends_by_itself() -> None:
    done = run("-e", 'begin { printf("%s %d\\n", hook, 6 * 7 - 2 / 0); } end { printf("bye\\n"); }')
    assert (done.status, done.out) == (0, "begin 42\nbye\n")


def test_exit_stops_at_once_and_gives_the_status(net: Network) -> None:
    program = "tx /icmp/ { print; exit(7); }"
    done = run("-e", program, "--cmd", f"{net.in_a('ping -f -c 500 10.78.0.2')} >&2")
    assert done.status == 7
    assert len(done.out.splitlines()) == 1


def test_signed_and_unsigned_values(net: Network) -> None:
    statements = "@n = sum(40 - len); @h = hist(len - 1000); @d = sum(0 - len / 4 * 4 % 1000);"
    program = f"rx /icmp and icmp[icmptype] == icmp-echo/ {{ {statements} }}"
    done = run("-i", net.right, "-e", program, "--cmd", f"{net.in_a('ping -c 3 -i 0.2 10.78.0.2')} >&2")
    # 98 bytes each
    assert "@n: -174\n" in done.out
    assert re.search(r"^\(\.\.\., 0\) +3 \|", done.out, re.MULTILINE)
    assert "@d: -288\n" in done.out


def test_count_agrees_with_the_interfaces_own(net: Network) -> None:
    packets = net.in_a(f"cat /sys/class/net/{net.left}/statistics/tx_packets")
    command = f"echo from $({packets}) >&2; {net.in_a('ping -f -c 3000 10.78.0.2')} >&2; echo to $({packets}) >&2"
    done = run("-e", "tx { @[ifname] = count(); @bytes[ifname, netns] = sum(len); }", "--cmd", command)
    first, last = re.findall(r"^(?:from|to) (\d+)$", done.err, re.MULTILINE)
    # between the last look and the end the host may send something of its own accord, such as a router solicitation
    latest = int(sh(packets))
    match = re.search(rf"@\[{net.left}\]: (\d+)", done.out)
    assert match, done.out
    assert 3000 <= int(last) - int(first) <= int(match[1]) <= latest - int(first)
    assert re.search(rf"@bytes\[{net.left}, {net.netns(net.a)}\]: \d+", done.out)


def test_raw_ip_is_filtered_and_written_as_raw_ip(net: Network, tmp_path: Path) -> None:
    """A tun device has no link header."""
    out = tmp_path / "raw.pcapng"
    sh(net.in_a("ip tuntap add mode tun name xtun0"))
    sh(net.in_a("ip address add 10.79.0.1/24 dev xtun0"))
    sh(net.in_a("ip link set xtun0 up"))
    program = (
        "drop, tx /icmp and dst host 10.79.0.2/ { dump; } drop, tx /arp or ether host 1:2:3:4:5:6/ { @l2 = count(); }"
    )
    # nobody reads the device: the packets are dropped on their way out
    done = run("-e", program, "-w", str(out), "--cmd", f"{net.in_a('ping -c 2 -i 0.2 -W 1 10.79.0.2')} >&2; true")
    assert done.status == 0, done.err
    rows = fields(out, "frame.encap_type", "ip.dst", "frame.len", "frame.interface_name")
    assert rows
    assert {(row[0], row[1], row[2]) for row in rows} == {("7", "10.79.0.2", "84")}


def test_a_hook_has_its_arguments(net: Network) -> None:
    ping = f"{net.in_a('ping -c 2 -i 0.2 10.78.0.2')} >&2"
    program = 'rawtracepoint:net_dev_xmit /icmp/ { printf("%d %d\\n", args.rc, args.skb_len); }'
    assert run("-c", "1", "-e", program, "--cmd", ping).out == "0 98\n"
    program = 'tracepoint:net:netif_receive_skb /icmp/ { printf("%d %s\\n", args.len, ifname); }'
    assert run("-c", "1", "-e", program, "--cmd", ping).out == f"84 {net.right}\n"


def test_lost_events_are_told(net: Network, tmp_path: Path) -> None:
    """The reader is stopped while more is sent than the buffer holds."""
    running = Running("-e", "tx /udp port 9/ { dump; }", "-w", str(tmp_path / "l.pcapng"))
    running.process.send_signal(signal.SIGSTOP)
    code = "import socket as s; u = s.socket(s.AF_INET, s.SOCK_DGRAM); to = ('10.78.0.2', 9)"
    sh(net.in_a(f'{sys.executable} -c "{code}; [u.sendto(bytes(1400), to) for _ in range(40000)]"'))
    running.process.send_signal(signal.SIGCONT)
    time.sleep(1)
    done = running.stop()
    assert done.status == 0, done.err
    assert done.lost > 0
    assert len(fields(tmp_path / "l.pcapng", "frame.number")) + done.lost == 40000


def test_the_example_and_the_demo(net: Network, tmp_path: Path) -> None:
    net.drop_icmp()
    out = tmp_path / "e.pcapng"
    done = run("-i", net.right, "-w", str(out), str(EXAMPLES / "drops.xcap"), "--cmd", f"{net.in_a(PING)}; true")
    assert done.status == 0, done.err
    assert done.out.count("NETFILTER_DROP\n") == 5
    assert len(fields(out, "frame.number")) >= 5
