"""The formatter: a script's text in the project's style, its comments kept and its meaning unchanged.

It works on the parser's tokens. Comments are found between them and travel with the token behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace

from xcapscript.diagnostics import ScriptError
from xcapscript.errors import CompilerBug
from xcapscript.source import Source
from xcapscript.syntax import ast
from xcapscript.syntax.parse import parse
from xcapscript.syntax.pieces import Comment, Piece, read_pieces

WIDTH = 100
INDENT = 4
LONGEST_INLINE = 2
"""Statements in a block on one line."""

_OPERANDS = frozenset({"NAME", "NUMBER", "STRING", "ADDRESS", "MAC", "PARAMETER", "MAP"})
_TYPES = frozenset({"STRUCT", "UNION", "ENUM", "INTEGER"})
_SIGNS = frozenset({"MINUS", "STAR", "NOT", "TILDE"})
_JOINTS = frozenset(
    {"OR", "OR_WORD", "AND", "AND_WORD", "EQUAL_OP", "RELATION", "IN", "BAR", "CARET", "AMPERSAND", "LEFT", "RIGHT"}
    | {"PLUS", "MINUS", "STAR", "SLASH", "PERCENT", "QMARK", "COLON", "ASSIGN", "EQUAL"}
)
"""What has a blank on both sides, and may end a line."""


def format_text(source: Source) -> str:
    """The script's text in the project's style; ScriptError if it is not in the language."""
    script = parse(source)
    pieces = read_pieces(source)
    text = _Printer(pieces).text()
    fresh = Source(source.name, text)
    try:
        same = _same(script, parse(fresh)) and _comments(pieces) == _comments(read_pieces(fresh))
    except ScriptError:
        same = False
    if not same:
        raise CompilerBug(f"'{source.name}' would mean something else when formatted")
    return text


def _same(one: object, other: object) -> bool:
    """Whether two trees differ in nothing but places and the ends of predicates."""
    pairs = [(one, other)]
    while pairs:
        left, right = pairs.pop()
        if type(left) is not type(right):
            return False
        if isinstance(left, tuple) and isinstance(right, tuple):
            if len(left) != len(right):
                return False
            pairs += zip(left, right, strict=True)
        elif isinstance(left, ast.Predicate) and isinstance(right, ast.Predicate):
            pairs.append((left.text.strip(), right.text.strip()))
        elif is_dataclass(left):
            names = [field.name for field in fields(left) if field.name != "span"]
            pairs += [(getattr(left, name), getattr(right, name)) for name in names]
        elif left != right:
            return False
    return True


def _comments(pieces: Sequence[Piece]) -> list[list[str]]:
    """The words of each comment."""
    return [comment.text.split() for piece in pieces for comment in piece.comments]


@dataclass(slots=True)
class _Line:
    indent: int
    text: str = ""
    comment: str = ""
    """A comment at its end, which is aligned with those of its neighbours."""

    @property
    def width(self) -> int:
        last = self.text.rpartition("\n")[2]
        return len(last) + (0 if "\n" in self.text else self.indent)


class _Lines:
    """The lines written so far."""

    def __init__(self) -> None:
        self.lines: list[_Line] = []
        self.opened = False
        """Whether a block has just been opened: no empty line stands there."""

    def start(self, indent: int, *, apart: bool = False) -> None:
        """Begin a line, apart by an empty one."""
        if apart and self.lines and not self.opened:
            self.lines.append(_Line(0))
        self.opened = False
        self.lines.append(_Line(indent))

    def add(self, text: str) -> None:
        self.lines[-1].text += text
        self.opened = False

    def comment(self, comment: Comment) -> None:
        line = self.lines[-1]
        if comment.ends_line and line.text:
            line.comment = comment.text
            return
        # the stars of a comment's lines stay below each other
        first, *others = comment.text.split("\n")
        if others and all(other.lstrip().startswith("*") for other in others):
            others = [" " * (line.indent + 1) + other.strip() for other in others]
        self.add("\n".join([first, *others]))

    @property
    def width(self) -> int:
        return self.lines[-1].width if self.lines else 0

    def join(self) -> str:
        """The text, with the comments at the ends of lines in a row below each other."""
        result = []
        run: list[_Line] = []
        for line in [*self.lines, _Line(-1)]:
            if run and not (line.comment and line.indent == run[0].indent):
                column = max(each.width for each in run)
                result += [_line_text(each, column) for each in run]
                run = []
            if line.comment:
                run.append(line)
            elif line.indent >= 0:
                result.append(_line_text(line, 0))
        return "".join(line + "\n" for line in result)


def _line_text(line: _Line, column: int) -> str:
    text = " " * line.indent + line.text
    if line.comment:
        text += " " * (column - line.width + 2) + line.comment
    return text if line.text else ""


class _Printer:
    """Writes pieces to lines, from the first to the last."""

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces
        self.at = 0
        self.out = _Lines()

    def text(self) -> str:
        """The whole script."""
        while self._next.kind != "$END":
            self._statement(0, inline=False)
        # the file ends with a line end, so that a comment behind the last token stays there
        self._put(replace(self._next, newlines=1), "\n", 0)
        lines = self.out.lines
        while lines and not lines[-1].text:
            lines.pop()
        return self.out.join()

    @property
    def _next(self) -> Piece:
        return self.pieces[self.at]

    def _run(self) -> list[Piece]:
        """The pieces up to the end of a statement or the beginning of a block."""
        first = self.at
        while self._next.kind not in {"LBRACE", "RBRACE", "$END"}:
            self.at += 1
            if self.pieces[self.at - 1].stop or self.pieces[self.at - 1].kind == "C_TEXT":
                break
        return self.pieces[first : self.at]

    def _statement(self, indent: int, *, inline: bool) -> None:
        """A statement or a top-level item."""
        run = self._run()
        join = " " if inline else "\n"
        if run[0].kind == "C_TEXT":
            self._put(run[0], join, indent)
        elif run[-1].stop or self._next.kind != "LBRACE":
            self._write(run, join, indent, ";")
            self.out.add(";")
        else:
            self._write(run, join, indent, " {")
            self._block(indent, alone=True)
            while self._next.kind == "ELSE":
                self._write(self._run(), " ", indent, " {")
                self._block(indent, alone=False)

    def _block(self, indent: int, *, alone: bool) -> None:
        """A block; `alone` if no 'else' comes before it."""
        end = self._closing()
        if alone and self._inline(end, indent):
            return
        self._put(self._next, " ", indent)
        self.out.opened = True
        empty = end == self.at + 1 and not self.pieces[end].comments
        self.at += 1
        while self.at < end:
            self._statement(indent + INDENT, inline=False)
        self._put(self._next, "" if empty else "\n", indent, inner=indent + INDENT)
        self.at += 1

    def _closing(self) -> int:
        """The index of the brace that closes the block here."""
        depth, at = 1, self.at
        while depth:
            at += 1
            depth += {"LBRACE": 1, "RBRACE": -1}.get(self.pieces[at].kind, 0)
        return at

    def _inline(self, end: int, indent: int) -> bool:
        """Write a short block on one line, if it was written so."""
        inside = self.pieces[self.at + 1 : end + 1]
        if not all(piece.on_one_line for piece in inside) or any(piece.kind == "LBRACE" for piece in inside):
            return False
        statements = sum(piece.stop for piece in inside[:-1]) + (len(inside) > 1 and not inside[-2].stop)
        empty = not statements and not inside[-1].comments
        if empty or statements > LONGEST_INLINE or self.pieces[end + 1].kind == "ELSE":
            return False
        if any(comment.ends_line for comment in self._next.comments):
            return False
        before = replace(self.out.lines[-1]), len(self.out.lines), self.at
        self._put(self._next, " ", indent)
        self.at += 1
        while self.at < end:
            self._statement(indent, inline=True)
        self._put(self._next, " ", indent)
        self.at += 1
        if self.out.width <= WIDTH and len(self.out.lines) == before[1]:
            return True
        del self.out.lines[before[1] :]
        self.out.lines[-1], _, self.at = before
        return False

    def _write(self, run: Sequence[Piece], join: str, indent: int, tail: str) -> None:
        """A statement without its end or block; what is too wide, or was written on many lines, is broken."""
        chunks = _Spacing(run)
        hang = 0 if run[0].kind == "ATTACH" else INDENT
        for index, piece in enumerate(run):
            if index == 0:
                self._put(piece, join, indent)
                continue
            blank = " " if chunks.blank(index) else ""
            room = WIDTH - self.out.width - len(blank)
            broken = chunks.kept(index) or (chunks.foldable(index) and room < chunks.width(index, tail) <= WIDTH)
            chunks.note(index, broken=broken)
            inner = indent + hang
            self._put(piece, "\n" if broken else blank, indent if chunks.closes_all(index) else inner, inner=inner)

    def _put(self, piece: Piece, join: str, indent: int, *, inner: int | None = None) -> None:
        """A piece with its comments; `join` is a line end, a blank or nothing, `inner` the comments' indentation."""
        lines, inner = self.out, indent if inner is None else inner
        comments = list(piece.comments)
        newlines = piece.newlines
        if piece.kind == "RBRACE" and join == "\n":
            newlines = max(newlines, 1)
        if join == "\n" and not newlines and not any(comment.newlines for comment in comments):
            # nothing says which side they belong to: the piece is what they are about
            comments[:1] = [replace(comment, newlines=1) for comment in comments[:1]]
            newlines = 0 if comments else 1
        ended = not lines.lines
        for comment in comments:
            if ended or comment.newlines:
                lines.start(inner, apart=join == "\n" and comment.newlines > 1)
            elif lines.lines[-1].text[-1:] not in {"(", "["} or comment.ends_line:
                lines.add(" " if lines.lines[-1].text and not comment.ends_line else "")
            lines.comment(comment)
            ended = comment.ends_line
        if ended or (newlines and (comments or join == "\n")) or (join == "\n" and not comments):
            lines.start(indent, apart=join == "\n" and newlines > 1 and piece.kind != "RBRACE")
        elif comments and piece.text not in {")", "]", ","}:
            lines.add(" ")
        elif not comments:
            lines.add(join)
        lines.add(piece.text)


