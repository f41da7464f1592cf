"""Attaching to kernel functions, with the kernel's part of it played: what is left where it refuses."""

from __future__ import annotations

import errno
import os

import pytest

from xcapscript.kernel import kprobes


def refuse(*_arguments: int) -> None:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def test_no_link_is_left_where_the_event_cannot_be_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.open(os.devnull, os.O_RDONLY)
    monkeypatch.setattr(kprobes, "_bpf", lambda *_: link)
    monkeypatch.setattr(kprobes, "enable", refuse)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        kprobes.link_event(3, 4, 7)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(link)


def test_a_refused_link_is_not_replaced_where_there_are_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(kprobes, "_bpf", refuse)
    monkeypatch.setattr(kprobes, "has_cookies", lambda: True)
    monkeypatch.setattr(kprobes, "set_program", lambda *_: asked.append(1))
    with pytest.raises(OSError, match="Cannot allocate memory"):
        kprobes.link_event(3, 4, 7)
    assert asked == []
