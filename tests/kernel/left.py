"""What a run may leave behind in the hosts' namespaces, and which frames a file has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dpkt
from network import Network, sh


def attachments(net: Network) -> list[str]:
    """What is attached to the hosts' devices, as tc, ip and bpftool tell it."""
    found = []
    for host, device in ((net.a, net.left), (net.b, net.right)):
        for what in (
            f"filter show dev {device} ingress",
            f"filter show dev {device} egress",
            f"qdisc show dev {device}",
        ):
            found += [line for line in sh(f"tc -n {host} {what}").splitlines() if "noqueue" not in line]
        found += [line for line in sh(f"ip -n {host} -d link show {device}").splitlines() if "xdp" in line]
        found += [line for line in sh(f"ip netns exec {host} bpftool net").splitlines() if device in line]
    return found


@contextmanager
def leaving_nothing(net: Network) -> Iterator[None]:
    """Around runs: what is attached afterwards is what was before."""
    before = attachments(net)
    yield
    assert attachments(net) == before


def came_to_nothing(net: Network) -> bool:
    """Whether nothing is attached any more: a link goes with its last descriptor, which the compiler's process may have
    for a moment.
    """
    for _ in range(100):
        if not attachments(net):
            return True
        sh("sleep 0.05")
    return False


def frames(path: Path) -> Counter[bytes]:
    """How often each frame is in a file of either format."""
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        reader = dpkt.pcapng.Reader(file) if magic == b"\n\r\r\n" else dpkt.pcap.Reader(file)
        return Counter(data for _, data in reader)
