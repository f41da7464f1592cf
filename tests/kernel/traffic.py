"""Programs that talk, for the tests to run in a host's namespace, and what the kernel itself counts there."""

from __future__ import annotations

import shlex
import sys
import textwrap
from pathlib import Path

from network import sh

COMM = Path(sys.executable).name[:15]
"""What the kernel calls a program that is written in Python."""

CONNECT = """
def connect(port):
    for _ in range(100):
        try:
            return socket.create_connection(("10.78.0.2", port))
        except ConnectionRefusedError:
            time.sleep(0.05)
"""
"""Python that gives a connection to host b, once somebody listens there."""


def python(code: str) -> str:
    """The command that runs some Python, which has CONNECT."""
    text = "import socket, time\n" + CONNECT + textwrap.dedent(code)
    return f"{sys.executable} -c {shlex.quote(text)}"


def datagrams(count: int, port: int, size: int) -> str:
    """UDP from host a to host b."""
    return python(f"""
        s = socket.socket(type=socket.SOCK_DGRAM)
        for _ in range({count}):
            s.sendto(bytes({size}), ("10.78.0.2", {port}))
    """)


def connections(count: int, port: int, wait: float = 5) -> str:
    """TCP from host a to host b, one after the other: what connect() says of each goes to standard error."""
    return python(f"""
        import os, sys
        for _ in range({count}):
            s = socket.socket()
            s.settimeout({wait})
            error = s.connect_ex(("10.78.0.2", {port}))
            print("connect:", os.strerror(error), file=sys.stderr)
            s.close()
    """)


def counter(host: str, name: str) -> int:
    """A counter of a host, as nstat tells it."""
    return int(sh(f"ip netns exec {host} nstat -asz {name}").splitlines()[-1].split()[1])
