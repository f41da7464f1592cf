"""The line that is typed: keys, colours, what is wrong with it, and writing above it while it is being typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app_or_none
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import Completer, ConditionalCompleter, DummyCompleter
from prompt_toolkit.enums import DEFAULT_BUFFER, EditingMode
from prompt_toolkit.filters import Condition, completion_is_selected, emacs_mode, has_focus, vi_navigation_mode
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.output import Output
from prompt_toolkit.utils import get_cwidth, is_dumb_terminal

from xcapscript.diagnostics import Diagnostic, escape
from xcapscript.repl.reading import WHOLE, Verdict
from xcapscript.repl.style import STYLE

PROMPT, CONTINUATION = "xcap> ", "....> "
REFRESH = 0.5
"""Seconds between two looks at what the toolbar tells."""

INDENT = "    "
FORGOTTEN = 65
"""Characters of a text from which on prompt_toolkit forgets how wide it was; of what is shorter it keeps every one."""

_SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Footer:
    """What stands below the line that is typed: lines, and the bar, which may be a warning."""

    lines: tuple[str, ...]
    bar: str
    warns: bool


class Terminated(Exception):
    """The process is to end: SIGTERM, or the terminal has gone."""


class EditLine(Exception):
    """The line is to be changed in the user's editor."""


