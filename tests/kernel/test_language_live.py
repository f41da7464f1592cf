"""What the language says, on real packets: every number has an outside oracle."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from network import Network, sh
from xcap import Running, run

pytestmark = pytest.mark.kernel

SENDER = """
import socket, sys
count, port, size = map(int, sys.argv[1:])
s = socket.socket(type=socket.SOCK_DGRAM)
for _ in range(count):
    s.sendto(bytes(size), ("10.78.0.2", port))
"""
EACH = 20_000


def send(net: Network, count: int, port: int, size: int = 100, *, cpu: int | None = None) -> str:
    """The command that sends UDP packets from host a."""
    pinned = f"taskset -c {cpu} " if cpu is not None else ""
    return net.in_a(f"{pinned}{sys.executable} -c '{SENDER}' {count} {port} {size}")


def wanted(out: str, pattern: str) -> str:
    match = re.search(pattern, out, re.MULTILINE)
    assert match, out
    return match[1]


def test_no_update_is_lost_on_two_cpus(net: Network) -> None:
    """N packets, half of them from each CPU: every aggregation adds up to N."""
    program = (
        f'tx /udp and ifname == "{net.left}"/ {{ @n[udp.dport] = count(); @sum = sum(len); @h = hist(len); '
        "@l = lhist(len, 0, 200, 50); @st = stats(len); @min = min(len); @max = max(len); @plain[ip.dst]++; "
        "@avg = avg(len); }"
    )
    with_both = f"{send(net, EACH, 901, cpu=0)} & {send(net, EACH, 902, 50, cpu=1)}; wait"
    done = run("-e", program, "--cmd", with_both)
    assert done.status == 0, done.err
    total = EACH * (100 + 42) + EACH * (50 + 42)
    assert wanted(done.out, r"^@n\[901\]: (\d+)") == wanted(done.out, r"^@n\[902\]: (\d+)") == str(EACH)
    assert wanted(done.out, r"^@sum: (\d+)") == str(total)
    assert wanted(done.out, r"^@plain\[10\.78\.0\.2\]: (\d+)") == str(2 * EACH)
    assert wanted(done.out, r"^@st: (.*)") == f"count {2 * EACH}, average {total // (2 * EACH)}, total {total}"
    assert wanted(done.out, r"^@avg: (\d+)") == str(total // (2 * EACH))
    assert (wanted(done.out, r"^@min: (\d+)"), wanted(done.out, r"^@max: (\d+)")) == ("92", "142")
    assert re.search(rf"^\[64, 128\) +{EACH} ", done.out, re.MULTILINE)
    assert re.search(rf"^\[100, 150\) +{EACH} ", done.out, re.MULTILINE)


def test_a_full_map_is_told_with_its_losses(net: Network) -> None:
    program = f'option max_keys = 10; tx /udp and ifname == "{net.left}"/ {{ @m[udp.dport] = count(); }}'
    commands = "; ".join(send(net, 1, port) for port in range(700, 715))
    done = run("-e", program, "--cmd", commands)
    assert done.out.count("@m[") == 10
    assert "xcap: @m is full: 5 updates were lost" in done.err


def test_fields_are_what_tshark_reads(net: Network, tmp_path: Path) -> None:
    """Each packet's fields as printed, against those of the same packets in the file."""
    out = tmp_path / "f.pcapng"
    printed = "print(ip.version, ip.src, ip.dst, ip.ttl, ip.len, eth.src, udp.sport, udp.dport, udp.len, icmp.type);"
    program = f'tx /(ip or ip6) and ifname == "{net.left}" and has(eth)/ {{ dump; {printed} }}'
    commands = f"{send(net, 3, 901)}; {net.in_a('ping -c 2 -i 0.2 10.78.0.2')}; {net.in_a('ping -c 2 -i 0.2 fd78::2')}"
    done = run("-e", program, "-w", str(out), "--cmd", f"({commands}) >/dev/null")
    names = "ip.version ipv6.version ip.src ipv6.src ip.dst ipv6.dst ip.ttl ipv6.hlim ip.len ipv6.plen eth.src"
    names += " udp.srcport udp.dstport udp.length icmp.type icmpv6.type"
    columns = " ".join(f"-e {name}" for name in names.split())
    rows = sh(f"tshark -r {out} -T fields -E separator=, -E occurrence=f {columns} 2>/dev/null").splitlines()
    expected = []
    for row in rows:
        v4, v6, *rest = row.split(",")
        pairs = [a or b for a, b in zip(rest[0:8:2], rest[1:8:2], strict=True)]
        if v6:
            pairs[3] = str(int(pairs[3]) + 40)
        mac, *ports = rest[8:12]
        kind = rest[12] or rest[13]
        expected.append(" ".join([v4 or v6, *pairs, mac, *(port or "0" for port in ports), kind or "0"]))
    assert len(expected) >= 7
    assert done.out.splitlines() == expected


