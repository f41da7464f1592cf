"""Without root: what a user of no rights, and one of a few, can capture; and the one line on what is missing."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from network import Network
from xcap import PATIENCE, XCAP, Done

pytestmark = pytest.mark.kernel

USER = 65534
PINGS = "ping -c 3 -i 0.2 10.78.0.2"
RX = "rx /icmp and src host 10.78.0.1/"
TRACING = ("bpf", "perfmon")


def as_user(capabilities: Sequence[str], *arguments: str, before: Sequence[str] = (), home: str = "/nowhere") -> Done:
    """xcap run to its end by a user who has these capabilities, and no others."""
    some = ",".join(f"+{name}" for name in capabilities) or "-all"
    rights = ["--inh-caps", f"-all,{some}", "--ambient-caps", some] if capabilities else []
    user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *rights]
    done = subprocess.run(
        [*before, *user, "env", f"HOME={home}", "XDG_CACHE_HOME=", *XCAP, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def pinger(net: Network) -> Iterator[tuple[str, str]]:
    """A command that the user can give: root pings when a file appears, as its end is waited for."""
    # pytest's own folders are closed to others
    with tempfile.TemporaryDirectory(prefix="xcap-rights-") as folder:
        os.chown(folder, USER, USER)
        go, done = Path(folder, "go"), Path(folder, "done")
        script = f"until [ -e {go} ]; do sleep 0.05; done; {net.in_a(PINGS)}; touch {done}"
        with subprocess.Popen(script, shell=True, stdout=subprocess.DEVNULL) as process:
            yield f"touch {go}; until [ -e {done} ]; do sleep 0.05; done", folder
            go.touch()
            process.wait(PATIENCE)


@pytest.mark.parametrize("home", ["/nowhere", "own"])
def test_two_capabilities_are_enough_for_tracepoints(pinger: tuple[str, str], net: Network, home: str) -> None:
    command, folder = pinger
    program = f"{RX} {{ dump; @ = count(); @by[ifname, netns] = count(); }} begin {{ @b = 1; }}"
    out = f"{folder}/f.pcapng"
    place = folder if home == "own" else home
    done = as_user(TRACING, "-e", program, "-w", out, "--cmd", command, home=place)
    assert done.status == 0, done.err
    assert f"@by[{net.right}, {net.netns(net.b)}]: 3" in done.out
    shown = subprocess.check_output(["tcpdump", "-nr", out], text=True, stderr=subprocess.DEVNULL)
    assert shown.count("ICMP echo request") == 3
    # the types of the kernel are kept for the next time, where there is a home
    assert bool(list(Path(folder).glob(".cache/xcapscript/headers-*"))) == (home == "own")


def test_stacks_have_names_with_one_more(pinger: tuple[str, str]) -> None:
    command, _ = pinger
    program = f"{RX} {{ @[kstack(5)] = count(); }}"
    without = as_user(TRACING, "-e", program, "--time", "100ms")
    assert (without.status, without.err.splitlines()[0]) == (
        0,
        "functions of the kernel have no names here: they take CAP_SYSLOG",
    )
    done = as_user([*TRACING, "syslog"], "-e", program, "--cmd", command)
    assert "have no names" not in done.err
    assert "netif_receive_skb" in done.out or "netif_receive" in done.out
    assert "0xffff" not in done.out


@pytest.mark.parametrize(
    ("capabilities", "said"),
    [
        (
            (),
            (
                "xcap: capturing needs root\nxcap: run it with sudo, or with CAP_BPF and CAP_PERFMON; "
                "--check, --dump and -l work without\n"
            ),
        ),
        (("bpf",), "xcap: capturing needs CAP_PERFMON as well\nxcap: run it with sudo, or see 'xcap --doctor'\n"),
        (("perfmon",), "xcap: capturing needs CAP_BPF as well\nxcap: run it with sudo, or see 'xcap --doctor'\n"),
    ],
)
def test_what_is_missing_is_told(capabilities: tuple[str, ...], said: str) -> None:
    done = as_user(capabilities, "-e", RX, "--time", "1s")
    assert (done.status, done.err) == (3, said)


def test_tracepoints_take_a_tracefs_that_can_be_read(pinger: tuple[str, str]) -> None:
    command, _ = pinger
    program = "tracepoint:net:netif_receive_skb /icmp and src host 10.78.0.1/ { @ = count(); }"
    done = as_user(TRACING, "-e", program, "--time", "1s")
    assert done.status == 3
    first, second = done.err.splitlines()
    assert first.startswith("xcap: cannot open tracefs: ")
    assert "CAP_DAC_READ_SEARCH" in second
    # root's mount, in a namespace of mounts of its own
    mounted = ["unshare", "-m", "sh", "-c", 'mount -t tracefs tracefs /sys/kernel/tracing && exec "$@"', "sh"]
    done = as_user([*TRACING, "dac_read_search"], "-e", program, "--cmd", command, before=mounted)
    assert (done.status, done.out) == (0, "@: 3\n"), done.err


def test_perf_buffers_are_as_large_as_users_may_lock() -> None:
    done = as_user(TRACING, "-e", "rx { dump; }", "-w", "/dev/null", "--buffer", "perf", "--time", "1s")
    assert done.status == 3
    assert "kernel.perf_event_mlock_kb" in done.err
    done = as_user(
        [*TRACING, "ipc_lock"], "-e", "rx { dump; }", "-w", "/dev/null", "--buffer", "perf", "--time", "100ms"
    )
    assert done.status == 0, done.err


def test_roots_of_containers_are_told() -> None:
    done = subprocess.run(
        ["unshare", "-Ur", *XCAP, "-e", RX, "--time", "1s"],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 3
    assert done.stderr == (
        "xcap: capturing does not work from here: this is a user namespace (a rootless container), whose capabilities "
        "do not count for BPF\nxcap: run it outside, as root\n"
    )


@pytest.mark.parametrize("program", ["socket:lo@pid:1 { @ = count(); }", 'drop /netns == "pid:1"/ { @ = count(); }'])
def test_root_without_a_capability_is_told_which(program: str) -> None:
    without = ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]
    done = subprocess.run([*without, *XCAP, "--check", "-e", program], check=False, capture_output=True, text=True)
    assert done.returncode
    assert "CAP_SYS_PTRACE, which this root does not have" in done.stderr
    contained = ["unshare", "--user", "--map-root-user"]
    done = subprocess.run([*contained, *XCAP, "--check", "-e", program], check=False, capture_output=True, text=True)
    assert done.returncode
    assert "the process is outside of it" in done.stderr


def test_what_it_takes_to_enter_a_namespace_is_told(net: Network) -> None:
    without = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
    program = f"socket:{net.left}@{net.a} {{ @ = count(); }}"
    done = subprocess.run([*without, *XCAP, "--check", "-e", program], check=False, capture_output=True, text=True)
    assert done.returncode == 3
    assert "takes CAP_SYS_ADMIN" in done.stderr
