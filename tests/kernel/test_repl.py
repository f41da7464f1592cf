"""The prompt at a real terminal, on real traffic: what a person types, and sees."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xcap
from network import Network, sh
from terminal import Terminal
from xcap import PATIENCE

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux: a terminal to type at"),
]

FLOOD = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(300000):
    s.sendto(b"x", ("10.78.0.2", 9))
"""


@pytest.fixture
def open_xcap(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_one(*arguments: str, **given: object) -> Terminal:
        opened.append(Terminal(tmp_path, *arguments, **given))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.close()


@pytest.fixture
def dropping(net: Network) -> Iterator[Network]:
    """Pings that are dropped, until the test is over."""
    net.drop_icmp()
    with subprocess.Popen(
        net.in_a("ping -i 0.2 10.78.0.2").split(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as ping:
        try:
            yield net
        finally:
            ping.kill()


def test_exploring_a_kernel_by_typing(dropping: Network, open_xcap: Callable[..., Terminal], tmp_path: Path) -> None:
    t = open_xcap()
    # a hook with Tab, after its completions have been seen
    t.type("dro")
    t.see("a packet is thrown away")
    t.keys("Tab")
    t.see("xcap> drop")
    t.type(f' /icmp and ifname == "{dropping.right}"/')
    t.keys("Enter")
    t.see("[1] 1 probe attached", f"drop {dropping.right} IP 10.78.0.1 > 10.78.0.2: ICMP echo request")
    t.type("rx /icmp/ { count(ip.src, ifname); }")
    # packets are shown while it is being typed
    before = t.screen().count("echo request")
    t.until(lambda: t.screen().count("echo request") > before + 3)
    t.until(lambda: "xcap> rx /icmp/ { count(ip.src, ifname); }" in t.visible())
    t.keys("Enter")
    t.see("[2] 1 probe attached", "2 running", "[1] ")
    t.type(".maps\n")
    t.see("[2] @count: count, ")
    t.type(".stop 1\n")
    t.see("[1] stopped: ", "1 running")
    t.type(".print @count\n")
    t.see(f"10.78.0.1  {dropping.right}")
    t.type(".save s.xcap\n")
    t.see("1 clause saved: run it with xcap s.xcap")
    t.keys("C-d")
    t.see("1 clause is running: stop it and leave? [Y/n]")
    t.keys("Enter")
    assert t.status() == 0
    assert "[2] stopped: " in t.screen()
    done = xcap.run(str(tmp_path / "s.xcap"), "--time", "2s")
    assert done.status == 0, done.err
    counted = re.search(rf"@count\[10\.78\.0\.1, {dropping.right}\]: (\d+)", done.out)
    assert counted, done.out
    assert int(counted[1]) > 0


def test_what_is_counted_is_what_the_firewall_dropped(net: Network, open_xcap: Callable[..., Terminal]) -> None:
    net.drop_icmp()
    t = open_xcap()
    t.type(f'drop /icmp and ifname == "{net.right}"/ {{ count(reason); }}\n')
    t.see("[1] 1 probe attached")
    sh(net.in_a("ping -c 7 -i 0.05 -W 1 10.78.0.2"), check=False)
    t.type(".stop 1\n")
    screen = t.see("[1] stopped: ")
    assert re.search(r"NETFILTER_DROP +7\n", screen), screen
    assert net.icmp_drops() == 7
    t.keys("C-d")
    assert t.status() == 0


def test_packets_go_to_a_file(net: Network, open_xcap: Callable[..., Terminal], tmp_path: Path) -> None:
    net.drop_icmp()
    t = open_xcap()
    t.type(".write drops.pcapng\n")
    t.type(f'drop /icmp and ifname == "{net.right}"/ {{ dump; }}\n')
    t.see("[1] 1 probe attached")
    sh(net.in_a("ping -c 5 -i 0.05 -W 1 10.78.0.2"), check=False)
    t.see("B written")
    t.type(".quit\n")
    assert t.status() == 0
    assert "[1] 5 packets written to drops.pcapng" in t.screen()
    assert sh(f"tcpdump -nr {tmp_path}/drops.pcapng 2>/dev/null | grep -c 'echo request'").strip() == "5"


def test_the_last_packets_are_kept_and_a_clause_ends_in_time(
    net: Network, open_xcap: Callable[..., Terminal], tmp_path: Path
) -> None:
    net.drop_icmp()
    t = open_xcap("--last", "3", "-w", "last.pcapng")
    t.type(f'drop /icmp and ifname == "{net.right}"/ {{ dump; }}\n')
    t.see("[1] 1 probe attached")
    sh(net.in_a("ping -c 7 -i 0.05 -W 1 10.78.0.2"), check=False)
    t.type(".stop 1\n")
    t.see("[1] 3 packets written to last.pcapng")
    shown = sh(f"tcpdump -nr {tmp_path}/last.pcapng 2>/dev/null")
    assert re.findall(r"echo request, id \d+, seq (\d+),", shown) == ["5", "6", "7"]
    t.type(".set time 1s\n")
    t.see("time 1s")
    t.type("drop /icmp/ { count(); }\n")
    t.see("[2] 1 probe attached", "[2] stopped: ")
    t.type(".write /nowhere/p.pcapng\n")
    t.see("cannot write '/nowhere/p.pcapng': No such file or directory")


def test_what_clauses_print_goes_to_a_file_as_json(
    net: Network, open_xcap: Callable[..., Terminal], tmp_path: Path
) -> None:
    net.drop_icmp()
    t = open_xcap("-o", "lines.json", "-f", "json")
    t.type(f'drop /icmp and ifname == "{net.right}"/\n')
    t.see("[1] 1 probe attached")
    sh(net.in_a("ping -c 4 -i 0.05 -W 1 10.78.0.2"), check=False)
    t.type(".stop 1\n")
    t.see("[1] stopped: ", "4 matched")
    lines = [json.loads(line) for line in (tmp_path / "lines.json").read_text().splitlines()]
    assert [line["type"] for line in lines] == ["packet"] * 4 + ["end"]
    assert net.icmp_drops() == 4
    assert "echo request" not in t.screen()


def test_a_clause_that_loses_events_says_once_what_helps(net: Network, open_xcap: Callable[..., Terminal]) -> None:
    t = open_xcap(columns=160)
    t.type(".set buffer_size 4096\n")
    t.see("buffer_size 4096")
    t.type(f'tx /udp and ifname == "{net.left}"/\n')
    t.see("[1] 1 probe attached")
    with subprocess.Popen([*net.in_a("python3 -c").split(), FLOOD]) as sender:
        t.see(" so far (tx): try .set buffer_size 32M, a smaller snaplen or a narrower filter, and start it anew")
        t.until(lambda: re.search(r"1 running \| \S+/s \| (?!0 )\S+ lost", t.visible()[-1]) is not None)
        sender.wait()
    t.type(".stop 1\n")
    t.see("[1] stopped: ")
    assert t.screen().count(" so far (tx)") == 1


def test_an_interface_that_is_removed_is_told_of(net: Network, open_xcap: Callable[..., Terminal]) -> None:
    t = open_xcap()
    sh(f"ip -n {net.a} link add d0 type veth peer name d1; ip -n {net.a} link set d0 up")
    t.type(f"xdp:d0@{net.a} /icmp/\n")
    t.see("[1] 1 probe attached")
    sh(f"ip -n {net.a} link del d0")
    t.see(f"[1] d0@{net.a} is gone: xdp:d0@{net.a} sees no more packets\n")
    t.see("[1] no interface of the program is left: there will be no more packets, and .stop 1 ends it\n", "1 running")


def test_a_full_disk_says_what_is_there(net: Network, open_xcap: Callable[..., Terminal], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    sh(f"mount -t tmpfs -o size=64k tmpfs {disk}")
    try:
        t = open_xcap("-w", f"{disk}/full.pcapng")
        t.type(f'tx /udp and ifname == "{net.left}"/ {{ dump; }}\n')
        t.see("[1] 1 probe attached")
        sh(net.in_a(f"python3 -c '{FLOOD}'"))
        found = re.search(r"\[1\] disk full: (\d+) packets are in \S+/full\.pcapng\n", t.see("packets are in "))
        assert found, t.screen()
        assert sh(f"tcpdump -nr {disk}/full.pcapng 2>/dev/null | wc -l").strip() == found[1]
    finally:
        sh(f"umount {disk}")


def test_ctrl_c_is_for_the_command_that_has_the_terminal(open_xcap: Callable[..., Terminal]) -> None:
    t = open_xcap()
    t.type("!echo began; sleep 60\n")
    t.see("\nbegan\n")
    t.keys("C-c")
    t.see("\ninterrupted by SIGINT\n", "xcap>")
    t.type(".maps\n")
    t.see("no clause has a map")


def test_a_pager_that_is_taken_says_how_it_is_left(open_xcap: Callable[..., Terminal]) -> None:
    t = open_xcap(rows=12)
    t.type(".help\n")
    t.see("q leaves, space goes on")
    t.keys("q")
    t.until(lambda: "xcap>" in "".join(t.visible()))


def test_a_flood_leaves_the_prompt_usable(net: Network, open_xcap: Callable[..., Terminal]) -> None:
    t = open_xcap()
    t.type("tx /udp/\n")
    t.see("[1] 1 probe attached")
    with subprocess.Popen([*net.in_a("python3 -c").split(), FLOOD]) as sender:
        t.see(" more\n", " not shown")
        t.type(".ls")
        t.see("xcap> .ls")
        t.keys("Enter")
        t.see("[1] running: ")
        sender.kill()
    t.keys("C-d")
    t.see("leave?")
    t.keys("Enter")
    assert t.status() == 0


def test_maps_are_watched_live_below_the_prompt(dropping: Network, open_xcap: Callable[..., Terminal]) -> None:
    t = open_xcap()
    t.type(f'drop /icmp and ifname == "{dropping.right}"/ {{ count(reason); }}\n')
    t.see("[1] 1 probe attached")
    t.type(".watch @count\n")
    t.until(lambda: watched(t) > 0)
    first = watched(t)
    t.until(lambda: watched(t) > first)
    t.keys("C-c")
    t.until(lambda: "@count" not in "".join(t.visible()[-4:]))


def watched(t: Terminal) -> int:
    """The number beside the reason, below the prompt."""
    found = re.findall(r"xcap>\s+@count +count\n +NETFILTER_DROP +(\d+)", "\n".join(t.visible()))
    return int(found[-1]) if found else 0


@pytest.mark.usefixtures("dropping")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_the_terminal_as_it_was(
    open_xcap: Callable[..., Terminal], number: signal.Signals
) -> None:
    t = open_xcap()
    t.type("drop /icmp/\n")
    t.see("echo request")
    tty = Path(f"/proc/{t.process()}/fd/0").readlink()
    os.kill(t.process(), number)
    assert t.status() == 0
    assert "[1] stopped: " in t.screen()
    settings = sh(f"stty -a -F {tty}")
    assert " icanon" in settings
    assert " echo " in settings


@pytest.mark.usefixtures("dropping")
def test_a_terminal_that_is_closed_ends_it(open_xcap: Callable[..., Terminal], tmp_path: Path) -> None:
    t = open_xcap()
    t.type("drop /icmp/\n")
    t.see("echo request")
    process = t.process()
    t.close()
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "bug" not in (tmp_path / "errors").read_text()


def test_what_was_typed_is_there_the_next_time(open_xcap: Callable[..., Terminal], tmp_path: Path) -> None:
    t = open_xcap()
    t.type(".maps\n")
    t.see("no clause has a map")
    t.keys("C-d")
    assert t.status() == 0
    (tmp_path / "status").unlink()
    assert (tmp_path / "xcapscript" / "history").stat().st_mode & 0o77 == 0
    t = open_xcap()
    t.keys("Up")
    t.see("xcap> .maps")


@pytest.mark.usefixtures("dropping")
def test_a_narrow_terminal(open_xcap: Callable[..., Terminal]) -> None:
    t = open_xcap(columns=40, rows=20)
    t.type("drop /icmp/ { count(reason); }\n")
    t.see("[1] 1 probe attached", "1 running")
    t.type(".help dump\n")
    t.see("write the packet")
    t.type("rx { dupm; }\n")
    t.see("unknown action 'dupm'")
    t.keys("C-c")
    t.type(".stop 1\n")
    t.see("[1] stopped")
    assert all(len(line) <= 40 for line in t.visible())


@pytest.mark.usefixtures("dropping")
@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_a_dumb_terminal_and_one_without_utf8(open_xcap: Callable[..., Terminal], environ: dict[str, str]) -> None:
    t = open_xcap(environ=environ)
    t.type("drop /icmp/\n")
    t.see("[1] 1 probe attached", "echo request")
    t.type(".stop 1\n")
    t.see("[1] stopped: ")
    t.type("!echo \u00e4 \u2713 > said\n")
    t.type("rx { dupm; }\n")
    t.see("unknown action 'dupm'")
    t.keys("C-c", "C-d")
    assert t.status() == 0
