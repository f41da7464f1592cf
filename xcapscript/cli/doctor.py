"""`xcap --doctor`: one page on what works on this machine, each thing tried, and what to do about the rest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from xcapscript import __version__
from xcapscript.cli.capture_check import check_capture
from xcapscript.diagnostics import escape
from xcapscript.errors import KernelError
from xcapscript.kernel import libbpf, rights
from xcapscript.kernel.bpf import has_batches, has_ring_buffers, online_cpus
from xcapscript.kernel.facts import Kernel
from xcapscript.kernel.pages import place_of_pages
from xcapscript.kernel.rights import Capability, and_list, capabilities
from xcapscript.kernel.tracefs import MOUNT_POINTS, Tracefs, is_readable
from xcapscript.kernel.typed import DYNPTR_FROM_SKB, reads_paged_data
from xcapscript.library import Library
from xcapscript.native import library as native_library
from xcapscript.pcap.libpcap import library_version
from xcapscript.resources import cache_directory
from xcapscript.runtime.compiler_process import CompilerProcess
from xcapscript.runtime.trial import TRIALS, Outcome, Verdict, try_kind

WIDTH = 80
NAMES = 20
BTF = Path("/sys/kernel/btf/vmlinux")
TOOLS = {"tcpdump": "for -t", "tshark": "", "capinfos": "", "bpftool": "", "wireshark": "for --install-extcap"}
"""Programs that go well with xcap, and the option that takes them."""

MECHANISMS: Mapping[str, str] = {
    "typed": "raw tracepoints whose packets the verifier knows",
    "kprobe.multi": "many functions by one call",
    "AF_XDP": "sockets that bypass the stack",
}
"""What is tried beside the kinds of hook, since these or their captures need it."""

PURPOSES: Mapping[Capability, str] = {
    Capability.BPF: "programs and maps",
    Capability.PERFMON: "reading kernel memory, tracepoints and probes",
    Capability.NET_ADMIN: "xdp and tc hooks",
    Capability.NET_RAW: "socket hooks, AF_XDP",
    Capability.SYSLOG: "names of functions in stacks",
    Capability.SYS_PTRACE: 'netns == "pid:1234" of other users\' processes',
    Capability.DAC_READ_SEARCH: "tracefs, for tracepoint: hooks, unless its files may be read",
    Capability.SYS_ADMIN: "uprobes on newer kernels; tracefs where it is not mounted",
}

_BCC_VERSION = "import bcc; bcc.BPF; print(bcc.__version__)"
_COLOURS = {"ok": "32", "no": "31", "?": "33"}


@dataclass(frozen=True, slots=True)
class Row:
    """One finding: its mark (`ok`, `no`, `?` for what was not tried, or nothing), and what to do."""

    mark: str
    name: str
    text: str = ""
    advice: str = ""


def examine(kernel: Kernel, library: Library, say: Callable[[str], object], *, coloured: bool) -> bool:
    """Say the page, a line at a time as it is found out; whether capturing works."""
    process = CompilerProcess()  # it warms up meanwhile
    page = _Page(say, coloured=coloured)
    try:
        page.line(f"xcap {__version__} on Linux {os.uname().release}, {os.uname().machine}, {len(online_cpus())} CPUs")
        page.section("programs and libraries", _software())
        page.section("rights", _rights())
        page.section("settings", _settings())
        page.section("hooks, each tried", _hooks())
        page.section("the kernel also has", _features())
        outcome = _outcome_of_capture(kernel, library, process)
        page.section("capturing", [_row("all together", outcome)])
    finally:
        process.close()
    works = outcome.verdict is Verdict.WORKS
    page.line()
    page.line("xcap can capture on this machine." if works else "xcap cannot capture on this machine: see above.")
    return works


class _Page:
    """Lines of at most WIDTH columns, of which the marks may be coloured."""

    def __init__(self, say: Callable[[str], object], *, coloured: bool) -> None:
        self._say = say
        self._coloured = coloured

    def line(self, text: str = "") -> None:
        self._say(escape(text))

    def section(self, title: str, rows: Iterable[Row]) -> None:
        """A title, and the rows as they come."""
        self.line()
        self.line(title)
        for row in rows:
            self._row(row)

    def _row(self, row: Row) -> None:
        name = escape(row.name)
        indent = 2 + 4 + NAMES
        lines = _wrapped(row.text, WIDTH - indent) or [""]
        if len(name) >= NAMES:
            lines = ["", *lines]
        mark = f"{row.mark:<3}"
        if self._coloured and row.mark in _COLOURS:
            mark = f"\x1b[{_COLOURS[row.mark]}m{mark}\x1b[0m"
        advice = [f"   {text}" for text in _wrapped(row.advice, WIDTH - indent - 3)]
        advice[:1] = [text.replace("  ", "->", 1) for text in advice[:1]]
        for number, text in enumerate([*lines, *advice]):
            head = f"  {mark} {name:<{NAMES}}" if number == 0 else " " * indent
            self._say(f"{head}{text}".rstrip())


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(escape(text), width, break_on_hyphens=False)


def _row(name: str, outcome: Outcome) -> Row:
    marks = {Verdict.WORKS: "ok", Verdict.FAILS: "no", Verdict.NOT_TRIED: "?"}
    return Row(marks[outcome.verdict], name, outcome.note, outcome.advice)


def _asked(name: str, ask: Callable[[], str], advice: str = "") -> Row:
    """What a question gives; a KernelError says what is missing."""
    try:
        return Row("ok", name, ask())
    except KernelError as error:
        return Row("no", name, error.message, error.advice or advice)


def _software() -> Iterator[Row]:
    if BTF.exists():
        yield Row("ok", "BTF", f"{BTF}, {BTF.stat().st_size / 1e6:.1f} MB")
    else:
        yield Row("no", "BTF", f"{BTF} is missing", "run a kernel built with CONFIG_DEBUG_INFO_BTF=y")
    done = subprocess.run([sys.executable, "-P", "-c", _BCC_VERSION], capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["no word"])[-1]
        yield Row("no", "BCC", told, "Debian's package is python3-bpfcc, which the virtual environment must see")
    else:
        yield Row("ok", "BCC", done.stdout.strip())
    yield _asked("libbpf", lambda: libbpf.version().removeprefix("v"))
    yield Row("ok", "libpcap", library_version().removeprefix("libpcap version "))
    if native_library() is not None:
        yield Row("ok", "native library", "packets are written by C")
    else:
        advice = "install it anew where there is a C compiler, and without XCAP_NATIVE=0"
        yield Row("no", "native library", "packets are written by Python, at a tenth of the speed", advice)
    for tool, use in TOOLS.items():
        path = shutil.which(tool)
        if path is not None:
            yield Row("ok", tool, path)
        elif use:
            yield Row("no", tool, "not found", f"it is {use}")


def _rights() -> Iterator[Row]:
    have = capabilities()
    yield Row("", "user", f"uid {os.geteuid()}{', in a user namespace' * rights.in_user_namespace()}")
    for one, purpose in PURPOSES.items():
        yield Row("ok" if one in have else "no", str(one), purpose)
    state = rights.lockdown()
    advice = "BPF cannot read kernel memory: boot without lockdown=" if state == "confidentiality" else ""
    yield Row("no" if advice else "", "lockdown", state or "unknown: securityfs is not mounted", advice)
    try:
        cache = cache_directory()
        text = str(cache) if cache else "none can be made: the kernel's types are written anew at each start"
        yield Row("ok" if cache else "no", "cache", text)
    except KernelError as error:
        yield Row("no", "cache", error.message, error.advice or "")


def _settings() -> Iterator[Row]:
    for name, meaning in SETTINGS.items():
        value = rights.number(name)
        said = [f"{'not there' if value is None else value} in {name.rpartition('/')[0].replace('/', '.')}"]
        yield Row("", name.rpartition("/")[2], "; ".join(filter(None, [*said, meaning(value)])))
    yield _asked("tracefs", _tracefs)


def _tracefs() -> str:
    """How many tracepoints there are, and at which of its usual places it can be read."""
    number = len(Tracefs().names)
    places = [place for place in MOUNT_POINTS if is_readable(place)]
    nowhere = f"mounted by xcap alone, as it is at neither {' nor '.join(MOUNT_POINTS)}"
    return f"{number} tracepoints, {'at ' + and_list(places) if places else nowhere}"


def _of_unprivileged(value: int | None) -> str:
    return "BPF takes capabilities" if value else "BPF is open to all users, but not for tracing"


def _of_perf(value: int | None) -> str:
    return "tracepoints and probes take CAP_PERFMON" if value is not None and value > -1 else ""


def _of_pointers(_: int | None) -> str:
    hidden = rights.names_are_hidden(capabilities())
    return "names of functions in stacks are hidden from us" if hidden else "stacks have names"


def _of_jit(value: int | None) -> str:
    return "" if value else "BPF programs have no names in stacks"


SETTINGS: Mapping[str, Callable[[int | None], str]] = {
    "kernel/unprivileged_bpf_disabled": _of_unprivileged,
    "kernel/perf_event_paranoid": _of_perf,
    "kernel/kptr_restrict": _of_pointers,
    "net/core/bpf_jit_enable": lambda value: "" if value else "programs run slowly: set it to 1",
    "net/core/bpf_jit_kallsyms": _of_jit,
}


def _hooks() -> Iterator[Row]:
    return (_row(kind, try_kind(kind)) for kind in TRIALS if kind not in MECHANISMS)


def _features() -> Iterator[Row]:
    for name, what in MECHANISMS.items():
        outcome = try_kind(name)
        note = what if outcome.verdict is Verdict.WORKS else outcome.note
        yield _row(name, Outcome(outcome.verdict, note, outcome.advice))
    if rights.missing([], capabilities()):
        yield Row("?", "maps", f"it takes {and_list(rights.needed([]))}")
        return
    yield _either("ring buffers", has_ring_buffers(), "", "perf buffers take their place (Linux 5.8 has them)")
    yield _either("batches", has_batches(), "maps are read many keys at a time", "maps are read key by key (Linux 5.6)")
    partial = "raw tracepoints keep 16,384 bytes of a packet (Linux 6.12 has it)"
    yield _either("paged data", reads_paged_data(), f"packets are captured whole, by {DYNPTR_FROM_SKB}()", partial)
    found = "at functions and tracepoints 16,384 bytes of packets are kept, those in pages are found by hand"
    lost = "what is in pages is left out at functions and tracepoints, and such packets are marked partial (Linux 5.10)"
    yield _either("pages", place_of_pages() is not None, found, lost)


def _either(name: str, there: bool, yes: str, no: str) -> Row:  # noqa: FBT001
    return Row("ok", name, yes) if there else Row("no", name, no)


def _outcome_of_capture(kernel: Kernel, library: Library, process: CompilerProcess) -> Outcome:
    """Without the rights it is not tried."""
    if lacking := rights.missing([], capabilities()):
        return Outcome(Verdict.NOT_TRIED, f"it takes {and_list(lacking)}", "run it with sudo")
    return check_capture(kernel, library, process)
