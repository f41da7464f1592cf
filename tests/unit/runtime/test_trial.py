"""What is made of trials of the kinds of hook; tests/kernel/test_doctor.py makes them for real."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xcapscript.errors import KernelError
from xcapscript.kernel.rights import Capability
from xcapscript.runtime import trial
from xcapscript.runtime.trial import TRIALS, CannotWork, Outcome, Verdict, try_kind
from xcapscript.unit import HookKind


def test_every_kind_of_hook_can_be_tried() -> None:
    assert set(HookKind) <= set(TRIALS)


def failing(error: Exception) -> Callable[[], str]:
    def run() -> str:
        raise error

    return run


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], str]], Outcome]:
    def run(one: Callable[[], str]) -> Outcome:
        monkeypatch.setattr(trial, "capabilities", lambda: frozenset(Capability))
        monkeypatch.setattr(trial, "TRIALS", {"fentry": one})
        return try_kind("fentry")

    return run


def test_what_works_is_told_with_its_note(attempt: Callable[[Callable[[], str]], Outcome]) -> None:
    assert attempt(lambda: "tcx") == Outcome(Verdict.WORKS, "tcx")


@pytest.mark.parametrize(
    ("error", "note", "advice"),
    [
        (OSError(524, "Unknown error"), "this kernel does not have it", trial.ADVICE["fentry"]),
        (OSError(errno.EINVAL, ""), "the kernel refuses it: Invalid argument", trial.ADVICE["fentry"]),
        (CannotWork("no such thing", "do without"), "no such thing", "do without"),
        (KernelError("cannot open tracefs"), "cannot open tracefs", ""),
    ],
)
def test_what_fails_is_told_with_what_to_do(
    error: Exception, note: str, advice: str, attempt: Callable[[Callable[[], str]], Outcome]
) -> None:
    assert attempt(failing(error)) == Outcome(Verdict.FAILS, note, advice)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
def test_what_is_forbidden_is_told_with_the_reason(
    number: int, attempt: Callable[[Callable[[], str]], Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "reasons_for_refusal", lambda _have, kinds: iter([f"no {kinds[0]} today"]))
    note = f"the kernel refuses it: {os.strerror(number)}"
    assert attempt(failing(OSError(number, ""))) == Outcome(Verdict.FAILS, note, "no fentry today")


def test_without_the_rights_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "capabilities", lambda: frozenset({Capability.BPF, Capability.PERFMON}))
    monkeypatch.setattr(trial, "TRIALS", {"xdp": failing(AssertionError())})
    assert try_kind("xdp") == Outcome(Verdict.NOT_TRIED, "it takes CAP_NET_ADMIN")


def test_the_place_where_a_program_begins_is_where_readelf_says() -> None:
    path = Path(sys.executable).resolve()
    header = subprocess.check_output(["readelf", "-hW", str(path)], text=True)
    segments = subprocess.check_output(["readelf", "-lW", str(path)], text=True)
    entry = int(next(line.split()[-1] for line in header.splitlines() if "Entry point" in line), 16)
    loads = [line.split()[1:6] for line in segments.splitlines() if line.split()[:1] == ["LOAD"]]
    offset = next(
        entry - int(address, 16) + int(offset, 16)
        for offset, address, _, size, _ in loads
        if int(address, 16) <= entry < int(address, 16) + int(size, 16)
    )
    assert trial._entry_offset(path) == offset
