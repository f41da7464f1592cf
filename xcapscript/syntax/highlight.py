"""A Pygments lexer of the language, with the words of pcap-filter(7) in predicates. The only file that imports
pygments. It takes every text, also one that is still being typed.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pygments.lexer import RegexLexer, bygroups, include, using, words
from pygments.lexers.c_cpp import CLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Whitespace

from xcapscript.builtins import ACTION, BUILTINS, REASON, RETVAL
from xcapscript.quotes import STRING

VALUES = (*BUILTINS, REASON, RETVAL, ACTION, "args", "kstack", "ustack")
ACTIONS = ("clear", "commit", "delete", "dump", "exit", "hex", "print", "printf", "ring", "stack", "zero")
AGGREGATIONS = ("avg", "count", "hist", "lhist", "max", "min", "stats", "sum")

PRIMITIVES = (
    *("aarp", "ah", "arp", "atalk", "broadcast", "carp", "decnet", "dst", "esp", "ether", "fddi", "gateway", "geneve"),
    *("greater", "host", "icmp", "icmp6", "ifindex", "ifname", "igmp", "igrp", "inbound", "inner", "ip", "ip6", "ipx"),
    *("iso", "l1", "l2", "lat", "less", "link", "lsap", "moprc", "mopdl", "mpls", "multicast", "net", "netbeui"),
    *("on", "outbound", "pim", "port", "portrange", "ppp", "pppoed", "pppoes", "proto", "protochain", "radio", "rarp"),
    *("sca", "sctp", "slip", "src", "stp", "tcp", "tr", "type", "udp", "vlan", "vrrp", "vxlan", "wlan", "mask", "len"),
)
"""The words of pcap-filter(7), and `inner`."""

OFFSETS = r"(tcp-(fin|syn|rst|push|ack|urg|ece|cwr)|icmp6?-[a-z0-9]+|tcpflags|icmp6?type|icmp6?code)(?![\w-])"

# As in xcap.lark.
ADDRESS = (
    r"[0-9]+(\.[0-9]+){3}(/[0-9]+)?(?![\w.])"
    r"|([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}(/[0-9]+)?(?![\w:])"
    r"|([0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4})*)?::"
    r"([0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4})*(:[0-9]+(\.[0-9]+){3})?|[0-9]+(\.[0-9]+){3})?(/[0-9]+)?(?![\w:.])"
)
MAC = r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}(?![\w:])"
WORD = r"[A-Za-z_][A-Za-z0-9_]*"
ATTACH = (
    rf'((?:uprobe|uretprobe|usdt|ur?|U):(?:{STRING}|[^\s,{{}};("])+'
    rf'|{WORD}(?::(?:{STRING}|[^\s,{{}};/(|"])*)*)'
)
PREDICATE_END = r"/(?=(\s|//[^\n]*(\n|\Z)|/\*([^*]|\*(?!/))*\*/)*([{;]|\Z))"
CLOSED_BY = r"(?=[{};])"

NOTHING = bygroups()
"""What a place is that only ends a state: it has no text."""

_RULES: dict[str, list[Any]] = {
    "root": [
        (r"\A#![^\n]*", Comment.Hashbang),
        include("blanks"),
        include("c"),
        (r"(import)\b", Keyword.Namespace, "definition"),
        (rf"(option|param)(\s+)({WORD})", bygroups(Keyword.Declaration, Whitespace, Name.Constant), "definition"),
        (rf"(fn)(\s+)({WORD})", bygroups(Keyword.Declaration, Whitespace, Name.Function), "definition"),
        (rf"(hook)(\s+)({WORD})", bygroups(Keyword.Declaration, Whitespace, Name.Namespace)),
        (ATTACH, Name.Namespace),
        (r"/", Punctuation, "predicate"),
        (r"\(", Punctuation, "bindings"),
        (r"\{", Punctuation, "block"),
        (r"[|=]", Operator),
        (r"[;,})]", Punctuation),
        include("literals"),
    ],
    "blanks": [
        (r"\s+", Whitespace),
        (r"//[^\n]*", Comment.Single),
        (r"/\*([^*]|\*(?!/))*(\*/)?", Comment.Multiline),
    ],
    "c": [
        (
            r'(c)(\s*)(""")((?:[^"]|"(?!""))*)("""|\Z)',
            bygroups(Keyword.Declaration, Whitespace, String.Delimiter, using(CLexer), String.Delimiter),
        ),
    ],
    "literals": [
        (MAC, Number.Other),
        (ADDRESS, Number.Other),
        (r"0[xX][0-9a-fA-F_]+", Number.Hex),
        (r"[0-9][A-Za-z0-9_]*", Number.Integer),
        (rf"@({WORD})?", Name.Variable.Global),
        (rf"\$([0-9]+|[#$]|{WORD})", Name.Variable),
        (r'"', String.Double, "string"),
    ],
    "string": [
        (r"\\(x[0-9a-fA-F]{2}|.)", String.Escape),
        (r"%[-+ #0]*[0-9]*(\.[0-9]+)?[A-Za-z%]", String.Interpol),
        (r'[^"\\%\n]+|[\\%]', String.Double),
        (r'"', String.Double, "#pop"),
        (r"(?=\n)", NOTHING, "#pop"),
    ],
    "operators": [
        (r"(and|or|not|in)\b", Operator.Word),
        (r"&&|\|\||<<=?|>>=?|\+\+|--|->|[-+*/%&|^=!<>]=|[-+*/%&|^!~<>=?:]", Operator),
        (r"[()\[\],.]", Punctuation),
    ],
    "definition": [
        (r";", Punctuation, "#pop"),
        (r"(?=[{}])", NOTHING, "#pop"),
        include("expression"),
    ],
    "bindings": [
        (r"\)", Punctuation, "#pop"),
        (CLOSED_BY, NOTHING, "#pop"),
        include("expression"),
    ],
    "block": [
        (r"\{", Punctuation, "#push"),
        (r"\}", Punctuation, "#pop"),
        (r";", Punctuation),
        (r"(if|else|return)\b", Keyword),
        include("expression"),
    ],
    "expression": [
        include("blanks"),
        (rf"(\.|->)(\s*)({WORD})", bygroups(Operator, Whitespace, Name.Attribute)),
        include("literals"),
        include("operators"),
        (rf"(struct|union|enum)(\s+)({WORD})", bygroups(Keyword.Type, Whitespace, Name.Class)),
        (r"(u|s|u?int)(8|16|32|64)(_t)?\b", Keyword.Type),
        (words((*ACTIONS, *AGGREGATIONS), suffix=r"\b"), Name.Function),
        (words(VALUES, suffix=r"\b"), Name.Builtin),
        (rf"{WORD}(?=\()", Name.Function),
        (WORD, Name),
    ],
    "predicate": [
        (PREDICATE_END, Punctuation, "#pop"),
        (CLOSED_BY, NOTHING, "#pop"),
        (r'(inner)(\s*)(")', bygroups(Keyword.Reserved, Whitespace, String.Delimiter), "inner"),
        include("filter"),
    ],
    "inner": [
        (r'"', String.Delimiter, "#pop"),
        (CLOSED_BY, NOTHING, "#pop"),
        include("filter"),
    ],
    "filter": [
        (r"\s+", Whitespace),
        (rf"(\.|->)(\s*)({WORD})", bygroups(Operator, Whitespace, Name.Attribute)),
        include("literals"),
        (OFFSETS, Name.Constant),
        include("operators"),
        (words(PRIMITIVES, suffix=r"(?![\w-])"), Keyword.Reserved),
        (words(VALUES, suffix=r"\b"), Name.Builtin),
        (WORD, Name),
        (r"\\", Operator),
    ],
}


class XcapLexer(RegexLexer):  # type: ignore[misc]  # pygments has no types
    """Highlights programs in the xcap language."""

    name = "xcap"
    aliases: ClassVar = ["xcap"]
    filenames: ClassVar = ["*.xcap"]
    flags = re.MULTILINE
    tokens: ClassVar = _RULES
