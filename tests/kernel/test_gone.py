"""Interfaces that are removed under a run: it says so, once, and goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from network import Network, sh
from xcap import PATIENCE, Running

from xcapscript.runtime.attach.clsact import INGRESS, Filter
from xcapscript.runtime.attach.held import is_gone

pytestmark = pytest.mark.kernel


@pytest.fixture
def spare(net: Network) -> Iterator[str]:
    """An interface of host a that may go."""
    name = f"g{net.left}"
    sh(f"ip -n {net.a} link add {name} type veth peer name peer; ip -n {net.a} link set {name} up")
    yield name
    sh(f"ip -n {net.a} link del {name}", check=False)


def wait_for(running: Running, text: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while text not in running.told():
        assert time.monotonic() < deadline, running.told()
        time.sleep(0.05)


def test_all_hooks_of_one_interface(net: Network, spare: str) -> None:
    place = f"{spare}@{net.a}"
    hooks = [f"xdp:{place}", f"tc:{place}:ingress", f"tc:{place}:egress", f"socket:{place}"]
    running = Running("-e", " ".join(f"{hook} {{ @ = count(); }}" for hook in hooks))
    sh(f"ip -n {net.a} link del {spare}")
    told = f"xcap: {place} is gone: {', '.join(hooks)} see no more packets\n"
    wait_for(running, told)
    wait_for(running, "xcap: no interface of the program is left: there will be no more packets, and Ctrl-C ends it\n")
    time.sleep(1.5)
    done = running.stop()
    assert done.status == 0, done.err
    assert done.err.count("is gone") == 1
    assert done.err.count("is left") == 1


def test_one_of_several(net: Network, spare: str) -> None:
    running = Running("-e", f"socket:*@{net.a} /icmp/ {{ @ = count(); }} begin {{ @b = count(); }}")
    sh(f"ip -n {net.a} link del {spare}")
    wait_for(running, f"xcap: {spare}@{net.a} is gone: socket:*@{net.a} sees no more packets of it\n")
    assert "3 received" in sh(net.in_a("ping -c 3 -i 0.05 10.78.0.2"))
    done = running.stop()
    assert done.status == 0, done.err
    assert "@: 6" in done.out
    assert "is left" not in done.err


def test_a_namespace_that_goes_takes_its_interfaces_along() -> None:
    name = f"xt-gone-{time.monotonic_ns()}"
    sh(f"ip netns add {name}; ip -n {name} link add d0 type veth peer name d1; ip -n {name} link set d0 up")
    try:
        running = Running("-e", f"xdp:d0@{name} {{ @ = count(); }}")
    finally:
        sh(f"ip netns delete {name}")
    wait_for(running, f"xcap: d0@{name} is gone: xdp:d0@{name} sees no more packets\n")
    assert running.stop().status == 0


def test_a_filter_of_clsact_knows_when_its_interface_is_gone(net: Network, spare: str) -> None:
    """What stands for a tc hook before Linux 6.6."""
    index = int(sh(net.in_a(f"cat /sys/class/net/{spare}/ifindex")))
    descriptor = os.open(f"/run/netns/{net.a}", os.O_RDONLY)
    found = Filter(descriptor, index, INGRESS, "nobody's", "")
    assert not is_gone(found)
    sh(f"ip -n {net.a} link del {spare}")
    assert is_gone(found)
    found.close()