def test_conditions_choose_by_process_and_namespace(net: Network) -> None:
    """Two kinds of senders in two namespaces: only the right ones are counted."""
    program = (
        f'tx /icmp and netns == "{net.a}" and comm == "pi*"/ {{ @a = count(); }} '
        f'tx /icmp and netns == "{net.b}"/ {{ @b[comm] = count(); }} '
        f'tx /netns == "{net.a}" and (icmp[0] == 8 or uid == 12345)/ {{ @c = count(); }} '
        f'tx /not (icmp or comm != "nobody") and netns == "{net.a}"/ {{ @d = count(); }}'
    )
    commands = f"{net.in_a('ping -c 3 -i 0.2 10.78.0.2')}; {send(net, 5, 9)}"
    done = run("-e", program, "--cmd", f"({commands}) >/dev/null")
    assert wanted(done.out, r"^@a: (\d+)") == "3"
    assert wanted(done.out, r"^@b\[ping\]: (\d+)") == "3"
    assert wanted(done.out, r"^@c: (\d+)") == "3"
    assert "@d" not in done.out


def test_structures_are_what_the_system_says(net: Network) -> None:
    index = sh(net.in_a(f"cat /sys/class/net/{net.left}/ifindex")).strip()
    mtu = sh(net.in_a(f"cat /sys/class/net/{net.left}/mtu")).strip()
    program = (
        f'tx /udp port 901 and ifname == "{net.left}"/ {{ print(skb->dev->name, skb->dev->ifindex, skb.dev.mtu, '
        "skb->len, len, sk.family, sk.uid, (u8)skb->len, skb->sk->__sk_common.skc_net.net->ns.inum, "
        "sk.netns == netns); }"
    )
    done = run("-c", "1", "-e", program, "--cmd", send(net, 1, 901, 500))
    assert done.out.split() == [
        net.left,
        index,
        mtu,
        "542",
        "542",
        "2",
        "0",
        str(542 % 256),
        str(net.netns(net.a)),
        "1",
    ]


def test_what_cannot_be_read_gives_nothing_and_is_counted(net: Network) -> None:
    program = f'tx /udp port 901 and ifname == "{net.left}"/ {{ print(((struct sk_buff *)8)->len, *(u32 *)0); }}'
    done = run("--why", "-e", program, "--cmd", send(net, 2, 901))
    assert done.out == "0 0\n0 0\n"
    titles, counts = (re.split(r"  +", line.strip()) for line in done.err.splitlines()[-2:])
    assert dict(zip(titles, counts[1:], strict=True))["bad reads"] == "4"


def test_variables_functions_and_branches(net: Network) -> None:
    program = (
        'fn kind($port) { if ($port < 1024) { return "low"; } return "high"; } '
        f'tx /udp and ifname == "{net.left}"/ {{ $k = kind(udp.dport); $twice = len * 2; '
        'if ($k == "low" && $twice > 200) { @big[$k]++; } else { @small[$k] += 1; } '
        "if (udp.dport == 903) { return; } @rest = count(); }"
    )
    commands = "; ".join([send(net, 2, 901, 100), send(net, 3, 902, 10), send(net, 4, 2000, 100), send(net, 5, 903, 1)])
    done = run("-e", program, "--cmd", commands)
    assert wanted(done.out, r"^@big\[low\]: (\d+)") == "2"
    assert wanted(done.out, r"^@small\[low\]: (\d+)") == "8"
    assert wanted(done.out, r"^@small\[high\]: (\d+)") == "4"
    assert wanted(done.out, r"^@rest: (\d+)") == "9"


def test_a_map_that_a_later_clause_fills_times_packets(net: Network) -> None:
    """Read before it is written in the text; the time between two hooks is less than the whole run's."""
    program = (
        f'rx /@t[udp.dport] and ifname == "{net.right}"/ {{ @us = max((nsecs - @t[udp.dport]) / 1us); '
        f'delete(@t[udp.dport]); @n = count(); }} tx /udp and ifname == "{net.left}"/ {{ @t[udp.dport] = nsecs; }}'
    )
    done = run("-e", program, "--cmd", "; ".join(send(net, 1, port) for port in (801, 802, 803)))
    assert wanted(done.out, r"^@n: (\d+)") == "3"
    assert 0 <= int(wanted(done.out, r"^@us: (\d+)")) < 1_000_000
    assert "@t[" not in done.out


