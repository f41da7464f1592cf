"""Wireshark's plugin: the part of extcap(4) by which it asks for our interface, and starts a capture on it.

Wireshark starts a program in its extcap directory with words that begin with --extcap-, and reads sentences from its
standard output; packets it reads from a named pipe.
"""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep

from xcapscript import __version__
from xcapscript.errors import KernelError, UsageError
from xcapscript.sinks.output import PIPE_SECONDS, file_type

INTERFACE, DISPLAY = "xcap", "xcap: kernel hooks"
HOOK = "drop"
"""What is captured at when nothing is chosen."""

PATIENCE = 10
"""Seconds that Wireshark has to open its end of the pipe."""

_MARK = "--extcap-"
_NOT_IN_FILTERS = "{};"
_OPTIONS = """\
arg {number=0}{call=--hook}{display=Hook}{type=string}{default=drop}\
{tooltip=Where in the kernel: drop, rx, tx, retrans, reset, or another one that xcap -l lists}
arg {number=1}{call=--script}{display=Script}{type=fileselect}{mustexist=true}\
{tooltip=A program that dumps packets, in the place of hook and capture filter}
arg {number=2}{call=--snaplen}{display=Bytes kept of each packet}{type=unsigned}{default=0}\
{tooltip=0: as many as can be}"""
_WRAPPER = """\
#!/bin/sh
# Wireshark's plugin for xcap, made by xcap --install-extcap.
exec {command} "$@"
"""


@dataclass(frozen=True, slots=True)
class Request:
    """What Wireshark wants; what it has not set is empty."""

    capture: bool
    list_interfaces: bool
    list_link_types: bool
    list_options: bool
    filter: str
    fifo: str
    hook: str
    script: str
    snaplen: int


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # it raises, as the original exits
        raise UsageError(message)


def is_extcap(arguments: Sequence[str]) -> bool:
    """Whether it is Wireshark who asks."""
    return any(word.startswith(_MARK) for word in arguments)


def parse_request(arguments: Sequence[str]) -> Request:
    """What Wireshark asks for; words that only newer versions know are ignored. UsageError if it makes no sense."""
    parser = _Parser(prog="xcap", add_help=False, allow_abbrev=False)
    for flag in ("--capture", "--extcap-interfaces", "--extcap-dlts", "--extcap-config"):
        parser.add_argument(flag, action="store_true")
    for word in ("--extcap-interface", "--extcap-capture-filter", "--fifo", "--hook", "--script"):
        parser.add_argument(word, default="")
    parser.add_argument("--snaplen", type=_snaplen, default=0)
    found, _ = parser.parse_known_args(arguments)
    request = Request(
        capture=found.capture,
        list_interfaces=found.extcap_interfaces,
        list_link_types=found.extcap_dlts,
        list_options=found.extcap_config,
        filter=found.extcap_capture_filter.strip(),
        fifo=found.fifo,
        hook=found.hook.strip() or HOOK,
        script=found.script,
        snaplen=found.snaplen,
    )
    if found.extcap_interface not in ("", INTERFACE):
        raise UsageError(f"there is no interface '{found.extcap_interface}': it is called {INTERFACE}")
    if request.capture and not request.fifo:
        raise UsageError("--capture needs --fifo")
    return request


def _snaplen(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of bytes")
    return int(text)


def answer(request: Request) -> str:
    """The sentences that answer a question."""
    if request.list_interfaces:
        return f"extcap {{version={__version__}}}{{display=xcap}}\ninterface {{value={INTERFACE}}}{{display={DISPLAY}}}"
    if request.list_link_types:
        # one has to be named; the packets have those that the pcapng tells
        return "dlt {number=1}{name=EN10MB}{display=Ethernet}"
    if request.list_options:
        return _OPTIONS
    return ""


def program(request: Request) -> str:
    """The program that a hook and a capture filter are. UsageError for what cannot be within a filter."""
    if set(_NOT_IN_FILTERS) & set(request.filter):
        raise UsageError(f"'{request.filter}' is no capture filter: there is none of {_NOT_IN_FILTERS} in one")
    predicate = f" /{request.filter}/" if request.filter else ""
    return f"{request.hook}{predicate} {{ dump; }}"


def command_line(request: Request) -> list[str]:
    """The command line of a capture. UsageError if the request makes no sense."""
    if request.script and request.filter:
        raise UsageError("a script says itself which packets it dumps: clear the capture filter, or the script")
    words = ["-q", "-U", "-w", request.fifo, "-s", str(request.snaplen)]
    return [*words, "--", request.script] if request.script else [*words, "-e", program(request)]


def hang_up(arguments: Sequence[str]) -> None:
    """End a capture that came to nothing: Wireshark waits on its pipe until somebody has been at the other end."""
    pipe = next((path for word, path in pairwise(arguments) if word == "--fifo"), "")
    deadline = monotonic() + PATIENCE
    while file_type(pipe) == stat.S_IFIFO and monotonic() < deadline:
        try:
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:
                return
            sleep(PIPE_SECONDS)
        else:
            return


def install() -> str:
    """Make Wireshark find the command that is running; what was done, in a sentence. KernelError if it cannot be."""
    command = Path(sys.argv[0]).absolute()
    try:
        target = personal_directory() / INTERFACE
    except RuntimeError:
        raise KernelError("this user has no home directory", advice="set HOME to where Wireshark's is") from None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(_WRAPPER.format(command=shlex.quote(str(command))), encoding="utf-8")
        target.chmod(0o755)
    except OSError as error:
        raise KernelError(f"cannot write '{target}': {error.strerror}") from None
    return f"{target} starts {command}: this user's Wireshark and tshark have the interface '{DISPLAY}' now"


def personal_directory() -> Path:
    """Where the user's Wireshark looks for such plugins: it says so itself, where there is one."""
    try:
        done = subprocess.run(["tshark", "-G", "folders"], capture_output=True, check=False, text=True)  # noqa: S607 -- the user's own
    except OSError:
        return Path.home() / ".local/lib/wireshark/extcap"
    folders = dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
    # before Wireshark 4.2 it was beside the user's settings, and not listed
    if "Personal Extcap path:" in folders or "Personal configuration:" not in folders:
        return Path(folders.get("Personal Extcap path:", Path.home() / ".local/lib/wireshark/extcap"))
    return Path(folders["Personal configuration:"], "extcap")
