"""Capabilities as setpriv(1) sets them, and what is said of those that are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from xcapscript.errors import KernelError
from xcapscript.kernel import rights
from xcapscript.kernel.rights import (
    Capability,
    and_list,
    capabilities,
    in_user_namespace,
    lockdown,
    missing,
    needed,
    number,
    reasons_for_refusal,
    require_rights,
)

NONE: frozenset[Capability] = frozenset()
TRACING = frozenset({Capability.BPF, Capability.PERFMON})


def status(path: Path, bits: int) -> Path:
    path.write_text(f"Name:\todd \udcff\nCapPrm:\t000001ffffffffff\nCapEff:\t{bits:016x}\n", errors="surrogateescape")
    return path


@pytest.mark.parametrize(
    ("bits", "found"),
    [
        (0, NONE),
        (1 << 39 | 1 << 38, TRACING),
        (1 << 12, {Capability.NET_ADMIN}),
        # CAP_SYS_ADMIN stands for what was taken out of it
        (1 << 21, {Capability.SYS_ADMIN, Capability.BPF, Capability.PERFMON, Capability.SYSLOG}),
    ],
)
def test_what_is_in_effect_is_read_from_the_process(bits: int, found: set[Capability], tmp_path: Path) -> None:
    assert capabilities(status(tmp_path / "status", bits)) == found


@pytest.mark.parametrize(
    ("kinds", "lacking"),
    [
        (["rawtracepoint", "interval"], "CAP_BPF and CAP_PERFMON"),
        (["xdp"], "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"),
        (["tc", "socket"], "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_NET_RAW"),
    ],
)
def test_each_kind_of_hook_takes_its_own(kinds: list[str], lacking: str) -> None:
    assert and_list(missing(kinds, NONE)) == lacking
    assert missing(kinds, frozenset(Capability)) == ()


def test_before_5_8_root_alone_would_do(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel" / "cap_last_cap").write_text("37\n")
    assert needed(["rawtracepoint"], tmp_path) == (Capability.SYS_ADMIN,)
    assert number("kernel/nothing", tmp_path) is None


@pytest.mark.parametrize(
    ("have", "kinds", "said"),
    [
        (NONE, {"rawtracepoint"}, "capturing needs root"),
        ({Capability.BPF}, {"rawtracepoint"}, "capturing needs CAP_PERFMON as well"),
        (TRACING, {"rawtracepoint", "xdp"}, "capturing at xdp hooks needs CAP_NET_ADMIN as well"),
        (TRACING, {"tc", "xdp"}, "capturing at tc and xdp hooks needs CAP_NET_ADMIN as well"),
    ],
)
def test_exactly_what_is_missing_is_told(
    have: set[Capability], kinds: set[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights, "capabilities", lambda: frozenset(have))
    monkeypatch.setattr(rights, "in_user_namespace", lambda: False)
    with pytest.raises(KernelError) as caught:
        require_rights(kinds)
    assert caught.value.message == said


def test_who_has_enough_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights, "in_user_namespace", lambda: False)
    monkeypatch.setattr(rights, "capabilities", lambda: TRACING)
    require_rights({"rawtracepoint", "begin"})
    require_rights(())


def test_roots_of_containers_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    whole.write_text("         0          0 4294967295\n")
    part.write_text("         0       1000          1\n")
    assert not in_user_namespace(whole)
    assert in_user_namespace(part)
    monkeypatch.setattr(rights, "in_user_namespace", lambda: True)
    monkeypatch.setattr(rights, "capabilities", lambda: frozenset(Capability))
    with pytest.raises(KernelError, match="a rootless container"):
        require_rights({"rawtracepoint"})


def test_lockdown_is_the_word_in_brackets(tmp_path: Path) -> None:
    path = tmp_path / "lockdown"
    assert lockdown(path) is None
    path.write_text("none [integrity] confidentiality\n")
    assert lockdown(path) == "integrity"


def test_a_refusal_is_explained_by_the_likeliest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights, "in_user_namespace", lambda: False)
    monkeypatch.setattr(rights, "lockdown", lambda: "confidentiality")
    everything = frozenset(Capability)
    assert list(reasons_for_refusal({Capability.BPF}, ["rawtracepoint"])) == [
        "CAP_PERFMON is missing",
        "the kernel is locked down (confidentiality)",
    ]
    monkeypatch.setattr(rights, "lockdown", lambda: None)
    assert "CAP_SYS_ADMIN is missing" in next(reasons_for_refusal(everything - {Capability.SYS_ADMIN}, ["uprobe"]))
    assert "security module" in next(reasons_for_refusal(everything, ["uprobe"]))


@pytest.mark.parametrize(
    ("restrict", "paranoid", "have", "hidden"),
    [
        (0, 1, NONE, None),
        (0, 2, NONE, "CAP_SYSLOG"),
        (0, 2, {Capability.SYSLOG}, None),
        (1, 1, {Capability.SYSLOG}, None),
        (2, -1, {Capability.SYSLOG}, "kernel.kptr_restrict is 2"),
    ],
)
def test_whether_stacks_have_names(
    restrict: int, paranoid: int, have: set[Capability], hidden: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"kernel/kptr_restrict": restrict, "kernel/perf_event_paranoid": paranoid}
    monkeypatch.setattr(rights, "number", values.get)
    told = rights.hidden_names(frozenset(have))
    assert (told is None) == (hidden is None)
    assert (hidden or "") in (told or "")


@pytest.mark.parametrize(
    ("have", "root", "contained", "told"),
    [
        (frozenset(), False, False, "needs root, or CAP_SYS_PTRACE"),
        (frozenset({Capability.BPF}), True, False, "this root does not have"),
        (frozenset(), True, True, "this root does not have"),
        (frozenset({Capability.SYS_PTRACE}), True, True, "the process is outside of it"),
        (frozenset({Capability.SYS_PTRACE}), True, False, "a security module"),
    ],
)
def test_why_a_process_is_closed_to_us(
    monkeypatch: pytest.MonkeyPatch,
    have: frozenset[Capability],
    root: bool,  # noqa: FBT001
    contained: bool,  # noqa: FBT001
    told: str,
) -> None:
    monkeypatch.setattr(rights, "in_user_namespace", lambda: contained)
    assert told in rights.why_not_looked_at(have, root=root)
