"""What kprobes and uprobes have in common: a perf event for each place, and the link that holds a program there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from xcapscript.errors import KernelError
from xcapscript.kernel.kprobes import link_event

WORKERS = 8
"""Threads that attach: each waits for the kernel most of the time."""


def hold(where: str, advice: Mapping[int, str], opened: Callable[[], int], program: int, cookie: int) -> int:
    """The descriptor that holds a program at the event that is opened: a link's where the kernel has such, else the
    event's. KernelError if one of both is refused.
    """
    event = -1
    try:
        event = opened()
        link = link_event(event, program, cookie)
    except OSError as error:
        if event >= 0:
            os.close(event)
        message = f"cannot attach to {where}: {error.strerror}"
        raise KernelError(message, advice=advice.get(error.errno or 0)) from error
    if link is None:
        return event
    os.close(event)  # the link holds it
    return link


def hold_all(jobs: Sequence[Callable[[], int]]) -> tuple[list[int], KernelError | None]:
    """Do them, some at a time: the descriptors, and the last refusal, if there was one."""
    found: list[int] = []
    refused: KernelError | None = None
    with ThreadPoolExecutor(min(WORKERS, len(jobs))) as pool:
        for future in [pool.submit(job) for job in jobs]:
            try:
                found.append(future.result())
            except KernelError as error:
                refused = error
    return found, refused
