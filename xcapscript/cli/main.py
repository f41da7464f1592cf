"""The command `xcap`: what went wrong becomes one clear line and an exit status."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TextIO

from xcapscript.capture import compile_program, usual_buffer
from xcapscript.cli.doctor import examine
from xcapscript.cli.explanations import EXPLANATIONS, explain
from xcapscript.cli.extcap import Request, answer, command_line, hang_up, install, is_extcap, parse_request, program
from xcapscript.cli.formatting import format_programs
from xcapscript.cli.listing import list_hooks
from xcapscript.cli.options import Options, parse_options, usage, wishes
from xcapscript.cli.prompting import prompt
from xcapscript.cli.run import run
from xcapscript.cli.scripthelp import script_help
from xcapscript.cli.stages import stage_text
from xcapscript.cli.together import check_words
from xcapscript.compiler import Compiled
from xcapscript.diagnostics import ScriptError, did_you_mean, escape, render
from xcapscript.errors import CompilerBug, KernelError, UsageError
from xcapscript.kernel.facts import Kernel
from xcapscript.kernel.live import LiveKernel
from xcapscript.kernel.rights import require_rights
from xcapscript.library import default_library
from xcapscript.runtime.compiler_process import CompilerProcess
from xcapscript.sinks.base import SinkError
from xcapscript.source import LARGEST_SCRIPT, Source, check_size, read_script
from xcapscript.unit import Buffer

OK, WRONG_SCRIPT, WRONG_USAGE, WRONG_MACHINE, BUG, INTERRUPTED = 0, 1, 2, 3, 70, 130
ONE_LINER = "-e"
REPORT = "this is a bug in xcap: please report it with the program and the output of -v"
LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})
"""What the system says when there may be no more open files, processes or memory."""


def main() -> None:
    """The console script."""
    # a closed stream is None, and its number may be given to the next file that is opened
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere(number))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    unfailing = io.BufferedWriter(_Unfailing(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(unfailing, sys.stderr.encoding, "backslashreplace", line_buffering=True)
    status = run_command(sys.argv[1:], sys.stderr)
    try:
        sys.stdout.flush()
    except OSError as error:
        status = _output_failed(error, status)
    sys.exit(status)


class _Unfailing(io.FileIO):
    """Standard error. When it cannot be written, nobody can be told, and what is captured matters more."""

    def write(self, data: Any) -> int:
        with suppress(OSError):
            return super().write(data) or 0
        return memoryview(data).nbytes


def _nowhere(number: int) -> TextIO:
    """A stream that takes everything, at a descriptor that was closed."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    if descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)
    return open(number, "w", encoding="utf-8", closefd=False)


def _output_failed(error: OSError, status: int) -> int:
    """Standard output cannot be written: a reader that has seen enough is no mistake."""
    # the interpreter must not try again
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):
        return status
    print(f"xcap: cannot write standard output: {error.strerror}", file=sys.stderr)
    return status or WRONG_MACHINE


def run_command(arguments: Sequence[str], errors: TextIO) -> int:
    """Do what a command line asks for; its exit status. Nothing but SystemExit of --help comes out of it."""
    status = _attempt(arguments, errors)
    if status and is_extcap(arguments):
        hang_up(arguments)
    return status


def _attempt(arguments: Sequence[str], errors: TextIO) -> int:
    """As `run_command`; what went wrong has been told."""
    verbose = False
    try:
        if is_extcap(arguments):
            return _extcap(parse_request(arguments), errors)
        options = parse_options(arguments)
        verbose = options.verbose
        return _do(options, errors)
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
        if isinstance(error, OSError) and error.errno in LIMITS:
            advice = "a limit of this shell, container or machine is reached: see ulimit -a"
            return _complain(str(error.strerror), advice, None, errors)
        if verbose:
            sys.excepthook(type(error), error, error.__traceback__)
        _complain(f"{type(error).__name__}: {error}", REPORT, None, errors)
        return BUG


def _complain(message: str, advice: str | None, log: str | None, errors: TextIO) -> int:
    if log:
        # clang and the verifier quote the script; both indent by tabs
        print("\n".join(escape(line.expandtabs()) for line in log.rstrip().split("\n")), file=errors)
    print(f"xcap: {escape(message)}", file=errors)
    if advice:
        print(f"xcap: {escape(advice)}", file=errors)
    return WRONG_MACHINE


def _do(options: Options, errors: TextIO) -> int:
    if options.help:
        return _print(script_help(_read(options.files[0])) if options.files else usage().rstrip())
    if options.install_extcap:
        return _print(escape(install()))
    if options.explain is not None:
        return _explain(options.explain)
    if options.fmt:
        return _format(options, errors)
    kernel = LiveKernel()
    if options.doctor:
        return _examine(kernel)
    if options.list is not None:
        return _list(options.list, kernel, errors, verbose=options.verbose)
    if options.check:
        return _check(options, kernel, errors)
    if options.prompts and sys.stdin is not None and sys.stdin.isatty():
        prompt(options, kernel)
        return OK
    source = _source(options)
    _check_words(source, options)
    if options.dump:
        return _print(stage_text(_compile(source, options, kernel), options.dump))
    # it warms up while the script is read
    process = CompilerProcess()
    try:
        options = replace(options, buffer=_buffer(options, errors))
        unit = _compile(source, options, kernel).unit
        require_rights(unit.kinds)
        return run(unit, process, options, errors)
    finally:
        process.close()