class Prompt:
    """Asks for texts. All that it needs is handed in, so that tests can type into a pipe.

    `judge` says what a text is, `footer` what stands below it in so many columns and lines, `complain` takes bugs.
    """

    def __init__(
        self,
        judge: Callable[[str], Verdict],
        footer: Callable[[int, int], Footer],
        complain: Callable[[Exception], None],
        *,
        completer: Completer | None = None,
        lexer: Lexer | None = None,
        history: History | None = None,
        source: Input | None = None,
        output: Output | None = None,
    ) -> None:
        self._judge = judge
        self._footer = footer
        self._complain = complain
        self._trouble: Diagnostic | None = None
        self._session: PromptSession[str] = PromptSession(
            [("class:prompt", PROMPT)],
            prompt_continuation=_continuation,
            multiline=True,
            completer=ConditionalCompleter(completer or DummyCompleter(), Condition(self._is_right)),
            complete_in_thread=True,
            complete_while_typing=True,
            auto_suggest=AutoSuggestFromHistory(),
            lexer=lexer,
            history=history,
            style=STYLE,
            include_default_pygments_style=False,
            bottom_toolbar=self._toolbar,
            refresh_interval=REFRESH,
            key_bindings=self._keys(),
            enable_suspend=True,
            tempfile_suffix=".xcap",
            input=source,
            output=output,
        )
        self._session.default_buffer.on_text_changed += self._forget_trouble
        self._output = self._session.output
        self._question: PromptSession[str] = PromptSession(input=source, output=output)
        self.dumb = is_dumb_terminal()

    async def ask(self, text: str = "") -> str:
        """The next text.

        KeyboardInterrupt of Ctrl-C, EOFError of Ctrl-D on an empty line, EditLine of Ctrl-X Ctrl-E, Terminated of a
        signal.
        """
        self._trouble = None
        return await self._session.prompt_async(default=text, set_exception_handler=False)

    async def confirm(self, question: str) -> bool:
        """Whether the answer is yes, or another Ctrl-D."""
        try:
            answer = await self._question.prompt_async(f"{question} [Y/n] ")
        except EOFError:
            return True
        except KeyboardInterrupt:
            return False
        return answer.strip().lower() in ("", "y", "yes")

    @property
    def left(self) -> str:
        """What stands in the line, or stood there when it was left."""
        return self._session.default_buffer.text

    @property
    def vi(self) -> bool:
        return self._session.editing_mode is EditingMode.VI

    @vi.setter
    def vi(self, on: bool) -> None:
        self._session.editing_mode = EditingMode.VI if on else EditingMode.EMACS

    def columns(self) -> int:
        """How wide the terminal is."""
        return self._output.get_size().columns

    def rows(self) -> int:
        """How high it is."""
        return self._output.get_size().rows

    def end(self) -> None:
        """Leave the line that is being typed: `ask` raises Terminated."""
        app = get_app_or_none()
        if app is not None and app.is_running and not app.is_done:
            app.exit(exception=Terminated())

    def write(self, text: str) -> None:
        """Write whole lines above the line that is being typed, if there is one."""
        app = get_app_or_none()
        typing = app is not None and app.is_running and not app.is_done
        if not typing or app is None:
            self._put(text)
        elif self.dumb:
            self._put(f"\n{text}{PROMPT}{self.left}")
        else:
            renderer = app.renderer
            row = renderer.rows_above_layout + 1 if renderer.height_is_known else None
            renderer.erase()
            self._put(text)
            size = self._output.get_size()
            if row is None or renderer.waiting_for_cpr:
                renderer.request_absolute_cursor_position()
            else:
                # to ask the terminal each time where the prompt has come to would make the toolbar flicker
                used = sum(_lines(line, size.columns) for line in text.split("\n")[:-1])
                renderer.report_absolute_cursor_row(min(row + used, size.rows))
            renderer.render(app, app.layout)

    def _put(self, text: str) -> None:
        self._output.enable_autowrap()
        self._output.write_raw(text)
        self._output.flush()

    def _forget_trouble(self, _buffer: Buffer) -> None:
        self._trouble = None

    def _toolbar(self) -> StyleAndTextTuples:
        try:
            return self._toolbar_lines()
        except Exception as error:  # noqa: BLE001 -- a bug never ends the prompt
            self._complain(error)
            return []

    def _toolbar_lines(self) -> StyleAndTextTuples:
        width = self.columns()
        footer = self._footer(width, self.rows() // 2)
        found: StyleAndTextTuples = []
        for line in footer.lines:
            found += [("", line), ("", "\n")]
        if self._trouble is not None:
            for line in _told(self._trouble, width):
                found += [("class:trouble", line), ("", "\n")]
        found.append(("class:bar.lost" if footer.warns else "class:bar", f" {footer.bar}".ljust(width - 1)))
        # what is behind the terminal's width is cut off
        return [(found[0][0], found[0][1].ljust(FORGOTTEN)), *found[1:]]

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        typing = has_focus(DEFAULT_BUFFER)
        selected = completion_is_selected

        @keys.add("enter", filter=typing & selected)
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.complete_state = None

        @keys.add("enter", filter=typing & ~selected)
        def _(event: KeyPressEvent) -> None:
            self._enter(event.current_buffer)

        @keys.add("escape", "enter", filter=typing)
        def _(event: KeyPressEvent) -> None:
            self._enter(event.current_buffer, at_once=True)

        @keys.add("c-x", "c-e", filter=typing & emacs_mode)
        @keys.add("v", filter=typing & vi_navigation_mode)
        def _(event: KeyPressEvent) -> None:
            event.app.exit(exception=EditLine())

        @keys.add("tab", filter=typing & Condition(self._at_indent))
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text(INDENT)

        return keys

    def _is_right(self) -> bool:
        """Whether no mistake is shown, of which a menu would take attention and place."""
        return self._trouble is None

    def _at_indent(self) -> bool:
        document = self._session.default_buffer.document
        return document.line_count > 1 and not document.current_line_before_cursor.strip()

    def _enter(self, buffer: Buffer, *, at_once: bool = False) -> None:
        """Run what is whole, go on with what is not, and show what is wrong."""
        text = buffer.text
        try:
            verdict = self._judge(text)
        except Exception as error:  # noqa: BLE001 -- a bug never ends the prompt
            self._complain(error)
            verdict = WHOLE
        ended = at_once or (text.endswith("\n") and buffer.document.is_cursor_at_the_end)
        if not verdict.whole and not ended:
            buffer.insert_text(f"\n{_indent(buffer.document.text_before_cursor)}")
        elif verdict.wrong is not None and not self.dumb:
            buffer.cursor_position = min(verdict.wrong.span.start, len(text))
            self._trouble = verdict.wrong
        else:
            buffer.validate_and_handle()


def _continuation(width: int, _line: int, wrapped: int) -> StyleAndTextTuples:
    """What stands before lines but the first; what goes on because it is too long has nothing there."""
    return [("class:continuation", " " * width if wrapped else CONTINUATION[-width:])]


def _indent(before: str) -> str:
    """The blanks that a new line begins with."""
    line = before.rpartition("\n")[2]
    deeper = INDENT if line.rstrip().endswith("{") else ""
    return f"{line[: len(line) - len(line.lstrip())]}{deeper}"


def _told(trouble: Diagnostic, width: int) -> list[str]:
    """A diagnostic in lines of at most so many columns: its place is where the cursor is."""
    words = " ".join([escape(trouble.message), *(f"({escape(hint)})" for hint in trouble.hints)]).split(" ")
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _lines(text: str, columns: int) -> int:
    """How many lines of the terminal a line of text takes, or more."""
    plain = _SEQUENCE.sub("", text).expandtabs()
    # get_cwidth() keeps the width of every short text that it was ever asked for: of characters there are few
    width = len(plain) if plain.isascii() else sum(map(get_cwidth, plain))
    return 1 + width // columns
