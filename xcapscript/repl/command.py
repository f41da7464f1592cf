"""What a command is, what it works with, and what it may ask the loop to do for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from xcapscript.capture import Wishes
from xcapscript.cli.options import Options, wishes
from xcapscript.repl.jobs import Jobs, Surroundings
from xcapscript.repl.toolbar import Meter


class Takes(Enum):
    """What stands behind a command."""

    NOTHING = auto()
    JOB = auto()
    JOBS = auto()
    MAP = auto()
    HOOK = auto()
    FIELDS = auto()
    PATH = auto()
    SETTING = auto()
    TOPIC = auto()
    TEXT = auto()


class Leave(Exception):
    """The prompt is to end."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A text is to be changed in the user's editor, and then stands in the line."""

    text: str


@dataclass(frozen=True, slots=True)
class Shell:
    """A command of the shell is to be run at the terminal."""

    line: str


Result = str | Edit | Shell | None
"""What a command gives: text to be shown, or what only the loop can do."""


@dataclass(slots=True)
class Desk:
    """What commands work with.

    The options that hold for what is started; the texts that were typed, the oldest first; the maps that are shown
    below the prompt; how the line is edited.
    """

    jobs: Jobs
    around: Surroundings
    options: Options
    meter: Meter
    typed: list[str] = field(default_factory=list)
    watched: tuple[str, ...] = ()
    vi: bool = False

    @property
    def wishes(self) -> Wishes:
        """How a program is compiled that is started now."""
        return wishes(self.options)


@dataclass(frozen=True, slots=True)
class Command:
    """A command: how it is written, what it takes, what does it, and what that is good for.

    What does it is called with what stands behind the command, and raises UsageError if that is wrong.
    """

    usage: str
    takes: Takes
    does: Callable[[Desk, str], Result]
    doc: str

    @property
    def name(self) -> str:
        return self.usage.partition(" ")[0]