class _Spacing:
    """Where a statement's pieces have a blank between them, and where a line may end."""

    def __init__(self, run: Sequence[Piece]) -> None:
        self.run = run
        self.glued: set[int] = set()
        """The pieces that nothing separates from the next one: signs, and the parenthesis that closes a type."""
        self.depth: list[int] = []
        self.opener: dict[int, int] = {}
        self.broken: set[int] = set()
        opened: list[tuple[int, bool]] = []
        for index, piece in enumerate(run):
            before = run[index - 1] if index else None
            cast = bool(opened) and opened[-1][1]
            operand = before is not None and (before.kind in _OPERANDS or before.text in {")", "]"})
            if piece.kind in _SIGNS and (cast or not operand or index - 1 in self.glued):
                self.glued.add(index)
            if piece.kind in {"LPAR", "LSQB"}:
                opened.append((index, index + 1 < len(run) and run[index + 1].kind in _TYPES))
            elif piece.kind in {"RPAR", "RSQB"}:
                self.opener[index] = opened.pop()[0]
                if cast:
                    self.glued.add(index)
            self.depth.append(len(opened))

    def blank(self, index: int) -> bool:
        left, right = self.run[index - 1], self.run[index]
        if "STEP" in {left.kind, right.kind} or right.kind in {"RPAR", "RSQB", "LSQB", "COMMA"}:
            return False
        if left.kind in {"LPAR", "LSQB"} or {left.text, right.text} & {".", "->"}:
            return False
        if index - 1 in self.glued:
            # '- -1' is not '--1'
            return left.kind == right.kind == "MINUS"
        if "EQUAL" in {left.kind, right.kind} and self.depth[index]:
            return False
        return right.kind != "LPAR" or left.kind != "NAME"

    def kept(self, index: int) -> bool:
        """Whether the line end that was written before a piece stays."""
        left, right = self.run[index - 1], self.run[index]
        if right.comments or not right.newlines or right.kind == "PREDICATE":
            return False
        if index in self.opener:
            return self.opener[index] in self.broken
        if index - 1 in self.glued or (index in self.glued and right.kind in {"RPAR", "RSQB"}):
            return False
        return left.kind in {"LPAR", "LSQB"} or self.foldable(index) or (right.kind in _JOINTS)

    def foldable(self, index: int) -> bool:
        """Whether a line that is too wide may end before a piece."""
        left, right = self.run[index - 1], self.run[index]
        if right.kind == "PREDICATE":
            return True
        return left.kind == "COMMA" or (left.kind in _JOINTS and index - 1 not in self.glued)

    def width(self, index: int, tail: str) -> int:
        """The width of what would come onto the line with a piece."""
        width = 0
        for at in range(index, len(self.run)):
            if at > index and self.foldable(at):
                return width
            first, end, _ = self.run[at].text.partition("\n")
            width += len(first) + (at > index and self.blank(at))
            if end:
                return width
        return width + len(tail)

    def note(self, index: int, *, broken: bool) -> None:
        """Remember whether a line ends behind an opening parenthesis."""
        if broken:
            self.broken.add(index - 1)

    def closes_all(self, index: int) -> bool:
        return index in self.opener and self.depth[index] == 0
