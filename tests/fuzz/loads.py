"""Programs compiled by BCC and loaded into the kernel: one process each, made from one that has BCC warm."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import sys
import time
import traceback
from typing import Any, NoReturn

from tests.fuzz.trial import Failure, unit_of
from xcapscript.kernel.facts import Kernel
from xcapscript.kernel.headers import header_tree
from xcapscript.kernel.pages import Place, place_of_pages
from xcapscript.kernel.typed import reads_paged_data
from xcapscript.runtime.blame import CLANG, STACK_LIMIT, VERDICT
from xcapscript.runtime.compiler_process import request_of
from xcapscript.runtime.loader import _finds_pages, _serve
from xcapscript.unit import Unit

PATIENCE = 120
"""Seconds that compiling and loading may take."""

LESS_TRUSTED = "Possibly NULL pointer passed to trusted arg"
"""What the verifier says of a tracepoint whose packet may be NULL."""

TOO_LARGE = "BPF program is too large"
"""What it says when it has looked at a million instructions."""

LOG = 4000
"""Characters of a log that are kept, from its end."""


class Loader:
    """A process that has BCC warm, and never compiles itself."""

    def __init__(self, kernel: Kernel) -> None:
        from bcc import BPF  # noqa: PLC0415 -- in a process of its own only
        from bcc.libbcc import lib  # noqa: PLC0415

        self._bpf, self._lib, self._kernel = BPF, lib, kernel
        self._headers = header_tree()
        self._paged, self._place = reads_paged_data(), place_of_pages()

    def failure(self, text: str) -> Failure | None:
        """Why a program cannot be loaded, as it is loaded in a run; None if it can."""
        unit = unit_of(text, self._kernel)
        typed, place = self._paged, self._place
        answer = self._asked(unit, typed=typed, place=place)
        # as a run does: these hooks may be given no packet, and a long filter may leave no room to look for pages
        if "failed" in answer and LESS_TRUSTED in answer["log"]:
            typed = False
            answer = self._asked(unit, typed=typed, place=place)
        if "failed" in answer and TOO_LARGE in answer["log"]:
            answer = self._asked(unit, typed=typed, place=None)
        if "failed" not in answer:
            return None
        log = str(answer["log"])
        return Failure(f"load: {_cause(str(answer['reason']), log)}", log[-LOG:], text)

    def _asked(self, unit: Unit, *, typed: bool, place: Place | None) -> dict[str, Any]:
        reader, writer = os.pipe()
        log = os.memfd_create("log")
        child = os.fork()
        if child == 0:
            self._child(unit, writer, log, typed=typed, place=place)
        os.close(writer)
        data, end = b"", time.monotonic() + PATIENCE
        while select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
            piece = os.read(reader, 1 << 16)
            if not piece:
                break
            data += piece
        else:
            os.kill(child, signal.SIGKILL)
            data = json.dumps({"failed": "time", "reason": f"more than {PATIENCE} seconds"}).encode()
        os.close(reader)
        os.waitpid(child, 0)
        answer: dict[str, Any] = json.loads(data) if data else {"failed": "compile", "reason": "the process died"}
        answer["log"] = os.pread(log, 1 << 24, 0).decode("utf-8", "replace")
        os.close(log)
        return answer

    def _child(self, unit: Unit, writer: int, log: int, *, typed: bool, place: Place | None) -> NoReturn:
        try:
            os.dup2(log, 1)
            os.dup2(log, 2)
            request = self._request(unit)
            known = place if _finds_pages(request, typed=typed) else None
            answer, _ = _serve(request, self._bpf, self._lib, typed=typed, place=known)
            os.write(writer, json.dumps(answer).encode())
        except Exception:  # noqa: BLE001 -- to the log, which is what this process leaves
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(0)

    def _request(self, unit: Unit) -> dict[str, Any]:
        """As CompilerProcess asks, and the loader reads it."""
        return json.loads(json.dumps(request_of(unit, self._headers)[1]))


def _cause(reason: str, log: str) -> str:
    """The last word of clang or of the verifier, without its numbers."""
    if STACK_LIMIT in log:
        return STACK_LIMIT
    if match := CLANG.search(log):
        return re.sub(r"\d+", "N", f"clang: {match['message']}")
    verdicts = VERDICT.findall(log)
    return re.sub(r"\d+", "N", f"{reason}: {verdicts[-1] if verdicts else log[-200:]}")
