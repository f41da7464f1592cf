"""The header tree's life in the cache; tests/kernel/test_kernel_facts.py compiles against it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xcapscript.errors import KernelError
from xcapscript.kernel import headers, stubs
from xcapscript.kernel.headers import header_tree

pytestmark = pytest.mark.skipif(not Path("/sys/kernel/btf/vmlinux").exists(), reason="the running kernel has no BTF")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def made(cache: Path) -> Path:
    tree = header_tree(cache)
    assert tree is not None
    return tree


def test_the_tree_has_what_bcc_looks_for(cache: Path) -> None:
    tree = made(cache)
    assert tree.parent == cache
    assert (tree / "include/linux/kconfig.h").is_file()
    types = (tree / "include/kernel_types.h").read_text()
    for wanted in ("struct sk_buff {", "struct net_device {", "enum skb_drop_reason {", "typedef __u32 u32;"):
        assert wanted in types
    assert f"#define PAGE_SIZE {os.sysconf('SC_PAGE_SIZE')}\n" in (tree / "include/asm/page.h").read_text()


def test_the_tree_is_made_once(cache: Path) -> None:
    first = made(cache)
    written = (first / "include/kernel_types.h").stat().st_mtime_ns
    assert made(cache) == first
    assert (first / "include/kernel_types.h").stat().st_mtime_ns == written
    assert names(cache) == [first.name]


def test_another_content_is_another_tree(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(cache)
    monkeypatch.setitem(stubs._CONSTANTS, "ETH_P_NEW", 0x1234)
    second = made(cache)
    assert second != first
    monkeypatch.setattr(headers, "_ROOTS", headers._ROOTS[:-1])
    assert made(cache) not in {first, second}


def test_two_at_once_agree(cache: Path) -> None:
    code = (
        f"from pathlib import Path; from xcapscript.kernel.headers import *; print(header_tree(Path({str(cache)!r})))"
    )
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    trees = {process.communicate()[0] for process in running}
    assert len(trees) == 1
    assert trees == {f"{made(cache)}\n"}
    assert len(names(cache)) == 1


def test_the_one_who_comes_second_takes_the_other_tree(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = made(cache)
    monkeypatch.setattr(headers, "_KCONFIG", Path("include/kernel_macros.h"))
    fixed = headers._fixed_files()
    assert headers._install(tree, fixed) == tree
    assert names(cache) == [tree.name]


def test_a_cache_that_others_can_write_is_refused(cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(KernelError, match="can be written by others"):
        header_tree(cache)
    assert names(cache) == []


def test_without_a_cache_the_tree_goes_with_the_process() -> None:
    code = (
        "from pathlib import Path; from xcapscript.kernel.headers import *; import os\n"
        "tree = header_tree(Path('/dev/null/no')); again = header_tree(Path('/dev/null/no'))\n"
        "assert tree == again and (tree / 'include/linux/kconfig.h').is_file()\n"
        "child = os.fork()\n"
        "if child == 0: raise SystemExit\n"
        "os.waitpid(child, 0); assert tree.is_dir()\n"
        "print(tree, oct(tree.stat().st_mode))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    tree, mode = output.split()
    assert mode == "0o40700"
    assert not Path(tree).exists()


def test_without_btf_the_kernels_own_headers_serve(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headers, "_BTF", tmp_path / "missing")
    monkeypatch.setattr(headers, "_MODULES", tmp_path)
    (tmp_path / os.uname().release / "build").mkdir(parents=True)
    assert header_tree(cache) is None


def test_without_either_there_is_advice(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "_BTF", tmp_path / "missing")
    monkeypatch.setattr(headers, "_MODULES", tmp_path)
    with pytest.raises(KernelError) as caught:
        header_tree(cache)
    assert "CONFIG_DEBUG_INFO_BTF" in str(caught.value.advice)
    assert "linux-headers-" in str(caught.value.advice)


@pytest.mark.parametrize(("machine", "option"), [("x86_64", "CONFIG_X86_64"), ("aarch64", "CONFIG_ARM64")])
def test_the_configuration_is_that_of_the_machine(machine: str, option: str) -> None:
    files = stubs.files(machine, 65536, (6, 12, 0))
    assert f"#define {option} 1\n" in files["linux/kconfig.h"]
    assert files["asm/page.h"].endswith("#define PAGE_SIZE 65536\n")
    assert "KERNEL_VERSION(6, 12, 0)" in files["linux/version.h"]
