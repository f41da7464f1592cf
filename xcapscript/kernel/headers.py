"""The header tree that BCC compiles against, through BCC_KERNEL_SOURCE, in place of the kernel's own headers:
the kernel's types from BTF and a few stubs. It is made once for each kernel and kept in the cache.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from xcapscript.errors import KernelError
from xcapscript.kernel import libbpf, stubs
from xcapscript.kernel.btf import Btf, Kind
from xcapscript.resources import cache_directory, private_directory

_BTF = Path("/sys/kernel/btf/vmlinux")
_NOTES = Path("/sys/kernel/notes")
_MODULES = Path("/lib/modules")
# BCC takes a directory for a header tree if it has this.
_KCONFIG = Path("include/linux/kconfig.h")

_STRUCTS = (
    *("sk_buff", "skb_shared_info", "sock", "inet_sock", "tcp_sock", "udp_sock", "net_device", "netdev_queue", "net"),
    *("xdp_buff", "xdp_frame", "xdp_rxq_info", "task_struct", "cred", "css_set", "cgroup", "kernfs_node", "pt_regs"),
    *("nsproxy", "napi_struct", "neighbour", "dst_entry"),
    *("request_sock", "inet_request_sock", "tcp_request_sock", "inet_timewait_sock", "tcp_timewait_sock", "tcp_skb_cb"),
    *("msghdr", "iov_iter", "kvec", "dst_ops", "rtable", "rt6_info", "in_device", "inet6_dev"),
    *("neigh_parms", "neigh_table", "neigh_hash_table"),
    *("ethhdr", "vlan_hdr", "vlan_ethhdr", "arphdr", "iphdr", "ipv6hdr", "tcphdr", "udphdr", "icmphdr", "icmp6hdr"),
)
_ENUMS = ("skb_drop_reason", "sk_rst_reason", "iter_type")
# What BCC's headers and everybody's C use without any include.
_TYPEDEFS = (
    *(f"{prefix}{sign}{bits}" for prefix in ("", "__") for sign in "us" for bits in (8, 16, 32, 64)),
    *(f"__{order}{bits}" for order in ("be", "le") for bits in (16, 32, 64)),
    *("__sum16", "__wsum", "bool", "size_t", "ssize_t", "pid_t", "uid_t", "gid_t", "dev_t", "ino_t", "loff_t"),
    *("ktime_t", "netdev_features_t", "possible_net_t"),
)
# What our own C asks with #ifdef, as kernels differ in it: members that are no bit-fields, and constants of enums.
_MEMBERS = {
    ("sk_buff", "vlan_all"): "XCAP_SKB_VLAN_ALL",
    ("skb_shared_info", "xdp_frags_size"): "XCAP_XDP_FRAGS_SIZE",
    ("skb_frag", "netmem"): "XCAP_SKB_FRAG_NETMEM",
    ("sock", "sk_protocol"): "XCAP_SK_PROTOCOL",
    ("iov_iter", "iter_type"): "XCAP_IOV_ITER_TYPE",
}
_CONSTANTS = {("iter_type", "ITER_UBUF"): "XCAP_ITER_UBUF"}
_ROOTS = (
    *((Kind.TYPEDEF, name) for name in _TYPEDEFS),
    *((Kind.STRUCT, name) for name in _STRUCTS),
    *((Kind.ENUM, name) for name in _ENUMS),
)


def header_tree(cache: Path | None = None) -> Path | None:
    """The tree for the running kernel, below `cache` or, without it, below our own cache directory.

    None where the kernel has no BTF but its headers are installed: BCC then finds those by itself. Raises KernelError
    where neither is there, and as private_directory() does.
    """
    if not _BTF.exists():
        if (_MODULES / os.uname().release / "build").exists():
            return None
        raise KernelError(
            f"this kernel does not tell its types ('{_BTF}' is missing), and its headers are not installed",
            advice="run a kernel built with CONFIG_DEBUG_INFO_BTF=y, or install the headers: Debian's package is "
            f"linux-headers-{os.uname().release}",
        )
    directory = cache_directory() if cache is None else private_directory(cache)
    fixed = _fixed_files()
    if directory is not None:
        tree = directory / f"headers-{os.uname().release}-{_digest(fixed)}"
        if (tree / _KCONFIG).is_file():
            return tree
        try:
            return _install(tree, fixed)
        except OSError:
            pass  # a full disk: what follows may be on another one
    return _temporary_tree()


def write_tree(tree: Path, types: str, fixed: dict[str, str]) -> None:
    """Write the tree's files below `tree`, a directory."""
    for name, text in {**fixed, "kernel_types.h": types}.items():
        path = tree / "include" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def kernel_types(btf: Btf) -> str:
    """The text of kernel_types.h.

    It checks itself: BTF has offsets, C has rules, and a program compiled where they differ would read nonsense.
    """
    checks = []
    for name in _STRUCTS:
        found = btf.struct(name)
        if found is not None:
            checks.append(f'_Static_assert(sizeof(struct {name}) == {found.size}, "unlike the kernel\'s own");\n')
    for (name, member), macro in _MEMBERS.items():
        found = btf.struct(name)
        one = found.member(member) if found is not None else None
        if one is not None and not one.bit_size:
            checks.append(f"#define {macro} 1\n")
    for (name, constant), macro in _CONSTANTS.items():
        enum = btf.enum(name)
        if enum is not None and any(member == constant for _, member in enum.members):
            checks.append(f"#define {macro} 1\n")
    return "#pragma once\n" + btf.c_text(_ROOTS) + "".join(checks)


def _fixed_files() -> dict[str, str]:
    kernel = os.uname()
    numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", kernel.release)
    version = tuple(int(number or 0) for number in numbers.groups()) if numbers else (0, 0, 0)
    return stubs.files(kernel.machine, os.sysconf("SC_PAGE_SIZE"), (version[0], version[1], version[2]))


def _digest(fixed: dict[str, str]) -> str:
    """Of all that decides what is in the tree. The notes hold the kernel's build id."""
    kernel = os.uname()
    parts = [kernel.release, kernel.version, kernel.machine, libbpf.version(), _BTF.stat().st_size]
    parts += [_ROOTS, _MEMBERS, _CONSTANTS, fixed]
    digest = hashlib.sha256(repr(parts).encode())
    try:
        digest.update(_NOTES.read_bytes())
    except OSError:
        digest.update(_BTF.read_bytes())
    return digest.hexdigest()[:16]


def _install(tree: Path, fixed: dict[str, str]) -> Path:
    """Make the tree beside its place and move it there, so that nobody sees half of one."""
    unfinished = Path(tempfile.mkdtemp(prefix=".headers-", dir=tree.parent))
    try:
        write_tree(unfinished, kernel_types(Btf()), fixed)
        unfinished.rename(tree)
    except OSError:
        # Another xcap was faster, or the tree could not be written.
        if not (tree / _KCONFIG).is_file():
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return tree


@functools.cache
def _temporary_tree() -> Path:
    """A tree of this process alone, for when there is no cache; removed when it ends."""
    tree = Path(tempfile.mkdtemp(prefix="xcapscript-headers-"))
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not when a child ends that was forked from us
            shutil.rmtree(tree, ignore_errors=True)

    atexit.register(remove)
    write_tree(tree, kernel_types(Btf()), _fixed_files())
    return tree
