"""kprobes and kretprobes: one link for all functions where the kernel has such, else a perf event for each."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from xcapscript.errors import KernelError
from xcapscript.kernel.kprobes import link_event, link_multi, open_kprobe
from xcapscript.runtime.loading import at_once
from xcapscript.unit import Attachment, HookKind

WORKERS = 8
"""Threads that attach: each waits for the kernel most of the time."""

ADVICE = {
    errno.ENOENT: "the function is not there any more, or there are several of that name",
    errno.EADDRNOTAVAIL: "there are several functions of that name",
    errno.EINVAL: "the kernel forbids kprobes there: choose a function that calls it or that it calls",
    errno.EILSEQ: "the offset is within an instruction",
    errno.EPERM: "run as root, or with CAP_PERFMON and CAP_BPF",
}


def attach(attachment: Attachment, programs: Sequence[int], cookies: Sequence[int]) -> list[int]:
    """The descriptors that hold it. KernelError if the one function is refused, or all of a wildcard's."""
    returning = attachment.kind is HookKind.KRETPROBE
    numbers = list(cookies) or [0] * len(attachment.functions)
    if at_once(attachment):
        found = _links(programs[0], list(zip(attachment.functions, numbers, strict=True)), returning=returning)
        if not found:
            raise KernelError(f"cannot attach to any function of {attachment.kind}:{attachment.target}")
        return found
    copies = programs if len(programs) > 1 else [programs[0]] * len(attachment.functions)
    if len(attachment.functions) == 1:
        return _one(attachment, copies[0], attachment.functions[0], numbers[0])
    return _each(attachment, copies, numbers)


def _links(program: int, functions: list[tuple[str, int]], *, returning: bool) -> list[int]:
    """Links at all functions but those that the kernel refuses, which are found by halving."""
    try:
        names, cookies = [name for name, _ in functions], [cookie for _, cookie in functions]
        return [link_multi(program, names, cookies, returning=returning)]
    except OSError as error:
        if error.errno == errno.EPERM:
            raise KernelError("cannot attach to kernel functions", advice=ADVICE[errno.EPERM]) from error
        if len(functions) == 1:
            return []
    middle = len(functions) // 2
    halves = functions[:middle], functions[middle:]
    return [link for half in halves for link in _links(program, half, returning=returning)]


def _each(attachment: Attachment, programs: Sequence[int], cookies: Sequence[int]) -> list[int]:
    found: list[int] = []
    refused: KernelError | None = None
    with ThreadPoolExecutor(WORKERS) as pool:
        jobs = zip(programs, attachment.functions, cookies, strict=True)
        for future in [pool.submit(_one, attachment, program, name, cookie) for program, name, cookie in jobs]:
            try:
                found += future.result()
            except KernelError as error:
                refused = error
    if not found and refused is not None:
        raise refused
    return found


def _one(attachment: Attachment, program: int, symbol: str, cookie: int) -> list[int]:
    try:
        event = open_kprobe(symbol, attachment.offset, returning=attachment.kind is HookKind.KRETPROBE)
    except OSError as error:
        message = f"cannot attach to {attachment.kind}:{symbol}: {error.strerror}"
        raise KernelError(message, advice=ADVICE.get(error.errno or 0)) from error
    try:
        link = link_event(event, program, cookie)
    except OSError as error:
        os.close(event)
        message = f"cannot attach to {attachment.kind}:{symbol}: {error.strerror}"
        raise KernelError(message, advice=ADVICE.get(error.errno or 0)) from error
    if link is None:
        return [event]
    os.close(event)  # the link holds it
    return [link]
