"""The parent's side of the loader: starts it, asks it, and outlives it."""

from __future__ import annotations

import json
import os
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from xcapscript.errors import CompilerBug
from xcapscript.kernel import bpf
from xcapscript.kernel.typed import Load
from xcapscript.resources import bpf_directory
from xcapscript.runtime.blame import blame_compiler, blame_verifier
from xcapscript.runtime.loading import loads
from xcapscript.unit import ENTRIES, Program, Unit

SPARE_DESCRIPTORS = 256
"""For files and all else, beside those of programs and maps."""

FIXED_MAPS = ("xcap_events", "xcap_controls", "xcap_counts", "xcap_map_full")


@dataclass(frozen=True, slots=True)
class LoadedProgram:
    """Descriptors of a program's copies, of those of its entry, and of those that look at packets of a burst."""

    copies: tuple[int, ...]
    entries: tuple[int, ...] = ()
    turns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Descriptors of the loaded programs, in the unit's order, and of the maps by their names in C."""

    programs: tuple[LoadedProgram, ...]
    maps: dict[str, int]

    def close(self) -> None:
        """Give all back to the kernel, which drops what nothing else holds."""
        programs = (number for one in self.programs for number in (*one.copies, *one.entries, *one.turns))
        for descriptor in (*programs, *self.maps.values()):
            os.close(descriptor)


def _functions(programs: Iterable[Program]) -> Iterator[tuple[str, list[Load]]]:
    """The C functions, each with the loads of its copies; that of a program's entry follows it."""
    for program in programs:
        kind = program.attachment.kind
        yield program.function, loads(program, kind)
        if program.entry:
            yield program.entry, loads(program, ENTRIES[kind])
        if program.turn:
            yield program.turn, loads(program, kind)


def _turns(unit: Unit) -> list[str]:
    return [program.turns for program in unit.programs if program.turns]


def request_of(unit: Unit, headers: Path | None) -> tuple[list[tuple[str, list[Load]]], dict[str, Any]]:
    """The C functions of a unit, each with the loads of its copies, and the request to the loader that says all."""
    functions = list(_functions(unit.programs))
    return functions, {
        "text": unit.text,
        "headers": str(headers) if headers else None,
        # What bcc itself includes warns; what we write is checked by the tests.
        "cflags": ["-w", f"-I{bpf_directory() / 'include'}"],
        "functions": [(name, [asdict(one) for one in copies]) for name, copies in functions],
        "maps": [*FIXED_MAPS, *(spec.symbol for spec in unit.maps), *_turns(unit)],
    }


class CompilerProcess:
    """A loader that has been started, and warms up while the script is read."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._errors = os.memfd_create("xcap-compiler-errors")
        with theirs:
            self._process = subprocess.Popen(
                # -P: what lies in the working directory is not ours to import as root
                [sys.executable, "-P", "-m", "xcapscript.runtime.loader", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                # Ctrl-C at the terminal is for us: a loader that dies of it would look like a crash.
                start_new_session=True,
            )
        self._socket = ours
        self._closed = False

    def load(self, unit: Unit, headers: Path | None) -> Loaded:
        """Compile and load a unit. ScriptError, KernelError or CompilerBug says why not."""
        functions, request = request_of(unit, headers)
        answer = self._ask(request)
        if answer is None or "failed" in answer:
            self._fail(unit, answer)
        descriptors = iter(self._receive(answer["descriptors"]))
        by_function = {name: tuple(islice(descriptors, len(copies))) for name, copies in functions}
        programs = tuple(
            LoadedProgram(by_function[p.function], by_function.get(p.entry, ()), by_function.get(p.turn, ()))
            for p in unit.programs
        )
        loaded = Loaded(programs, dict(zip(request["maps"], descriptors, strict=True)))
        for program, copies in zip(unit.programs, programs, strict=True):
            if program.turns:
                bpf.update(loaded.maps[program.turns], bytes(4), struct.pack("=I", copies.turns[0]))
        return loaded

    def _ask(self, request: Mapping[str, object]) -> dict[str, Any] | None:
        try:
            self._socket.sendall((json.dumps(request) + "\n").encode())
            answer = b""
            while not answer.endswith(b"\n"):
                piece = self._socket.recv(1)
                if not piece:
                    return None
                answer += piece
        except OSError:
            return None
        found: dict[str, Any] = json.loads(answer)
        return found

    def _fail(self, unit: Unit, answer: dict[str, Any] | None) -> NoReturn:
        log = os.pread(self._errors, os.fstat(self._errors).st_size, 0).decode("utf-8", "replace")
        if answer is None or answer["failed"] == "compile":
            blame_compiler(unit, log, died=answer is None)
        blame_verifier(unit, str(answer["failed"]), str(answer["reason"]), log)

    def _receive(self, count: int) -> Sequence[int]:
        descriptors: list[int] = []
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = count + SPARE_DESCRIPTORS
        if soft != resource.RLIM_INFINITY and soft < wanted and (hard == resource.RLIM_INFINITY or wanted <= hard):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        while len(descriptors) < count:
            message, some, _, _ = socket.recv_fds(self._socket, 1, 253)
            if not message:
                raise CompilerBug("the compiler's process ended while it sent what it had loaded")
            descriptors += some
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 -- it takes no keyword
        return descriptors

    def close(self) -> None:
        """End the process, if it has not been."""
        if self._closed:
            return
        self._closed = True
        self._socket.close()
        self._process.kill()
        self._process.wait()
        os.close(self._errors)