def _extcap(request: Request, errors: TextIO) -> int:
    """Answer Wireshark, or capture for it. A capture filter that it asks about is fine if there is no answer."""
    if request.capture:
        return _do(parse_options(command_line(request)), errors)
    if request.filter and not answer(request):
        try:
            _compile(Source(ONE_LINER, program(request)), parse_options(["--check", "-e", ""]), LiveKernel())
        except ScriptError as error:
            return _print(escape(error.diagnostics[0].message))
        except UsageError as error:
            return _print(escape(str(error)))
        return OK
    return _print(answer(request)) if answer(request) else OK


def _examine(kernel: Kernel) -> int:
    statuses: list[int] = []
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    works = examine(kernel, default_library(), lambda line: statuses.append(_print(line)), coloured=coloured)
    return max(statuses) or (OK if works else WRONG_MACHINE)


def _list(pattern: str, kernel: Kernel, errors: TextIO, *, verbose: bool) -> int:
    text = io.StringIO()
    if not list_hooks(pattern, kernel, default_library(), text, errors, verbose=verbose):
        advice = "see 'xcap -l', and 'xcap --doctor' for what works here"
        raise KernelError(f"no hook matches '{pattern}'", advice=advice)
    return _print(text.getvalue().rstrip("\n"))


def _format(options: Options, errors: TextIO) -> int:
    text = io.StringIO()
    one_liner = _source(options) if options.program is not None else None
    status = format_programs(one_liner, options.files, _read, text, errors, diff=options.diff)
    return (_print(text.getvalue().removesuffix("\n")) if text.getvalue() else OK) or status


def _explain(name: str) -> int:
    text = explain(name)
    if text is None:
        hints = " ".join(did_you_mean(name, list(EXPLANATIONS))) or f"they are {' '.join(EXPLANATIONS)}"
        raise UsageError(f"there is no kind of mistake called '{name}': {hints}")
    return _print(text)


def _print(text: str) -> int:
    try:
        print(text, flush=True)
    except OSError as error:
        return _output_failed(error, OK)
    return OK


def _check(options: Options, kernel: Kernel, errors: TextIO) -> int:
    """Check each file; the worst status of all."""
    sources = [_source(options)] if options.program is not None else [_read(name) for name in options.files]
    worst = OK
    for source in sources:
        _check_words(source, options)
        try:
            _compile(source, options, kernel)
        except ScriptError as error:
            for diagnostic in error.diagnostics:
                print(render(diagnostic), file=errors)
            # a script that is wrong everywhere weighs more than one that is wrong here
            worst = WRONG_SCRIPT if worst == WRONG_SCRIPT or not error.of_the_machine else WRONG_MACHINE
    return worst


def _compile(source: Source, options: Options, kernel: Kernel) -> Compiled:
    return compile_program(source, default_library(), kernel, wishes(options), _tell_progress)


def _buffer(options: Options, errors: TextIO) -> Buffer:
    """What was asked for, or what this kernel has."""
    if options.buffer is not None:
        return options.buffer
    found = usual_buffer()
    if found is Buffer.PERF and not options.quiet:
        print("xcap: this kernel has no ring buffers: perf buffers take their place", file=errors)
    return found


def _check_words(source: Source, options: Options) -> None:
    """UsageError for words behind a program that takes none, and for packets to a standard output that is closed."""
    check_words(source.text, options.arguments)
    if options.write == "-" and sys.stdout is not None and getattr(sys.stdout, "name", None) == 1:
        raise UsageError("cannot write packets to standard output: it is closed")


def _tell_progress(seconds: float) -> None:
    print(f"xcap: libpcap is at work on the expression: {seconds:.0f} s", file=sys.stderr)


def _source(options: Options) -> Source:
    if options.program is not None:
        return Source(ONE_LINER, options.program)
    return _read(options.files[0] if options.files else "-")


def _read(name: str) -> Source:
    try:
        if name == "-" and sys.stdin is None:
            raise UsageError("cannot read '-': standard input is closed")
        if name == "-":
            return Source("stdin", _standard_input())
        # some editors put a byte order mark at the start
        return Source(name, read_script(name, "utf-8-sig", partial(_tell_waiting, name)))
    except OSError as error:
        raise UsageError(f"cannot read '{name}': {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"cannot read '{name}': it is not UTF-8 text") from None
    except ValueError:
        raise UsageError(f"cannot read '{name}': no file is called so") from None


def _standard_input() -> str:
    text = sys.stdin.read(LARGEST_SCRIPT + 1)
    check_size(len(text))
    return text


def _tell_waiting(name: str) -> None:
    message = f"waiting for a program on '{escape(name)}', a named pipe that nobody has written to yet"
    print(f"xcap: {message}", file=sys.stderr)
