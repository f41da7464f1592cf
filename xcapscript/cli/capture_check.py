"""One small program through everything: compiled, loaded, attached, and hit by a packet to ourselves."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from time import monotonic, sleep

from xcapscript.codegen.generate import Options
from xcapscript.compiler import compile_script
from xcapscript.diagnostics import ScriptError
from xcapscript.errors import CompilerBug, KernelError
from xcapscript.kernel.bpf import has_ring_buffers
from xcapscript.kernel.facts import Kernel
from xcapscript.kernel.headers import header_tree
from xcapscript.library import Library
from xcapscript.runtime.compiler_process import CompilerProcess, Loaded
from xcapscript.runtime.control import Control
from xcapscript.runtime.maps import read_counts
from xcapscript.runtime.probes import Probes
from xcapscript.runtime.trial import Outcome, Verdict
from xcapscript.sema.analyse import Settings
from xcapscript.sema.filter import Parameters
from xcapscript.source import Source
from xcapscript.unit import Buffer, Unit

PORT = 9
"""discard (RFC 863)."""

PROGRAM = f"tx /udp dst port {PORT}/ {{ count; }}"
PATIENCE = 2
"""Seconds for a packet to ourselves to be counted."""


def check_capture(kernel: Kernel, library: Library, process: CompilerProcess) -> Outcome:
    """What comes of it, and how long it took until it was attached."""
    began = monotonic()
    try:
        options = Options(buffer=Buffer.RING if has_ring_buffers() else Buffer.PERF)
        unit = compile_script(Source("doctor", PROGRAM), library, kernel, Settings(Parameters()), options).unit
        with closing(process.load(unit, header_tree())) as loaded:
            return _attached(unit, loaded, lambda: monotonic() - began)
    except ScriptError as error:
        return Outcome(Verdict.FAILS, error.diagnostics[0].message, "see 'xcap -l'")
    except KernelError as error:
        return Outcome(Verdict.FAILS, error.message, error.advice or "")
    except CompilerBug as error:
        return Outcome(Verdict.FAILS, str(error), f"this may be a bug in xcap; see xcap -v -e '{PROGRAM}'")


def _attached(unit: Unit, loaded: Loaded, seconds: Callable[[], float]) -> Outcome:
    probes, control = Probes(unit, loaded), Control(loaded.maps["xcap_controls"])
    with closing(control):
        try:
            probes.attach()
            control.open_gate()
            taken = f"compiled and attached in {seconds():.2f} s"
            try:
                return _hit(loaded.maps["xcap_counts"], taken)
            except OSError as error:
                return Outcome(Verdict.WORKS, f"{taken}; no packet could be sent to try it: {error.strerror}")
        finally:
            control.close_gate()
            probes.detach()


def _hit(counts: int, taken: str) -> Outcome:
    """Send packets to ourselves until one is counted."""
    deadline = monotonic() + PATIENCE
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        while monotonic() < deadline:
            sender.sendto(b"xcap --doctor", ("127.0.0.1", PORT))
            if read_counts(counts, 0).matched:
                return Outcome(Verdict.WORKS, f"{taken}, and a packet to 127.0.0.1 was counted")
            sleep(0.05)
    return Outcome(Verdict.FAILS, f"{taken}, but no packet to 127.0.0.1 was counted", "is the loopback up? ip link")
