"""The archive that the kernel unpacks at first: busybox, the modules that the machine's devices need, and init."""

from __future__ import annotations

import lzma
import subprocess
from collections.abc import Iterator
from pathlib import Path

from debian import CannotBoot, Kernel

INIT = Path(__file__).with_name("guest") / "init"

MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
DIRECTORIES = ("bin", "dev", "proc", "modules", "host", "share", "cache", "top", "root")

_DIRECTORY, _PROGRAM = 0o040755, 0o100755


def write(path: Path, kernel: Kernel) -> None:
    """Write it for that kernel, as cpio's "newc" format."""
    with path.open("wb") as file:
        for name, mode, content in _entries(kernel):
            file.write(_entry(name, mode, content))


def _entries(kernel: Kernel) -> Iterator[tuple[str, int, bytes]]:
    for name in DIRECTORIES:
        yield name, _DIRECTORY, b""
    yield "init", _PROGRAM, INIT.read_bytes()
    yield "bin/busybox", _PROGRAM, kernel.busybox.read_bytes()
    # their order is that of their names
    for number, module in enumerate(_with_dependencies(kernel)):
        content = module.read_bytes()
        yield f"modules/{number:02}.ko", _PROGRAM, lzma.decompress(content) if module.suffix == ".xz" else content
    yield "TRAILER!!!", 0, b""


def _with_dependencies(kernel: Kernel) -> list[Path]:
    """The modules' files, each behind what it needs."""
    root = kernel.modules.parents[2]
    found: dict[Path, None] = {}
    for module in MODULES:
        command = ("modprobe", "-d", str(root), "-S", kernel.release, "--ignore-install", "--show-depends", module)
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise CannotBoot(f"Linux {kernel.release} has no module '{module}': {done.stderr.strip()}")
        for line in done.stdout.splitlines():
            if line.startswith("insmod "):
                found[Path(line.removeprefix("insmod ").strip())] = None
    return list(found)


def _entry(name: str, mode: int, content: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    numbers = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % number for number in numbers)
    return _padded(header + encoded) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
