"""What a script says about itself: its options, and the parameters that it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from xcapscript.builtins import OPTIONS
from xcapscript.diagnostics import Code, Diagnostic, Note, ScriptError, did_you_mean
from xcapscript.ir import ScriptOptions
from xcapscript.sema.filter import Parameters
from xcapscript.sema.kinds import TRUTHS
from xcapscript.sema.refusal import refuse
from xcapscript.source import Span
from xcapscript.syntax import ast


def script_options(options: Iterable[ast.Option]) -> tuple[ScriptOptions, list[Diagnostic]]:
    """What the `option`s say, and all that is wrong."""
    found = ScriptOptions()
    diagnostics: list[Diagnostic] = []
    said: dict[str, Span] = {}
    for option in options:
        try:
            value = _option(option)
        except ScriptError as error:
            diagnostics += error.diagnostics
            continue
        name = option.name.name
        if name in said:
            note = Note("it is set here first", said[name])
            message = f"option '{name}' is set twice"
            diagnostics.append(Diagnostic(Code.REDEFINED, message, option.name.span, notes=(note,)))
        said[name] = option.name.span
        changed: dict[str, Any] = {name: bool(value) if OPTIONS[name].high == 1 else value}
        found = replace(found, **changed)
    return found, diagnostics


def _option(option: ast.Option) -> int:
    row = OPTIONS.get(option.name.name)
    if row is None:
        hints = did_you_mean(option.name.name, OPTIONS) or (f"the options are {' '.join(OPTIONS)}",)
        refuse(Code.UNKNOWN_OPTION, option.name, f"unknown option '{option.name.name}'", *hints)
    value: int | None = None
    match option.value:
        case ast.Number(number):
            value = number
        case ast.Name(word):
            value = TRUTHS.get(word) if row.high == 1 else None
    if value is None or not row.low <= value <= row.high:
        takes = "true or false" if row.high == 1 else f"a number from {row.low} to {row.high}"
        refuse(Code.BAD_LITERAL, option.value, f"option '{row.name}' takes {takes}, and not '{option.value.span.text}'")
    return value


def with_defaults(given: Parameters, params: Mapping[str, ast.Param], start: Span) -> Parameters:
    """The parameters of a run; ScriptError for one that the script does not take, or that it needs."""
    diagnostics = []
    for name in given.named:
        if name not in params:
            hints = did_you_mean(name, params) or (
                (f"it takes {' '.join(f'--{known}=' for known in params)}",) if params else ()
            )
            diagnostics.append(Diagnostic(Code.UNKNOWN_PARAMETER, f"the script takes no '--{name}'", start, hints))
    named = dict(given.named)
    for name, param in params.items():
        match param.default:
            case _ if name in named:
                pass
            case ast.String(text):
                named[name] = text
            case ast.Number() | ast.Address() | ast.Mac() | ast.Name() | ast.Unary("-", ast.Number()):
                named[name] = param.default.span.text
            case None:
                hint = f"give --{name}=VALUE behind the script, or write param {name} = ...;"
                message = f"parameter '{name}' has no value"
                diagnostics.append(Diagnostic(Code.UNKNOWN_PARAMETER, message, param.name.span, (hint,)))
            case _:
                message = f"the default of '{name}' is not a word, a number, an address or a string"
                diagnostics.append(Diagnostic(Code.BAD_LITERAL, message, param.default.span))
    if diagnostics:
        raise ScriptError(diagnostics)
    return Parameters(given.words, named)
