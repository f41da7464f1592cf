"""The command `xcap`: what went wrong becomes one clear line and an exit status."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from xcapscript.cli.listing import list_hooks
from xcapscript.cli.options import Options, parse_options
from xcapscript.cli.run import require_privilege, run
from xcapscript.cli.stages import stage_text
from xcapscript.codegen.generate import LARGEST_SNAPLEN
from xcapscript.codegen.generate import Options as CodeOptions
from xcapscript.compiler import Compiled, compile_script
from xcapscript.diagnostics import ScriptError, escape, render
from xcapscript.errors import CompilerBug, KernelError, UsageError
from xcapscript.kernel.facts import Kernel
from xcapscript.kernel.live import LiveKernel
from xcapscript.library import default_library
from xcapscript.pcap.libpcap import interface_netmask
from xcapscript.runtime.compiler_process import CompilerProcess
from xcapscript.sema.analyse import Settings
from xcapscript.sema.filter import Parameters, Rules
from xcapscript.sinks.base import SinkError
from xcapscript.source import Source

OK, WRONG_SCRIPT, WRONG_USAGE, WRONG_MACHINE, BUG, INTERRUPTED = 0, 1, 2, 3, 70, 130
ONE_LINER = "-e"
REPORT = "this is a bug in xcap: please report it with the program and the output of -v"


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    status = run_command(sys.argv[1:], sys.stderr)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # what was read is all that was wanted; the interpreter must not try again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def run_command(arguments: Sequence[str], errors: TextIO) -> int:
    """Do what a command line asks for; its exit status. Nothing but SystemExit of --help comes out of it."""
    verbose = "-v" in arguments
    try:
        return _do(parse_options(arguments), errors)
    except UsageError as error:
        print(f"xcap: {escape(str(error))}\nxcap: see 'xcap --help'", file=errors)
        return WRONG_USAGE
    except ScriptError as error:
        for diagnostic in error.diagnostics:
            print(render(diagnostic), file=errors)
        return WRONG_MACHINE if error.of_the_machine else WRONG_SCRIPT
    except KernelError as error:
        return _complain(error.message, error.advice, error.log if verbose else None, errors)
    except SinkError as error:
        return _complain(error.message, None, None, errors)
    except KeyboardInterrupt:
        return INTERRUPTED
    except CompilerBug as error:
        _complain(str(error), REPORT, error.log if verbose else None, errors)
        return BUG
    except Exception as error:  # noqa: BLE001 -- no traceback ever reaches a user
        if verbose:
            sys.excepthook(type(error), error, error.__traceback__)
        _complain(f"{type(error).__name__}: {error}", REPORT, None, errors)
        return BUG


def _complain(message: str, advice: str | None, log: str | None, errors: TextIO) -> int:
    if log:
        print(log.rstrip(), file=errors)
    print(f"xcap: {escape(message)}", file=errors)
    if advice:
        print(f"xcap: {escape(advice)}", file=errors)
    return WRONG_MACHINE


def _do(options: Options, errors: TextIO) -> int:
    kernel = LiveKernel()
    if options.list is not None:
        found = list_hooks(options.list, kernel, default_library(), sys.stdout, errors, verbose=options.verbose)
        if not found:
            raise UsageError(f"no hook matches '{options.list}'")
        return OK
    if options.check:
        return _check(options, kernel, errors)
    source = _source(options)
    if options.dump:
        print(stage_text(_compile(source, options, kernel), options.dump))
        return OK
    # it warms up while the script is read
    process = CompilerProcess()
    try:
        unit = _compile(source, options, kernel).unit
        require_privilege()
        return run(unit, process, options, errors)
    finally:
        process.close()


def _check(options: Options, kernel: Kernel, errors: TextIO) -> int:
    """Check each file; the worst status of all."""
    sources = [_source(options)] if options.program is not None else [_read(name) for name in options.files]
    worst = OK
    for source in sources:
        try:
            _compile(source, options, kernel)
        except ScriptError as error:
            for diagnostic in error.diagnostics:
                print(render(diagnostic), file=errors)
            worst = max(worst, WRONG_MACHINE if error.of_the_machine else WRONG_SCRIPT)
    return worst


def _compile(source: Source, options: Options, kernel: Kernel) -> Compiled:
    settings = Settings(
        Parameters(options.arguments),
        Rules(not options.no_names, _netmask(options.interface), _tell_progress),
        writes=options.write is not None,
        checking=options.check,
    )
    snaplen = min(options.snaplen or LARGEST_SNAPLEN, LARGEST_SNAPLEN)
    code = CodeOptions(snaplen, options.count, options.interface)
    return compile_script(source, default_library(), kernel, settings, code)


def _tell_progress(seconds: float) -> None:
    print(f"xcap: libpcap is at work on the expression: {seconds:.0f} s", file=sys.stderr)


def _netmask(interface: str | None) -> int | None:
    return interface_netmask(interface) if interface is not None else None


def _source(options: Options) -> Source:
    if options.program is not None:
        return Source(ONE_LINER, options.program)
    return _read(options.files[0])


def _read(name: str) -> Source:
    try:
        if name == "-":
            return Source("stdin", sys.stdin.read())
        return Source(name, Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read '{name}': {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"cannot read '{name}': it is not UTF-8 text") from None
