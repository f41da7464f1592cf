"""What the standard library falls back to where a kernel lacks the best, on Linux 6.1."""

from __future__ import annotations

import re

from network import Network, sh
from traffic import counter, datagrams, python
from xcap import run

WAITING, QUEUED = 7402, 7403
SENT = 40

PROGRAM = f"""
    import "listen";
    import "qdisc";
    listen /waiting() and sk.sport == {WAITING}/ {{ @waiting[func] = max(queued()); }}
    drop /udp dst port {QUEUED} and by_qdisc()/ {{ @dropped = count(); }}
"""

SERVER = python(f"""
    server = socket.create_server(("10.78.0.2", {WAITING}), backlog=8)
    time.sleep(20)
""")
CLIENT = python(f"""
    kept = [socket.create_connection(("10.78.0.2", {WAITING}), 60) for _ in range(3)]
    import subprocess, sys
    subprocess.run(sys.argv[1:])
""")


def test_listeners_by_a_kprobe_and_queues_by_the_reasons_that_there_are(net: Network) -> None:
    """sk_data_ready came with Linux 6.3, the finer reasons of queues with 6.14."""
    before = counter(net.b, "UdpNoPorts")
    sh(net.in_a(f"tc qdisc add dev {net.left} root handle 1: prio"))
    sh(net.in_a(f"tc qdisc add dev {net.left} parent 1:3 tbf rate 32kbit burst 1600 limit 3000"))
    # the datagrams alone go that way
    match = f"protocol ip parent 1: prio 1 u32 match ip dport {QUEUED} 0xffff flowid 1:3"
    sh(net.in_a(f"tc filter add dev {net.left} {match}"))
    seen = net.in_b(f"ss -Hltn sport = {WAITING}")
    send = f"{net.in_a(datagrams(SENT, QUEUED, 1000))}; sleep 5"
    traffic = f"{net.in_b(SERVER)} & sleep 5; {net.in_a(CLIENT)} {seen} >&2; {send}"
    done = run("-e", PROGRAM, "--cmd", traffic)
    assert (done.status, done.lost) == (0, 0), done.err
    (queue,) = re.findall(r"^LISTEN +(\d+) +8 ", done.err, re.MULTILINE)
    assert queue == "3"
    assert "@waiting[sock_def_readable]: 3\n" in done.out, done.out
    arrived = counter(net.b, "UdpNoPorts") - before
    assert 0 < arrived < SENT
    assert f"@dropped: {SENT - arrived}\n" in done.out