def test_a_limit_counts_only_hits_that_show_something(net: Network) -> None:
    program = f'tx /udp and ifname == "{net.left}"/ {{ if (udp.dport == 902) {{ print(udp.dport); }} @n = count(); }}'
    done = run("-c", "2", "-e", program, "--cmd", f"{send(net, 50, 901)}; {send(net, 9, 902)}; sleep 1")
    assert done.out.splitlines()[:2] == ["902", "902"]
    assert done.out.count("902") == 2
    assert int(wanted(done.out, r"^@n: (\d+)")) == 52


def test_json_has_every_event_and_the_losses(net: Network, tmp_path: Path) -> None:
    out = tmp_path / "lines"
    program = f'tx /udp and ifname == "{net.left}"/ {{ print; hex; print(ip.dst, flow); @n[ip.src] = count(); }}'
    done = run("-f", "json", "-o", str(out), "-e", program, "--cmd", send(net, 4, 901))
    assert done.status == 0, done.err
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["type"] for row in found].count("packet") == 8
    assert [row["values"][0] for row in found if row["type"] == "print"] == ["10.78.0.2"] * 4
    assert next(row["rows"] for row in found if row["type"] == "map") == [{"key": ["10.78.0.1"], "value": 4}]
    assert found[-1]["type"] == "end"
    assert found[-1]["hooks"][0]["lost"] == 0


def test_standard_error_that_is_full_ends_nothing(net: Network) -> None:
    command = f'tx /udp port 901 and ifname == "{net.left}"/ {{ print(len); }}'
    xcap = Path(sys.executable).with_name("xcap")
    with Path("/dev/full").open("w") as full:
        arguments = [str(xcap), "-e", command, "--cmd", send(net, 2, 901)]
        done = subprocess.run(arguments, check=False, stdout=subprocess.PIPE, stderr=full, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "142\n142\n")


CONNECTION = """
import socket
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    server = socket.create_server((address, 4443), family=family)
    client = socket.create_connection((address, 4443))
    client.close()
    server.accept()[0].close()
    server.close()
"""


def test_a_socket_has_a_packet_that_tshark_takes_for_right(net: Network, tmp_path: Path) -> None:
    """Headers made up from sockets: the same ends as the tracepoint's own record, and checksums that are right."""
    out = tmp_path / "states.pcapng"
    program = (
        f'tracepoint:sock:inet_sock_set_state /tcp port 4443 and netns == "{net.a}"/ {{ dump; '
        'printf("%s %s %d %d %d\\n", args.oldstate, args.newstate, args.dport, tcp.dport, ip.version); }'
    )
    done = run("-e", program, "-w", str(out), "--cmd", net.in_a(f"{sys.executable} -c '{CONNECTION}'"))
    lines = [line.split() for line in done.out.splitlines()]
    assert ["SYN_SENT", "ESTABLISHED", "4443", "4443", "4"] in lines
    assert ["SYN_SENT", "ESTABLISHED", "4443", "4443", "6"] in lines
    assert all(line[2] == line[3] for line in lines)
    checks = "-o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE"
    columns = "-e ip.checksum.status -e tcp.checksum.status -e tcp.dstport -e frame.comment -e _ws.malformed"
    rows = [row.split("\t") for row in sh(f"tshark {checks} -r {out} -T fields {columns} 2>/dev/null").splitlines()]
    assert len(rows) == len(lines)
    for (ip, tcp, port, comment, *malformed), line in zip(rows, lines, strict=True):
        assert (ip, tcp) == ("1" if line[4] == "4" else "", "1")
        assert port == line[3]
        assert " synthetic " in comment
        assert not any(malformed)


def test_a_retransmitted_segment_has_its_connection(net: Network) -> None:
    """The tracepoint's packet has no headers yet."""
    sh(net.in_b("iptables -A INPUT -p tcp --dport 7777 -j DROP"))
    program = f'tracepoint:tcp:tcp_retransmit_skb /dst port 7777 and netns == "{net.a}"/ {{ print(flow, sk.state); }}'
    connect = 'import socket; s = socket.socket(); s.settimeout(2.5); s.connect_ex(("10.78.0.2", 7777))'
    done = run("-c", "1", "-e", program, "--cmd", net.in_a(f"{sys.executable} -c '{connect}'"))
    assert re.fullmatch(r"TCP 10\.78\.0\.1:\d+ > 10\.78\.0\.2:7777 SYN_SENT\n", done.out), done.out + done.err


