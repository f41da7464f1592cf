"""A script's tokens with the comments between them, for the formatter: no blank and no ';' is left."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from xcapscript.source import Source
from xcapscript.syntax.parse import Lexeme, lexemes

_COMMENT = re.compile(r"\A#![^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment, and how many line ends stand before it."""

    text: str
    newlines: int

    @property
    def ends_line(self) -> bool:
        return not self.text.startswith("/*")


@dataclass(frozen=True, slots=True)
class Piece:
    """A token with the comments before it; `newlines` are those between the last of them and the token."""

    kind: str
    text: str
    comments: tuple[Comment, ...] = ()
    newlines: int = 0
    stop: bool = False
    """Whether a ';' stood behind it."""

    @property
    def on_one_line(self) -> bool:
        """Whether nothing from the token before it to its own end makes a new line."""
        gaps = self.newlines + sum(comment.newlines for comment in self.comments)
        flat = not any(comment.ends_line or "\n" in comment.text for comment in self.comments)
        return flat and not gaps and "\n" not in self.text


def read_pieces(source: Source) -> list[Piece]:
    """The tokens and the end, without ';': the comments before a ';' or ',' stand behind it."""
    pieces: list[Piece] = []
    text, at = source.text, 0
    moved: tuple[Comment, ...] = ()
    newlines = 0
    for lexeme in [*lexemes(source), Lexeme("$END", "", len(text), len(text))]:
        piece = _piece(lexeme, text[at : lexeme.start], start=at == 0)
        piece = _behind(moved, newlines, piece)
        at, moved, newlines = lexeme.end, (), 0
        if lexeme.kind in {"SEMICOLON", "COMMA"}:
            moved, newlines = piece.comments, piece.newlines
        if lexeme.kind == "COMMA":
            pieces.append(replace(piece, comments=(), newlines=0))
        elif lexeme.kind != "SEMICOLON":
            pieces.append(piece)
        elif pieces:
            pieces[-1] = replace(pieces[-1], stop=True)
    return pieces


def _piece(lexeme: Lexeme, gap: str, *, start: bool) -> Piece:
    comments = []
    at = 0
    for match in _COMMENT.finditer(gap):
        if match[0].startswith("#!") and not start:
            continue
        comments.append(Comment(match[0].rstrip(), gap.count("\n", at, match.start())))
        at = match.end()
    return Piece(lexeme.kind, _token_text(lexeme), tuple(comments), gap.count("\n", at))


def _token_text(lexeme: Lexeme) -> str:
    """As it was written, but for a predicate's ends and the blanks before the quotes of C."""
    if lexeme.kind == "C_TEXT":
        return "c " + lexeme.text[1:].lstrip()
    if lexeme.kind != "PREDICATE":
        return lexeme.text
    inside = lexeme.text[1:-1]
    # a comment would begin
    if not inside.strip() or inside.strip()[0] in "/*" or inside.strip()[-1] in "/*\\":
        return lexeme.text
    return f"/{inside.strip()}/"


def _behind(moved: tuple[Comment, ...], newlines: int, piece: Piece) -> Piece:
    """The piece with comments that stood before a separator, and with the line ends there, before its own."""
    if piece.comments:
        first = replace(piece.comments[0], newlines=max(newlines, piece.comments[0].newlines))
        return replace(piece, comments=(*moved, first, *piece.comments[1:]))
    return replace(piece, comments=moved, newlines=max(newlines, piece.newlines))
