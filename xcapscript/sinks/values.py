"""Values as text: each type of the language in the one way in which lines, maps and comments show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xcapscript.diagnostics import escape
from xcapscript.layout import Value
from xcapscript.types import EnumType, InternedType, PointerType, StackType, Type
from xcapscript.unit import EventSpec

Resolve = Callable[[tuple[int, ...], int], list[str]]
"""The frames of a stack as text, innermost first: its addresses, and how many frames were asked for."""

_DROP_REASON = "skb_drop_reason"
_DROP_REASON_PREFIXES = ("SKB_DROP_REASON_", "SKB_")


def text_of(data: bytes) -> str:
    """A string from the kernel, in which nothing can steer a terminal."""
    return escape(data.decode("utf-8", "backslashreplace"))


def label(kind: EnumType, value: int) -> str:
    """The name of an enum's value, or the number where it has none; drop reasons go without their prefix."""
    return labels(kind).get(value, str(value))


def labels(kind: EnumType) -> dict[int, str]:
    """All names of an enum, by value."""
    prefixes = _DROP_REASON_PREFIXES if kind.name == _DROP_REASON else ()
    # The first name of a value counts: kernels append _MAX and the like as a second one.
    return {value: _without(prefixes, name) for value, name in reversed(kind.members)}


class ReasonNames:
    """The names of the drop reasons that each event's packets may have, made once."""

    def __init__(self) -> None:
        self._by_event: dict[int, dict[int, str]] = {}

    def of(self, spec: EventSpec) -> dict[int, str]:
        if spec.id not in self._by_event:
            self._by_event[spec.id] = labels(EnumType(_DROP_REASON, spec.reasons))
        return self._by_event[spec.id]


def _without(prefixes: Sequence[str], name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)), name)


class ValueText:
    """Renders values; `strings` are those of the unit."""

    def __init__(self, strings: Sequence[str], resolve: Resolve) -> None:
        self._strings = strings
        self._resolve = resolve
        self._labels: dict[int, tuple[EnumType, dict[int, str]]] = {}

    def text(self, kind: Type, value: Value) -> str:
        """One line; a stack is one line a frame. A string of the script is shown as it was written."""
        match kind, value:
            case StackType(), tuple():
                return "\n".join(self.frames(kind, value))
            case EnumType(), int():
                return self._names(kind).get(value, str(value))
            case InternedType(), int():
                return self._strings[value] if value < len(self._strings) else str(value)
            case PointerType(), int():
                return f"{value:#x}"
            case _, bytes():
                return text_of(value)
            case _:
                return str(value)

    def frames(self, kind: StackType, addresses: tuple[int, ...]) -> list[str]:
        """The stack's frames, innermost first."""
        return [escape(frame) for frame in self._resolve(addresses, kind.depth)]

    def _names(self, kind: EnumType) -> dict[int, str]:
        # By identity: hashing an enum of 100 members takes longer than all else that is done for a line.
        if id(kind) not in self._labels:
            self._labels[id(kind)] = kind, labels(kind)
        return self._labels[id(kind)][1]
