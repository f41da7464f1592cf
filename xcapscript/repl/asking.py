"""Commands that ask: which hooks there are, what they give, what a clause became, what works on this machine."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator

from xcapscript.builtins import PACKET_FIELDS, SOCKET_FIELDS
from xcapscript.cli.listing import list_hooks
from xcapscript.diagnostics import ScriptError, did_you_mean
from xcapscript.errors import UsageError
from xcapscript.ir import Hook
from xcapscript.repl.command import Desk
from xcapscript.repl.world import library_doc
from xcapscript.sema.hooks.resolve import Hooks
from xcapscript.source import Source
from xcapscript.syntax import ast

DOCTOR = "from xcapscript.cli.start import main; main()"


def hooks(desk: Desk, argument: str) -> str:
    """What `xcap -l PATTERN` lists."""
    text, notes = io.StringIO(), io.StringIO()
    around = desk.around
    if not list_hooks(argument or "*", around.kernel, around.library, text, notes, verbose=False):
        raise UsageError(f"no hook matches '{argument}'")
    return f"{text.getvalue()}{notes.getvalue()}".rstrip("\n")


def describe(desk: Desk, argument: str) -> str:
    """What a hook stands for, its arguments, and what is known of its packet."""
    if not argument or " " in argument:
        raise UsageError("write .desc HOOK, such as .desc drop or .desc rawtracepoint:kfree_skb")
    around = desk.around
    source = Source("hook", argument)
    try:
        found = Hooks({}, around.library, around.kernel).resolve(ast.Attach(argument, source.span(0, len(argument))))
    except ScriptError as error:
        first = error.diagnostics[0]
        raise UsageError(" ".join([first.message, *(f"({hint})" for hint in first.hints)])) from None
    doc = library_doc(around.library, argument)
    lines = [f"{argument}: {doc}"] if doc else []
    for hook in found:
        lines += _hook_lines(hook)
    return "\n".join(lines)


def _hook_lines(hook: Hook) -> Iterator[str]:
    kind = hook.attachment.kind
    yield f"{kind}:{hook.attachment.target}" if hook.attachment.target else kind.value
    for argument in hook.arguments:
        yield f"    args.{argument.name}: {argument.type}"
    if hook.skb is not None:
        yield f"    the packet is args.{hook.skb.name}"
    elif hook.has_packet and hook.sock is not None:
        yield f"    no packet: its headers are made up from the socket args.{hook.sock.name}"
    elif not hook.has_packet:
        yield "    no packet: no tcpdump expression, no dump"
    if hook.reason is not None:
        yield f"    the drop reason is args.{hook.reason.name}"


def fields(desk: Desk, argument: str) -> str:
    """Fields of packets by their layer, or members of a struct of this kernel."""
    name = re.sub(r"^(struct|union)\s+", "", argument)
    layers = list(dict.fromkeys(field.partition(".")[0] for field in PACKET_FIELDS))
    if not argument:
        named = [f"{layer}: {' '.join(_names_in(layer))}" for layer in layers]
        return "\n".join([*named, f"sk: {' '.join(SOCKET_FIELDS)}", "skb, struct NAME: as this kernel has them"])
    if argument in layers:
        rows = [
            (row.name, str(row.type), row.doc) for row in PACKET_FIELDS.values() if row.name.startswith(f"{argument}.")
        ]
        return _columns(rows)
    short = (
        [(f"sk.{row.name}", str(row.type or ""), row.doc) for row in SOCKET_FIELDS.values()] if argument == "sk" else []
    )
    struct = desk.around.kernel.struct({"skb": "sk_buff", "sk": "sock"}.get(name, name))
    if struct is None:
        raise UsageError(
            f"there are no fields of '{argument}': {' '.join(did_you_mean(argument, layers)) or 'see .fields'}"
        )
    members = [(member.name, str(member.type), "") for member in struct.members]
    return "\n".join(
        [*([_columns(short)] if short else []), f"struct {struct.name}, {struct.size} bytes", _columns(members)]
    )


def _names_in(layer: str) -> list[str]:
    prefix = f"{layer}."
    return [name.removeprefix(prefix) for name in PACKET_FIELDS if name.startswith(prefix)]


def _columns(rows: list[tuple[str, str, str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"    {name:<{widths[0]}}  {kind:<{widths[1]}}  {doc}".rstrip() for name, kind, doc in rows)


def c_text(desk: Desk, argument: str) -> str:
    """The C of a clause, as `xcap --dump c` shows it."""
    if not argument:
        raise UsageError("write .c N, with the number of a clause")
    job = desk.jobs.find(argument)
    text = job.c_text
    if text is None:
        raise UsageError(f"clause {job.number} did not become C: it is {job.state}")
    return text.rstrip()


def doctor(_desk: Desk, _argument: str) -> str:
    """What `xcap --doctor` says; it tries things, which is better done by a process of its own."""
    command = [sys.executable, "-P", "-c", DOCTOR, "--doctor"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return (done.stdout + done.stderr).rstrip()
