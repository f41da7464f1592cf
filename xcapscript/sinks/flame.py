"""Flame graphs: what maps counted by stack, as a picture that a browser opens, or as folded text for other tools."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape as in_xml

from xcapscript.diagnostics import escape
from xcapscript.sinks.aggregate import map_name
from xcapscript.sinks.base import SinkError
from xcapscript.sinks.output import Output
from xcapscript.sinks.tables import HISTOGRAMS, Content, Row, Table, key_types, value_type
from xcapscript.sinks.values import ValueText
from xcapscript.types import IntType, StackType
from xcapscript.unit import Aggregation, MapSpec

FOLDED = ".folded"
"""What a file's name ends in that is to be text."""

_NO_STACK = "(no stack)"
_OFFSET = re.compile(r"\+0x[0-9a-f]+")
_WIDTH, _ROW, _MARGIN, _TITLE = 1200, 17, 10, 40
_CHARACTER = 7.0
"""Pixels that one takes, at the font's size."""
_NARROWEST = 0.1
"""Pixels: what is narrower is left out."""


_Path = tuple[tuple[str, ...], tuple[str, ...]]
"""The keys beside a stack, and its functions from the outermost on."""


@dataclass(slots=True)
class _Frame:
    """A function, or a key, with what was counted in it and in all that it called."""

    is_key: bool
    count: int = 0
    callees: dict[str, _Frame] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Box:
    """A frame's place in the picture: how many were counted to its left, and how many frames are below it."""

    name: str
    start: int
    depth: int
    frame: _Frame


def is_drawn(spec: MapSpec) -> bool:
    """Whether a map counts by stack: those that keep a smallest or largest value add up to nothing."""
    adds_up = spec.aggregation not in (Aggregation.MIN, Aggregation.MAX)
    is_number = spec.aggregation is not Aggregation.VALUE or isinstance(value_type(spec), IntType)
    return adds_up and is_number and any(isinstance(kind, StackType) for kind in key_types(spec))


class FlameGraph:
    """Opens `path` at once, and writes it when it is closed. Raises SinkError."""

    def __init__(self, path: str, values: ValueText) -> None:
        self._folded = path.endswith(FOLDED)
        self._output = Output(path)
        self._values = values
        self._table = Table(values)
        self._maps: dict[str, Counter[_Path]] = {}
        self.stacks: int | None = None
        """How many different ones are in the file, once it is written."""

    def add(self, spec: MapSpec, content: Content) -> None:
        """Take what a map has, if it is one of those that are drawn."""
        if not is_drawn(spec):
            return
        for row in self._table.rows(spec, content):
            weight = _weight(spec, row)
            if weight > 0:
                self._maps.setdefault(map_name(spec.name), Counter())[self._path(spec, row)] += weight

    def close(self) -> None:
        """Draw, and end the file."""
        text = "".join(
            f"{line}\n" for line in (self._text() if self._folded else _picture(self._tree(), self._title()))
        )
        try:
            self._output.write(text.encode(), lambda _data, limit: limit)
        except SinkError:
            self._output.close(quiet=True)
            raise
        self._output.close()
        self.stacks = sum(map(len, self._maps.values()))

    def _path(self, spec: MapSpec, row: Row) -> _Path:
        keys: list[str] = []
        frames: list[str] = []
        for kind, part in zip(key_types(spec), row.key, strict=True):
            if isinstance(kind, StackType):
                frames += [_OFFSET.sub("", frame, count=1) for frame in reversed(part)] or [_NO_STACK]
            else:
                keys.append(escape(self._values.text(kind, part)))
        return tuple(keys), tuple(frames)

    def _title(self) -> str:
        return ", ".join(self._maps) or "nothing was counted"

    def _text(self) -> Iterator[str]:
        """A line for each stack, as stackcollapse.pl writes it; with several maps, the map's name comes first."""
        for (keys, frames), count in sorted(self._paths()):
            yield f"{';'.join(part.replace(';', ':') for part in (*keys, *frames))} {count}"

    def _tree(self) -> _Frame:
        root = _Frame(is_key=True)
        for (keys, frames), count in self._paths():
            root.count += count
            at = root
            for depth, part in enumerate((*keys, *frames)):
                at = at.callees.setdefault(part, _Frame(is_key=depth < len(keys)))
                at.count += count
        return root

    def _paths(self) -> Iterator[tuple[_Path, int]]:
        """All that was counted; with several maps, a map's name is the first of its keys."""
        for name, found in self._maps.items():
            for (keys, frames), count in found.items():
                yield ((name, *keys) if len(self._maps) > 1 else keys, frames), count


