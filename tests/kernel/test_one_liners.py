"""Every one-liner of docs/one-liners.md does on real traffic what the page shows, or is refused as it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from afxdp_sender import SENDER, frame
from network import Network, make_network, remove_network, sh
from programs import SOURCES, written
from test_dpdk import FLAGS, command, file_of
from test_dpdk import made as build
from traffic import datagrams, python
from xcap import Done, Running, run

from tests.packets import eth, ipv4, ipv6, udp

pytestmark = pytest.mark.kernel

PAGE = Path(__file__).parents[2] / "docs" / "one-liners.md"
SHOWN = re.compile(r"^    # (xcap -e .*)\n((?:(?:    .*)?\n)*?)(?=\n*(?:    #|\S|\Z))", re.MULTILINE)
REFUSED = re.compile(r"^-e:\d+:\d+: error: ", re.MULTILINE)
AT_FUNCTIONS = re.compile(r"\b(kprobe|kretprobe|fentry|fexit):")
KPROBES = Path("/sys/bus/event_source/devices/kprobe")
BAR = re.compile(r"\|[@ ]*\|$", re.MULTILINE)


@dataclass(frozen=True)
class OneLiner:
    """A command, and what the page shows below it."""

    command: str
    shown: str

    @property
    def refused(self) -> bool:
        return REFUSED.search(self.shown) is not None

    @property
    def lacks(self) -> str | None:
        """What this machine lacks that it takes."""
        if AT_FUNCTIONS.search(self.command) and not KPROBES.exists():
            return "this kernel has no kprobes: make test-vm runs it"
        return "needs DPDK" if "dpdk" in self.command and FLAGS is None else None


def one_liners() -> list[OneLiner]:
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    return [
        OneLiner(match[1], "\n".join(line.removeprefix("    ") for line in match[2].strip("\n").splitlines()))
        for match in SHOWN.finditer(text)
    ]


def here(net: Network, text: str) -> str:
    """The page's hosts and devices are those of the test."""
    text = re.sub(r"\b10\.0\.0\.([12])\b", r"10.78.0.\1", text)
    text = text.replace("va@blue", f"{net.left}@{net.a}").replace("vb@red", f"{net.right}@{net.b}")
    for theirs, ours in (("blue", net.a), ("va", net.left), ("vb", net.right)):
        text = text.replace(f'"{theirs}"', f'"{ours}"')
    return text


def shape(line: str) -> str:
    """A line without what differs from run to run: numbers, names of devices, how often an option is there."""
    line = re.sub(r"\b(va|vb|x[lr]\d+-\d+)\b", "DEVICE", line.strip())
    line = re.sub(r", \d+ without a packet$", "", re.sub(r"\bpackets\b", "packet", line))
    return re.sub(r"\bpython[\d.]*\b", "python", re.sub(r"0x[0-9a-f]+|\d+", "0", line))


def traffic(net: Network) -> None:
    """Something for each: web, databases, names, tunnels, pings; some of it dropped by a firewall."""
    sh(net.in_b("iptables -A INPUT -p tcp --dport 443 -j DROP"))
    sh(net.in_b("iptables -A INPUT -p icmp -j DROP"))
    server = python("""
        import threading
        def answer(port):
            listening = socket.create_server(("10.78.0.2", port))
            while True:
                connection, _ = listening.accept()
                connection.recv(100)
                connection.sendall(bytes(3000))
                connection.close()
        for port in 80, 5432:
            threading.Thread(target=answer, args=(port,), daemon=True).start()
        time.sleep(6)
    """)
    inner = "02000000000202000000000108004500002800010000400666cd0a0000010a000002"
    inner += "c00000500000000100000000500220000000"
    tunnel = python(f"""
        s = socket.socket(type=socket.SOCK_DGRAM)
        s.sendto(bytes.fromhex("0800000000002a00" + "{inner}" + "0000"), ("10.78.0.2", 4789))
    """)
    # the other way than the rest: where an XDP program is, the receiving end of a veth pair is another
    past = net.in_b(f"{sys.executable} {SENDER} send {net.right} 10 {frame(net).hex()}")
    block = net.in_b("iptables -A INPUT -p tcp --dport 5432 -j DROP")
    sh(
        f"{net.in_b(server)} & sleep 0.7; {net.in_a('ping -c 3 -i 0.2 -W 1 10.78.0.2')}; "
        f"{net.in_a(client('postgres', 5432))}; {net.in_a(client('wget', 80))}; {net.in_a(tunnel)}; "
        f"{past}; {net.in_a(datagrams(2, 53, 40))}; {net.in_a(client('curl', 443))}; {block}; "
        f"{net.in_a(client('postgres', 5432))}; wait"
    )


