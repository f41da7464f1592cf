"""Colours, of the sixteen that every terminal sets for itself: they can be read on light and on dark ground."""

from __future__ import annotations

from prompt_toolkit.styles import Style

STYLE = Style.from_dict(
    {
        "prompt": "bold",
        "continuation": "ansibrightblack",
        "command": "bold",
        "trouble": "ansired",
        "hint": "",
        "bottom-toolbar": "noreverse",
        "bar": "reverse",
        "bar.lost": "reverse ansired bold",
        "auto-suggestion": "ansibrightblack",
        "pygments.name.namespace": "ansiblue bold",
        "pygments.keyword": "ansiblue",
        # the words of a tcpdump expression
        "pygments.keyword.reserved": "ansimagenta",
        "pygments.name.constant": "ansimagenta",
        "pygments.name.function": "bold",
        "pygments.name.builtin": "ansicyan",
        "pygments.name.variable": "ansigreen",
        "pygments.name.attribute": "ansicyan",
        "pygments.literal.string": "ansigreen",
        "pygments.comment": "ansibrightblack italic",
    }
)
