"""Colours of what is typed: programs by the language's own lexer, commands by their first word."""

from __future__ import annotations

from collections.abc import Callable

from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.lexers import Lexer, PygmentsLexer

from xcapscript.repl.reading import is_command
from xcapscript.syntax.highlight import XcapLexer


class TypedLexer(Lexer):
    """What prompt_toolkit asks for the colours of a document's lines."""

    def __init__(self) -> None:
        self._program = PygmentsLexer(XcapLexer)

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        if not is_command(document.text):
            return self._program.lex_document(document)

        def line(number: int) -> StyleAndTextTuples:
            text = document.lines[number] if number < len(document.lines) else ""
            word, blank, rest = text.partition(" ")
            return [("class:command", word), ("", f"{blank}{rest}")] if number == 0 else [("", text)]

        return line