def client(name: str, port: int) -> str:
    """A program of this name that asks for something, and waits for at most a second and a half."""
    return python(f"""
        open("/proc/self/comm", "w").write("{name}")
        s = socket.socket()
        s.settimeout(1.5)
        if s.connect_ex(("10.78.0.2", {port})) == 0:
            s.sendall(b"please")
            while s.recv(1000):
                pass
    """)


def made(directory: Path) -> dict[str, str]:
    """The page's programs: where each is, and the command that lets it handle some packets."""
    plain = [eth(0x86DD, ipv6(17, udp(1, port, bytes(40)))) for port in (53, 4789, 5000)] + [eth(0x0800, ipv4(1, b""))]
    tagged = [eth(0x8100, bytes((0, 7)) + packet[12:]) for packet in plain]
    frames = directory / "frames"
    subprocess.run(["cc", "-O2", "-o", frames, SOURCES / "frames.c"], check=True)
    commands = {"/opt/fwd/fwd": f"{frames} {written(directory / 'packets', plain)}"}
    if FLAGS is not None:
        forward = build(directory)
        commands["/usr/bin/dpdk-testpmd"] = command(forward, file_of(directory / "tagged.pcap", tagged))
    return commands


def with_programs(text: str, programs: dict[str, str]) -> str:
    for theirs, ours in programs.items():
        text = text.replace(theirs, ours.split()[0])
    return text


def run_all(net: Network, commands: list[str], directory: Path) -> dict[str, Done]:
    """What each command prints, all of them at the same traffic."""
    running: dict[str, Running] = {}
    programs = made(directory)
    try:
        for number, command in enumerate(commands):
            own = directory / str(number)
            own.mkdir()
            running[command] = Running(*shlex.split(with_programs(here(net, command), programs))[1:], cwd=own)
        traffic(net)
        for command_line in programs.values():
            sh(command_line)
        return {command: one.stop() if one.process.poll() is None else one.wait() for command, one in running.items()}
    finally:
        for one in running.values():
            one.process.kill()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Done]]:
    net = make_network()
    try:
        wanted = [one.command for one in one_liners() if one.lacks is None and not one.refused]
        # with an XDP program at it, a veth device takes another way, past netif_rx
        apart = [[one for one in wanted if ("xdp:" in one) == xdp] for xdp in (False, True)]
        found = run_all(net, apart[0], tmp_path_factory.mktemp("one-liners"))
    finally:
        remove_network(net)
    net = make_network()
    try:
        yield found | run_all(net, apart[1], tmp_path_factory.mktemp("xdp"))
    finally:
        remove_network(net)


def test_the_page_has_all() -> None:
    assert len(re.findall(r"^## \d+\. ", PAGE.read_text(), re.MULTILINE)) == 25
    assert len(one_liners()) >= 25


@pytest.mark.parametrize("one", [pytest.param(o, id=o.command) for o in one_liners() if not o.refused])
def test_it_shows_what_the_page_shows(one: OneLiner, ran: dict[str, Done]) -> None:
    if one.lacks is not None:
        pytest.skip(one.lacks)
    shows_what_the_page_shows(one, ran[one.command])


def shows_what_the_page_shows(one: OneLiner, done: Done) -> None:
    assert done.status == 0, done.err
    found = {shape(line) for line in (done.out + done.err).splitlines()}
    for line in BAR.sub("", one.shown).splitlines():
        # how many buckets there are, and what else is counted, is a matter of chance
        if line and not line.startswith(("[", "    ", "...")) and " were judged by " not in line:
            assert shape(line) in found, (line, done.out, done.err)


@pytest.mark.parametrize("one", [pytest.param(o, id=o.command) for o in one_liners() if o.refused])
def test_it_is_refused_as_the_page_says(one: OneLiner) -> None:
    done = run(*shlex.split(one.command)[1:])
    assert (done.status, done.out) == (1, "")
    assert done.err.rstrip("\n") == one.shown