def _weight(spec: MapSpec, row: Row) -> int:
    """How many values a row stands for; of sum() and plain numbers, the number itself."""
    if spec.aggregation in HISTOGRAMS:
        return int(row.value.total())
    if spec.aggregation in (Aggregation.AVG, Aggregation.STATS):
        return int(row.value[0])
    return int(row.value)


def _boxes(root: _Frame) -> Iterator[_Box]:
    """All frames wide enough to be seen, callers before callees; what one calls stands in the names' order."""
    pending = [_Box("all", 0, 0, root)]
    while pending:
        box = pending.pop()
        if box.frame.count * _WIDTH < _NARROWEST * root.count or not root.count:
            continue
        yield box
        start = box.start
        for name, callee in sorted(box.frame.callees.items()):
            pending.append(_Box(name, start, box.depth + 1, callee))
            start += callee.count


def _picture(root: _Frame, title: str) -> Iterator[str]:
    boxes = list(_boxes(root))
    height = _TITLE + (max((box.depth for box in boxes), default=0) + 1) * _ROW + _MARGIN
    width = _WIDTH + 2 * _MARGIN
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    yield f"<title>{in_xml(title)}</title>"
    yield f"<style>{_STYLE}</style>"
    yield '<rect width="100%" height="100%" fill="#ffffff"/>'
    yield f'<text x="{_MARGIN}" y="24" class="title">{in_xml(title)}</text>'
    for box in boxes:
        yield _drawn(box, root.count, height)
    yield f"<script><![CDATA[{_SCRIPT}]]></script>"
    yield "</svg>"


def _drawn(box: _Box, total: int, height: int) -> str:
    count = box.frame.count
    left, width = _MARGIN + box.start * _WIDTH / total, count * _WIDTH / total
    top = height - _MARGIN - (box.depth + 1) * _ROW
    name, told = in_xml(box.name), f"{count:,}, {count * 100 / total:.2f}%"
    return (
        f'<g data-s="{box.start}" data-c="{count}" data-d="{box.depth}" data-n="{name}">'
        f"<title>{name} ({told})</title>"
        f'<rect x="{left:.2f}" y="{top}" width="{width:.2f}" height="{_ROW - 1}" rx="2" fill="{_colour(box)}"/>'
        f'<text x="{left + 3:.2f}" y="{top + 12}">{in_xml(_label(box.name, width))}</text></g>'
    )


def _label(name: str, width: float) -> str:
    """As much of a name as there is room for; `fit` in the script is the same."""
    room = int((width - 6) / _CHARACTER)
    if len(name) <= room:
        return name
    return f"{name[: room - 2]}.." if room > 3 else ""


def _colour(box: _Box) -> str:
    """The same for a name in every picture: keys blue, BPF programs violet, modules orange, the kernel's own red."""
    shade = zlib.crc32(box.name.encode()) % 40
    if box.frame.is_key:
        return f"hsl(210,45%,{72 + shade % 12}%)"
    if box.name.endswith("[bpf]"):
        return f"hsl({270 + shade % 20},60%,75%)"
    if box.name.endswith("]"):
        return f"hsl({25 + shade % 15},85%,65%)"
    return f"hsl({10 + shade},80%,{62 + shade % 8}%)"


_STYLE = "text{font:12px monospace;pointer-events:none}.title{font-size:15px}g:hover rect{stroke:#000}g{cursor:pointer}"

_SCRIPT = f"""
// a click on a frame makes it as wide as the picture; one on the lowest shows all again
var frames = Array.from(document.querySelectorAll("g"));
function fit(name, width) {{
  var room = Math.floor((width - 6) / {_CHARACTER});
  return name.length <= room ? name : room > 3 ? name.slice(0, room - 2) + ".." : "";
}}
function number(frame, key) {{ return Number(frame.dataset[key]); }}
function zoom(to) {{
  var start = number(to, "s"), count = number(to, "c"), depth = number(to, "d");
  frames.forEach(function (frame) {{
    var s = number(frame, "s"), c = number(frame, "c"), below = number(frame, "d") < depth;
    var shown = below ? s <= start && s + c >= start + count : s >= start && s + c <= start + count;
    var x = below ? 0 : (s - start) / count * {_WIDTH}, width = below ? {_WIDTH} : c / count * {_WIDTH};
    frame.style.display = shown ? "" : "none";
    frame.querySelector("rect").setAttribute("x", {_MARGIN} + x);
    frame.querySelector("rect").setAttribute("width", width);
    frame.querySelector("text").setAttribute("x", {_MARGIN} + x + 3);
    frame.querySelector("text").textContent = fit(frame.dataset.n, width);
    frame.style.opacity = below ? 0.5 : 1;
  }});
}}
frames.forEach(function (frame) {{ frame.addEventListener("click", function () {{ zoom(frame); }}); }});
"""
