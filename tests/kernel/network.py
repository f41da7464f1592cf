"""Two hosts on this machine: network namespaces joined by a veth pair."""

from __future__ import annotations

import itertools
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_numbers = itertools.count()


def sh(command: str, *, check: bool = True) -> str:
    """Run a shell command; its standard output."""
    done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True, timeout=60)
    if check and done.returncode:
        raise AssertionError(f"{command}: {done.stderr}")
    return done.stdout


@dataclass(frozen=True)
class Network:
    """Hosts a and b, with the devices `left` (10.78.0.1, fd78::1) and `right` (10.78.0.2, fd78::2)."""

    a: str
    b: str
    left: str
    right: str

    def in_a(self, command: str) -> str:
        return f"ip netns exec {self.a} {command}"

    def in_b(self, command: str) -> str:
        return f"ip netns exec {self.b} {command}"

    def netns(self, name: str) -> int:
        """The inode of a namespace, which is how the kernel numbers it."""
        return Path(f"/run/netns/{name}").stat().st_ino

    def forget(self) -> None:
        """Host a will have to look for b; otherwise nobody asks who is there, as b knows a for good."""
        address = sh(self.in_a(f"cat /sys/class/net/{self.left}/address")).strip()
        for one in ("10.78.0.1", "fd78::1"):
            sh(f"ip -n {self.b} neigh replace {one} lladdr {address} dev {self.right} nud permanent")
        sh(self.in_a("ip neigh flush all"))

    def drop_icmp(self) -> None:
        sh(self.in_b("iptables -A INPUT -p icmp -j DROP"))

    def icmp_drops(self) -> int:
        """What iptables counted."""
        rows = sh(self.in_b("iptables -nvxL INPUT")).splitlines()
        return sum(int(row.split()[0]) for row in rows if "DROP" in row.split()[2:3])


def make_network() -> Network:
    number = f"{os.getpid()}-{next(_numbers)}"
    net = Network(f"xt-a-{number}", f"xt-b-{number}", f"xl{number}", f"xr{number}")
    sh(f"ip netns add {net.a}; ip netns add {net.b}")
    sh(f"ip link add {net.left} netns {net.a} type veth peer name {net.right} netns {net.b}")
    for name, device, last in ((net.a, net.left, 1), (net.b, net.right, 2)):
        sh(f"ip -n {name} address add 10.78.0.{last}/24 dev {device}")
        sh(f"ip -n {name} address add fd78::{last}/64 dev {device} nodad")
        sh(f"ip -n {name} link set lo up; ip -n {name} link set {device} up")
    # so that no test sees the first packet's address resolution, unless it is about that
    sh(net.in_a("ping -c 1 -W 2 10.78.0.2"))
    return net


def remove_network(net: Network) -> None:
    for name in (net.a, net.b):
        sh(f"for pid in $(ip netns pids {name}); do kill -9 $pid; done; ip netns delete {name}", check=False)
