"""Completion as prompt_toolkit asks for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from xcapscript.repl.completion import complete
from xcapscript.repl.world import World

LONGEST_META = 60

BEGUN = re.compile(r"[\w.@$:\"-]\Z|->\Z")
"""Where a menu comes by itself: behind the beginning of a word. Elsewhere it is asked for with Tab."""


class WorldCompleter(Completer):
    """Asks what is known each time; a bug in there is told once, and completes nothing."""

    def __init__(self, world: Callable[[], World], complain: Callable[[Exception], None]) -> None:
        self._world = world
        self._complain = complain
        self._told = False

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        before = document.text_before_cursor
        if complete_event.text_inserted and not BEGUN.search(before):
            return
        try:
            found = complete(document.text, document.cursor_position, self._world())
        except Exception as error:  # noqa: BLE001 -- a bug in here never ends the prompt
            if not self._told:
                self._told = True
                self._complain(error)
            return
        for one in found:
            meta = one.meta if len(one.meta) <= LONGEST_META else f"{one.meta[: LONGEST_META - 2]}.."
            yield Completion(one.text, one.start - document.cursor_position, display_meta=meta)
