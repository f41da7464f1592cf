"""Debian's kernel and busybox, downloaded by apt and unpacked below a cache directory; nothing is installed."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# It depends on the newest kernel of the release. Of the variants it is the one that has the 9p file system.
NEWEST = "linux-image-amd64"
# Its programs need no libraries: the guest has none before it has found its root.
BUSYBOX = "busybox-static"

DAY = 24 * 60 * 60


class CannotBoot(Exception):
    """What is missing, and what to try."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel: its release, its image, its modules' directory, and the programs that it starts with."""

    release: str
    image: Path
    modules: Path
    busybox: Path


def cache_directory() -> Path:
    """Where kernels are kept, half a gigabyte each: below /var/cache for root, below ~/.cache for others."""
    own = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    base = Path("/var/cache" if os.geteuid() == 0 else own)
    directory = base / "xcapscript-vm"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in directory.glob("run-*"):
        # of one that was killed: none runs for a day
        if time.time() - left.stat().st_mtime > DAY:
            shutil.rmtree(left, ignore_errors=True)
    return directory


def guest_cache(cache: Path) -> Path:
    """What xcap keeps from one boot to the next: making its headers anew takes long in a machine without KVM."""
    directory = cache / "guest"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def kernel(cache: Path, *, backports: bool) -> Kernel:
    """The newest kernel of Debian here, or of its backports, unpacked below `cache` by whoever comes first."""
    with _locked(cache):
        apt = _backports(cache) if backports else ()
        package = _newest(apt)
        tree = cache / package
        if not tree.is_dir():
            _unpack((package, BUSYBOX), tree, apt)
    release = package.removeprefix("linux-image-")
    return Kernel(release, tree / "boot" / f"vmlinuz-{release}", tree / "lib/modules" / release, tree / "bin/busybox")


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _backports(cache: Path) -> tuple[str, ...]:
    """apt's options for lists of its own, with the release's backports: the machine's own stay as they are."""
    directory = cache / "apt"
    (directory / "lists/partial").mkdir(parents=True, exist_ok=True)
    codename = re.search(r'^VERSION_CODENAME="?(\w+)', Path("/etc/os-release").read_text("utf-8"), re.MULTILINE)
    suite = codename[1] if codename else ""
    rows = _output("apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(RELEASE)").splitlines()
    mirrors = [words[0] for words in map(str.split, rows) if words[1:] == ["Debian", suite]]
    if not mirrors:
        raise CannotBoot(f"apt knows no mirror of Debian {suite}: try apt-get update, and a machine with its packages")
    lines = (f"deb {mirrors[0]} {name} main" for name in (suite, f"{suite}-backports"))
    (directory / "sources.list").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = (
        f"-oDir::Etc::SourceList={directory}/sources.list",
        "-oDir::Etc::SourceParts=/dev/null",
        f"-oDir::State::Lists={directory}/lists",
        "-oAPT::Sandbox::User=root",
        f"-oAPT::Default-Release={suite}-backports",
    )
    lists = directory / "lists"
    if time.time() - max((one.stat().st_mtime for one in lists.iterdir() if one.is_file()), default=0.0) > DAY:
        _output("apt-get", "update", "-q", *options)
        (lists / "fresh").touch()
    return options


def _newest(apt: tuple[str, ...]) -> str:
    for command in ("apt-get", "apt-cache", "dpkg-deb", "depmod"):
        if not shutil.which(command):
            raise CannotBoot(f"'{command}' is missing: the kernel is one of Debian's packages, and depmod is in kmod")
    text = _output("apt-cache", "depends", *apt, NEWEST)
    found = re.search(r"Depends: (linux-image-\d\S*)", text)
    if not found:
        raise CannotBoot(f"apt-cache knows no '{NEWEST}': try apt-get update, and a machine with Debian's packages")
    return found[1]


def _unpack(packages: tuple[str, ...], tree: Path, apt: tuple[str, ...]) -> None:
    """Into a directory beside `tree` first, so that what a killed run leaves is not taken for whole."""
    with tempfile.TemporaryDirectory(prefix="unpack-", dir=tree.parent) as directory:
        root = Path(directory, "root")
        # apt's own user may not come in here; the packages' signed checksums are compared all the same
        _output("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *apt, *packages, cwd=Path(directory))
        for package in sorted(Path(directory).glob("*.deb")):
            _output("dpkg-deb", "--extract", str(package), str(root))
        for modules in (root / "lib/modules").iterdir():
            _output("depmod", "-b", str(root), modules.name)
        root.rename(tree)


def _output(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise CannotBoot(f"'{' '.join(command)}' failed: {done.stderr.strip()}")
    return done.stdout
