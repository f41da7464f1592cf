"""What `.help TOPIC` tells of more than one word."""

from __future__ import annotations

from xcapscript.repl.rows import rows
from xcapscript.repl.words import ACTION_DOCS, AGGREGATION_DOCS, FUNCTION_DOCS, KIND_DOCS, VALUE_DOCS
from xcapscript.unit import HookKind

_KEYS = {
    "Enter": "run what is whole; go on in the next line with what is not",
    "Esc Enter": "run it, whatever it is",
    "Tab": "complete; with the menu open, the next one",
    "Right, Ctrl-E": "take what is suggested from the history",
    "Up, Ctrl-R": "what was typed before; search in it",
    "Ctrl-X Ctrl-E": "change it in $EDITOR",
    "Ctrl-C": "drop the line; on an empty one hold the output of clauses, which go on: Enter shows it again",
    "Ctrl-D": "leave, on an empty line",
    "Ctrl-L": "clear the screen",
    ".set vi on": "edit as vi does",
}

_PREDICATES = {
    "drop /tcp port 80/": "between slashes stands which hits are wanted: a tcpdump expression, see pcap-filter(7)",
    'drop /icmp and comm == "ping"/': "joined with conditions about the kernel by and, or, not",
    "drop /reason == NETFILTER_DROP/": "the drop reason by name: Tab lists them",
    'rx /inner "tcp port 80"/': "about the packet inside a tunnel",
    "rx /icmp/": "without a block behind it a clause prints a line a packet",
}

_OUTPUT = {
    "lines": 'above the prompt, at most 20 in a tenth of a second; "... N more" counts the others; with the number of '
    "their clause while several run",
    ".write FILE": "dump writes packets there, all of them; .write off ends that for clauses that are started later",
    ".set output FILE": "lines and maps go there, and not above the prompt; .set format json writes objects",
    ".print @m": "a map; .watch @m shows it below the prompt, live",
    ".stop N": "ends a clause: its maps are shown, and .print still has them",
}


TOPICS = {
    "keys": "what the keys do",
    "predicates": "what stands between slashes",
    "hooks": "the kinds of hooks",
    "actions": "what a block can do",
    "values": "what can be compared, counted and printed",
    "maps": "what maps count",
    "output": "where lines, maps and packets go",
}


def topic_text(topic: str, width: int) -> str | None:
    """The text of a topic; None if there is none of that name."""
    match topic:
        case "keys":
            return rows(_KEYS.items(), width)
        case "predicates":
            return rows(_PREDICATES.items(), width)
        case "output":
            return rows(_OUTPUT.items(), width)
        case "hooks":
            kinds = [(kind.value, KIND_DOCS.get(kind, "")) for kind in HookKind]
            return rows([*kinds, (".hooks", "lists them; .desc HOOK tells more of one")], width)
        case "actions":
            return rows(ACTION_DOCS.items(), width)
        case "values":
            more = (".fields", "lists the fields of packets; .desc HOOK the arguments of a hook")
            return rows([*VALUE_DOCS.items(), *FUNCTION_DOCS.items(), more], width)
        case "maps":
            return rows(AGGREGATION_DOCS.items(), width)
        case _:
            return None
