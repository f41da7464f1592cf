"""What can stand behind a '.' or '->': arguments of the hook, fields of the packet, members of the kernel's structs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from xcapscript.builtins import PACKET_FIELDS, SOCKET_FIELDS
from xcapscript.diagnostics import ScriptError
from xcapscript.errors import KernelError
from xcapscript.ir import Hook
from xcapscript.kernel.facts import Kernel, Struct
from xcapscript.library import Library
from xcapscript.repl.words import FIELD_DOCS
from xcapscript.sema.hooks.resolve import Hooks
from xcapscript.sema.hooks.tracepoints import SKB, SOCK
from xcapscript.source import Source
from xcapscript.syntax import ast
from xcapscript.types import ArrayType, PointerType, StructType, Type

PATH = re.compile(
    r"(?P<root>\(\(\s*(?:struct|union)\s+\w+\s*\*\s*\)[^()]*\)|[A-Za-z_]\w*)"
    r"(?P<steps>(?:(?:\.|->)\w+|\[[^\[\]]*\])*)(?:\.|->)(?P<word>\w*)\Z"
)
STEP = re.compile(r"(?:\.|->)(\w+)|(\[)")
CAST = re.compile(r"\(\(\s*((?:struct|union)\s+\w+)")


def hooks_called(names: Sequence[str], library: Library, kernel: Kernel) -> list[Hook]:
    """The hooks that these are; those that are not there, or many, are left out."""
    found: list[Hook] = []
    for name in names:
        source = Source("prompt", name)
        try:
            if "*" not in name:
                found += Hooks({}, library, kernel).resolve(ast.Attach(name, source.span(0, len(name))))
        except (ScriptError, KernelError):
            continue
    return found


def members(text: str, names: Sequence[str], library: Library, kernel: Kernel) -> tuple[str, Mapping[str, str]] | None:
    """Of a text that ends in a path, what was typed of its last name, and the names there with their types."""
    match = PATH.search(text)
    if match is None:
        return None
    steps = [step or index for step, index in STEP.findall(match["steps"])]
    try:
        return match["word"], _found(match["root"], steps, names, library, kernel)
    except KernelError:
        return match["word"], {}


def _found(
    root: str, steps: Sequence[str], names: Sequence[str], library: Library, kernel: Kernel
) -> Mapping[str, str]:
    if not steps and root in {field.partition(".")[0] for field in PACKET_FIELDS}:
        prefix = f"{root}."
        found = {name.removeprefix(prefix): doc for name, doc in FIELD_DOCS.items() if name.startswith(prefix)}
        return found | ({"state": "enum: state of the connection"} if root == "tcp" else {})
    if root == "args":
        arguments = {a.name: a.type for hook in hooks_called(names, library, kernel) for a in hook.arguments}
        if not steps:
            return {name: str(kind) for name, kind in arguments.items()}
        first = arguments.get(steps[0])
        return _members(_walk(first, steps[1:], kernel) if first is not None else None, kernel)
    if cast := CAST.match(root):
        return _members(_walk(PointerType(cast[1]), steps, kernel), kernel)
    short = {name: row.doc for name, row in SOCKET_FIELDS.items()} if root == "sk" and not steps else {}
    start = {"skb": SKB, "sk": SOCK}.get(root)
    return short | _members(_walk(PointerType(start), steps, kernel) if start else None, kernel)


def _walk(kind: Type | None, steps: Sequence[str], kernel: Kernel) -> Type | None:
    """The type at the end of a path."""
    for step in steps:
        if step == "[":
            kind = kind.element if isinstance(kind, ArrayType) else None
            continue
        struct = _struct(kind, kernel)
        member = struct.member(step) if struct is not None else None
        kind = member.type if member is not None else None
    return kind


def _members(kind: Type | None, kernel: Kernel) -> dict[str, str]:
    struct = _struct(kind, kernel)
    return {member.name: str(member.type) for member in struct.members} if struct is not None else {}


def _struct(kind: Type | None, kernel: Kernel) -> Struct | None:
    if isinstance(kind, StructType):
        return kernel.struct_of(kind)
    if isinstance(kind, PointerType) and kind.target.startswith(("struct ", "union ")):
        return kernel.struct(kind.target.partition(" ")[2])
    return None