def test_a_flight_recorder_has_what_came_before(net: Network, tmp_path: Path) -> None:
    """Twenty packets, of which the last five before the trigger are in the file, and none after it."""
    out = tmp_path / "ring.pcapng"
    program = (
        f'tx /udp port 901 and ifname == "{net.left}"/ {{ ring("{out}", 5); }} '
        f'tx /udp port 902 and ifname == "{net.left}"/ {{ commit("{out}"); }}'
    )
    commands = "; ".join(send(net, 1, 901, size) for size in range(1, 9))
    done = run("-e", program, "--cmd", f"{commands}; {send(net, 1, 902)}; {send(net, 3, 901, 50)}")
    assert done.status == 0, done.err
    assert sh(f"tshark -r {out} -T fields -e udp.length 2>/dev/null").split() == [str(size + 8) for size in range(4, 9)]


def test_the_last_packets_of_a_file_are_kept(net: Network, tmp_path: Path) -> None:
    out = tmp_path / "last.pcapng"
    program = f'tx /udp port 901 and ifname == "{net.left}"/ {{ dump; }}'
    commands = "; ".join(send(net, 1, 901, size) for size in range(1, 9))
    done = run("-e", program, "-w", str(out), "--last", "3", "--cmd", commands)
    assert "3 packets written" in done.err
    assert sh(f"tshark -r {out} -T fields -e udp.length 2>/dev/null").split() == ["14", "15", "16"]


def test_only_one_process_counts(net: Network) -> None:
    """Two senders, of which one is asked for."""
    program = f'tx /udp and ifname == "{net.left}"/ {{ @[udp.dport] = count(); }}'
    sender = [*net.in_a(f"{sys.executable} -c").split(), f"input()\n{SENDER}", "4", "901", "1"]
    with subprocess.Popen(sender, stdin=subprocess.PIPE) as wanted_one:
        # `ip netns exec` becomes the command: it is the same process
        running = Running("-p", str(wanted_one.pid), "-e", program)
        sh(send(net, 3, 902))
        wanted_one.communicate(b"\n")
    assert running.stop().out == "@[901]: 4\n"


def test_what_is_not_in_a_map_of_strings_is_no_text() -> None:
    program = (
        'begin { @o[1] = "xyz"; $s = @o[2]; print("s", $s, "-"); if ($s == "") { print("empty"); } '
        'if (@o[2] == "xyz") { print("wrong"); } delete(@o[1]); print("s", @o[1], "-"); clear(@o); exit; }'
    )
    assert run("-e", program).out == "s  -\nempty\ns  -\n"


def test_a_parameter_cannot_steer_the_terminal() -> None:
    done = run("-e", "begin { print($1); exit; }", "\x1b[31m\udcff")
    assert done.out == "\\x1b[31m\\xff\n"


@pytest.mark.parametrize("loop", ['while (x) asm volatile("" : "+r"(x));', "for (u64 i = 0; i < x; i++) x ^= i * x;"])
def test_a_loop_without_an_end_that_the_kernel_sees_is_explained(loop: str) -> None:
    program = (
        f'c """\nstatic u64 forever(u64 x)\n{{\n    {loop}\n    return x;\n}}\n"""\nbegin {{ print(forever(nsecs)); }}'
    )
    done = run("-e", program)
    assert done.status == 1, done.err
    assert "-e:4:5: error: the kernel cannot see that this loop ends" in done.err
    assert "bound it by a constant" in done.err


@pytest.mark.parametrize("snaplen", [64, 0])
def test_caplen_is_what_is_kept(net: Network, tmp_path: Path, snaplen: int) -> None:
    out = tmp_path / "f.pcapng"
    program = "rx /icmp[icmptype] == icmp-echo/ { dump; hex; @ = max(caplen); }"
    ping = net.in_a("ping -c 1 -s 300 10.78.0.2")
    done = run("-i", net.right, "-s", str(snaplen), "-f", "json", "-w", str(out), "-e", program, "--cmd", ping)
    assert done.status == 0, done.err
    events = [json.loads(line) for line in done.out.splitlines()]
    kept = int(sh(f"tshark -r {out} -T fields -e frame.cap_len 2>/dev/null"))
    assert kept == (snaplen or 342)
    assert [event["caplen"] for event in events if event["type"] == "packet"] == [kept]
    assert [event["rows"][0]["value"] for event in events if event["type"] == "map"] == [kept]
