"""tcpdump on a device, as the judge of what passes it."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

PATIENCE = 30


class Tcpdump:
    """Captures whole packets of a device in a namespace to a file, from when the block begins until it ends."""

    def __init__(self, host: str, device: str, path: Path, *words: str) -> None:
        self._command = [
            "ip",
            "netns",
            "exec",
            host,
            "tcpdump",
            "-p",
            "-nn",
            "-i",
            device,
            "-s",
            "262144",
            "-B",
            "65536",
        ]
        self._command += ["--immediate-mode", "-U", "-w", str(path), *words]
        self._path = path
        self.captured = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        # tcpdump says so when its socket is open
        while "listening" not in self._process.stderr.readline():
            assert self._process.poll() is None
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.3)  # what has come is on its way to the file
        self._process.send_signal(signal.SIGINT)
        _, errors = self._process.communicate(timeout=PATIENCE)
        match = re.search(r"(\d+) packets? captured", errors)
        dropped = re.search(r"(\d+) packets? dropped by kernel", errors)
        assert match, errors
        assert dropped, errors
        assert dropped[1] == "0", errors
        self.captured = int(match[1])
