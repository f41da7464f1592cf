"""Runs a command as root under Debian's kernel in QEMU, over this machine's own files: tests/vm/boot -- COMMAND...

The command finds the same files at the same paths, .venv/bin/xcap among them. What it writes to them is gone
afterwards; its output and its exit status are ours. Nothing is needed of this machine's kernel, KVM neither.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import debian
import initramfs

CHECKOUT = Path(__file__).resolve().parents[2]
START = Path(__file__).with_name("guest") / "start"
MACHINE = "qemu-system-x86_64"

TIMED_OUT, DIED = 124, 125
"""Exit statuses of our own, as timeout(1) has them."""

LOOK = 0.05
"""Seconds between two looks at what the command has written."""


class Ended(Exception):
    """By a signal: nothing is kept, and we end as the signal wants it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def main() -> int:
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        cache = debian.cache_directory()
        kernel = debian.kernel(cache, backports=options.backports)
        # within the cache, as not every file system keeps what the guest sets of its files
        with tempfile.TemporaryDirectory(prefix="run-", dir=cache) as directory:
            share = Path(directory)
            initramfs.write(share / "initramfs", kernel)
            _write_orders(share, kernel, options.command)
            return _run(share, _machine(options, kernel, share, cache), options)
    except debian.CannotBoot as refusal:
        sys.stderr.write(f"boot: {refusal}\n")
        return 3
    except Ended as end:
        return end.status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        return 128 + signal.SIGPIPE


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/vm/boot", description="run a command under Debian's kernel in QEMU")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="then it is ended (default: 600)")
    parser.add_argument("--memory", default="3G", help="of the virtual machine (default: 3G)")
    parser.add_argument("--cpus", type=int, default=2, help="of the virtual machine (default: 2)")
    parser.add_argument("--backports", action="store_true", help="the newest kernel of the release's backports")
    parser.add_argument("--console", action="store_true", help="show what the kernel says, on standard error")
    parser.add_argument("command", nargs="+", help="the command and its arguments, after --")
    return parser.parse_args()


def _end(number: int, _frame: FrameType | None) -> None:
    raise Ended(number)


def _write_orders(share: Path, kernel: debian.Kernel, command: list[str]) -> None:
    """What the guest's start reads."""
    path = f"{CHECKOUT}/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    lines = (
        f"export PATH={shlex.quote(path)}",
        f"export TERM=dumb LANG=C.UTF-8 HOME=/root XCAP_VM={shlex.quote(kernel.release)}",
        f"cd {shlex.quote(str(Path.cwd()))} || exit 127",
        f"exec {shlex.join(command)}",
    )
    (share / "command").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (share / "modules").symlink_to(kernel.modules)
    shutil.copy(START, share / "start")
    for name in ("out", "err", "console"):
        (share / name).touch()


def _machine(options: argparse.Namespace, kernel: debian.Kernel, share: Path, cache: Path) -> list[str]:
    """The command line of the machine."""
    if not (machine := shutil.which(MACHINE)):
        raise debian.CannotBoot(
            f"'{MACHINE}' is missing: Debian's package is qemu-system-x86 (make test-vm installs it)"
        )

    def shared(tag: str, path: Path, more: str) -> list[str]:
        escaped = str(path).replace(",", ",,")
        return ["-virtfs", f"local,mount_tag={tag},path={escaped},multidevs=remap,{more}"]

    return [
        *("setpriv", "--pdeathsig", "KILL", machine),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *_accelerator(),
        *("-cpu", "max"),
        *("-smp", str(options.cpus), "-m", options.memory),
        *("-kernel", str(kernel.image), "-initrd", str(share / "initramfs")),
        *("-append", "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic mitigations=off random.trust_cpu=on"),
        *("-serial", f"file:{share}/console"),
        *shared("host", Path("/"), "security_model=none,readonly=on"),
        *shared("share", share, "security_model=none"),
        *shared("cache", debian.guest_cache(cache), "security_model=none"),
    ]


def _accelerator() -> list[str]:
    """KVM is ten times as fast. There are machines with a /dev/kvm on processors that cannot, where it hangs."""
    flags = re.findall(r"^flags\s*:.*\b(?:vmx|svm)\b", Path("/proc/cpuinfo").read_text(encoding="ascii"), re.MULTILINE)
    emulated = ["-accel", "tcg,thread=multi"]
    return ["-accel", "kvm", *emulated] if flags and os.access("/dev/kvm", os.R_OK | os.W_OK) else emulated


def _run(share: Path, machine: list[str], options: argparse.Namespace) -> int:
    """Start the machine, hand on what the command writes, and end the machine when the command has ended."""
    ends = time.monotonic() + options.timeout
    with _started(machine, share / "machine") as process, ExitStack() as files:
        names = {"out": sys.stdout, "err": sys.stderr} | ({"console": sys.stderr} if options.console else {})
        streams = [(files.enter_context((share / name).open("rb")), to) for name, to in names.items()]
        while True:
            # asked first: what was written before is read then
            dead, status = process.poll() is not None, _status(share)
            for stream, to in streams:
                to.buffer.write(stream.read())
                to.flush()
            if status is not None:
                return status
            if dead:
                return _explain(share, "the virtual machine ended before the command did", DIED)
            if time.monotonic() > ends:
                return _explain(share, f"ended after {options.timeout:g} seconds", TIMED_OUT)
            time.sleep(LOOK)


@contextmanager
def _started(machine: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as words:
        process = subprocess.Popen(machine, stdin=subprocess.DEVNULL, stdout=words, stderr=words)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _status(share: Path) -> int | None:
    """The command's exit status, once it has ended; it is written last, and whole."""
    try:
        return int((share / "status").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def _explain(share: Path, what: str, status: int) -> int:
    said = [line for name in ("machine", "console") for line in _lines(share / name)[-20:]]
    sys.stderr.write("\n    ".join((f"boot: {what}; the last that it said:", *said)) + "\n")
    return status


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


if __name__ == "__main__":
    sys.exit(main())
