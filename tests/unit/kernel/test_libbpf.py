"""Finding the library, and its two ways to say that something failed."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator

import pytest

from xcapscript.errors import KernelError
from xcapscript.kernel import libbpf


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """load() again in each test, and for the tests behind it."""
    libbpf.load.cache_clear()
    yield
    libbpf.load.cache_clear()


def test_the_version_can_be_asked() -> None:
    assert libbpf.version().startswith("v")


def test_the_next_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libbpf, "_NAMES", ("libmissing.so.1", *libbpf._NAMES))
    assert libbpf.load().btf__type_cnt


@pytest.mark.parametrize("names", [(), ("libmissing.so.1",), ("libc.so.6",)])
def test_no_library_is_an_error_that_names_the_package(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    monkeypatch.setattr(libbpf, "_NAMES", names)
    with pytest.raises(KernelError) as caught:
        libbpf.load()
    assert "libbpf1" in str(caught.value.advice)


def test_a_negative_result_is_an_oserror() -> None:
    assert libbpf.check(3) == 3
    ctypes.set_errno(errno.ENOENT)
    with pytest.raises(FileNotFoundError):
        libbpf.check(-1)


def test_an_errno_that_only_the_kernel_knows_has_words() -> None:
    ctypes.set_errno(libbpf.ENOTSUPP)
    with pytest.raises(OSError, match="Operation not supported") as caught:
        libbpf.check(-1)
    assert caught.value.errno == libbpf.ENOTSUPP


def test_an_error_as_a_pointer_is_an_oserror() -> None:
    assert libbpf.check_pointer(0x1000) == 0x1000
    with pytest.raises(FileNotFoundError):
        libbpf.check_pointer(2**64 - errno.ENOENT)
    ctypes.set_errno(errno.ENOENT)
    with pytest.raises(OSError, match=r"."):
        libbpf.check_pointer(None)
