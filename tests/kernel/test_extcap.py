"""The plugin, as the distribution's tshark finds and starts it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from network import Network, sh
from xcap import PATIENCE, run

pytestmark = pytest.mark.kernel


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home, where the plugin is installed."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    done = run("--install-extcap")
    assert done.status == 0, done.err
    made = Path(done.out.split()[0])
    assert made.is_relative_to(tmp_path)
    assert os.access(made, os.X_OK)
    return tmp_path


@pytest.fixture
def pings(net: Network) -> Iterator[None]:
    """Five a second, as long as the test runs."""
    command = net.in_a("ping -i 0.2 -w 120 10.78.0.2")
    with subprocess.Popen(f"exec {command}", shell=True, stdout=subprocess.DEVNULL) as process:
        yield
        process.terminate()


def tshark(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["tshark", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL
    )


@pytest.mark.usefixtures("home")
def test_it_is_in_the_list() -> None:
    lines = [line for line in tshark("-D").stdout.splitlines() if "xcap" in line]
    assert len(lines) == 1
    assert lines[0].split(" ", 1)[1] == "xcap (xcap: kernel hooks)"
    assert "EN10MB (Ethernet)" in tshark("-L", "-i", "xcap").stdout


@pytest.mark.usefixtures("home", "pings")
def test_it_captures_at_the_hook_with_the_filter(net: Network, tmp_path: Path) -> None:
    out = tmp_path / "f.pcapng"
    expression = "icmp[icmptype] == icmp-echo and dst host 10.78.0.2"
    options = ("-o", "extcap.xcap.hook:rx", "-o", "extcap.xcap.snaplen:60")
    done = tshark("-i", "xcap", "-f", expression, "-c", "5", "-w", str(out), *options)
    assert done.returncode == 0, done.stderr
    text = sh(
        f"tshark -r {out} -Y 'frame.interface_name == \"{net.right}\"' -T fields "
        "-e icmp.type -e frame.interface_description -e frame.comment -e frame.cap_len 2>/dev/null"
    )
    rows = [line.split("\t") for line in text.splitlines()]
    assert rows
    for icmp_type, interface, comment, length in rows:
        assert icmp_type == "8"
        assert interface == f"rx (rawtracepoint:netif_receive_skb) in netns {net.netns(net.b)}"
        assert comment.startswith("rx pid=")
        assert length == "60"
    assert "Number of packets:   5" in sh(f"capinfos -c {out} 2>/dev/null")


@pytest.mark.usefixtures("home", "pings")
def test_what_is_dropped_is_captured_when_nothing_is_chosen(net: Network, tmp_path: Path) -> None:
    net.drop_icmp()
    out = tmp_path / "f.pcapng"
    done = tshark("-i", "xcap", "-f", "icmp and src host 10.78.0.1", "-c", "3", "-w", str(out))
    assert done.returncode == 0, done.stderr
    comments = sh(f"tshark -r {out} -T fields -e frame.comment 2>/dev/null").splitlines()
    assert len(comments) == 3
    assert all(comment.startswith("drop NETFILTER_DROP pid=") for comment in comments)


@pytest.mark.usefixtures("home", "pings")
def test_a_script_is_captured_with(net: Network, tmp_path: Path) -> None:
    script, out = tmp_path / "a script.xcap", tmp_path / "f.pcapng"
    script.write_text(f'rx /icmp and src host 10.78.0.1 and ifname == "{net.right}"/')
    done = tshark("-i", "xcap", "-c", "3", "-w", str(out), "-o", f"extcap.xcap.script:{script}")
    assert done.returncode == 0, done.stderr
    shown = sh(f"tshark -r {out} -T fields -e frame.interface_name -e ip.src 2>/dev/null").splitlines()
    assert shown == [f"{net.right}\t10.78.0.1"] * 3


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-f", "tcp prt 80"], "can't parse filter expression: syntax error"),
        (["-o", "extcap.xcap.hook:dorp"], "did you mean 'drop'?"),
    ],
)
def test_what_is_wrong_is_told_by_wireshark(tmp_path: Path, options: list[str], message: str) -> None:
    done = tshark("-i", "xcap", "-a", "duration:30", "-w", str(tmp_path / "f.pcapng"), *options)
    assert message in done.stderr
    assert done.returncode != 0


@pytest.mark.usefixtures("home")
def test_a_script_that_dumps_nothing_is_told(tmp_path: Path) -> None:
    script = tmp_path / "counts.xcap"
    script.write_text("rx { count(); }")
    done = tshark("-i", "xcap", "-a", "duration:30", "-w", str(tmp_path / "f"), "-o", f"extcap.xcap.script:{script}")
    assert "nothing in the program dumps" in done.stderr
    assert done.returncode != 0
