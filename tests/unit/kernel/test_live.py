"""The running kernel behind the protocol; tests/kernel/test_kernel_facts.py has what needs root."""

from __future__ import annotations

from pathlib import Path

import pytest

from xcapscript.errors import KernelError
from xcapscript.kernel.facts import Kernel, Tracepoint, TracepointField
from xcapscript.kernel.live import LiveKernel
from xcapscript.kernel.tracefs import EnumLookup
from xcapscript.types import EnumType


class NoBtf:
    """A kernel that was built without."""

    def enum(self, name: str) -> EnumType | None:
        raise KernelError(f"no BTF to look for '{name}' in")


class OneTracepoint:
    """A tracefs whose only tracepoint has an enum."""

    names = ("skb:kfree_skb",)

    def tracepoint(self, category: str, name: str, enum: EnumLookup) -> Tracepoint:
        field = TracepointField("reason", enum("skb_drop_reason") or EnumType("skb_drop_reason", ()), 8)
        return Tracepoint(category, name, 1, (field,))


def test_nothing_is_asked_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError

    monkeypatch.setattr("xcapscript.kernel.live.Btf", fail)
    monkeypatch.setattr("xcapscript.kernel.live.Tracefs", fail)
    kernel: Kernel = LiveKernel()
    with pytest.raises(AssertionError):
        kernel.raw_tracepoints()


def test_a_tracepoint_can_be_had_without_btf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xcapscript.kernel.live.Btf", NoBtf)
    monkeypatch.setattr("xcapscript.kernel.live.Tracefs", OneTracepoint)
    kernel = LiveKernel()
    found = kernel.tracepoint("skb", "kfree_skb")
    assert found is not None
    assert found.fields[0].type == EnumType("skb_drop_reason", ())
    with pytest.raises(KernelError):
        kernel.enum("skb_drop_reason")


class AttachTypes:
    """A kernel whose BTF knows these constants."""

    def __init__(self, *names: str) -> None:
        self.members = tuple(enumerate(names))

    def enum(self, name: str) -> EnumType | None:
        return EnumType(name, self.members) if name == "bpf_attach_type" else None


@pytest.mark.parametrize(
    ("btf", "fentry"),
    [
        (AttachTypes("BPF_CGROUP_UDP4_RECVMSG"), False),  # Linux 5.4
        (AttachTypes("BPF_TRACE_RAW_TP", "BPF_TRACE_FENTRY"), True),  # 5.5
        (NoBtf(), False),
    ],
)
def test_fentry_takes_a_kernel_that_knows_it(
    btf: AttachTypes | NoBtf,
    fentry: bool,  # noqa: FBT001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xcapscript.kernel.live.Btf", lambda: btf)
    monkeypatch.setattr("xcapscript.kernel.live.KPROBE_EVENTS", tmp_path)
    assert LiveKernel().attaches("kprobe")
    assert LiveKernel().attaches("fentry") == fentry
    monkeypatch.setattr("xcapscript.kernel.live.KPROBE_EVENTS", tmp_path / "missing")
    assert not LiveKernel().attaches("kprobe")
    assert not LiveKernel().attaches("fentry")
