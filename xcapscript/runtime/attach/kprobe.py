"""kprobes and kretprobes: one link for all functions where the kernel has such, else a perf event for each."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import partial

from xcapscript.errors import KernelError
from xcapscript.kernel.kprobes import link_multi, open_kprobe
from xcapscript.runtime.attach.events import hold, hold_all
from xcapscript.runtime.loading import at_once
from xcapscript.unit import Attachment, HookKind

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
            where = f"{attachment.kind}:{attachment.target}"
            raise KernelError(f"cannot attach to any function of {where}", advice=f"see 'xcap -l -v \"{where}\"'")
        return found
    copies = programs if len(programs) > 1 else [programs[0]] * len(attachment.functions)
    places = zip(copies, attachment.functions, numbers, strict=True)
    found, refused = hold_all([partial(_one, attachment, program, name, cookie) for program, name, cookie in places])
    if not found and refused is not None:
        raise refused
    return found


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


def _one(attachment: Attachment, program: int, symbol: str, cookie: int) -> int:
    opened = partial(open_kprobe, symbol, attachment.offset, returning=attachment.kind is HookKind.KRETPROBE)
    return hold(f"{attachment.kind}:{symbol}", ADVICE, opened, program, cookie)
