"""What the language's words are good for, in a line each: for the completion menu, and for `.help WORD`."""

from __future__ import annotations

from xcapscript.builtins import BUILTINS, FLOW, FLOW_DOC, LAYERS, OPTIONS, PACKET_FIELDS, REASON, REASON_DOC

ACTION_DOCS = {
    "dump": 'write the packet to a file: dump; dump("f.pcapng"); dump("f", snaplen=128)',
    "count": "count hits by key: count; count(reason, kstack(5))",
    "stack": "print the packet's line and the kernel stack under it: stack; stack(5)",
    "print": "print the packet's line, values, or a map: print; print(comm, len); print(@m, 10)",
    "printf": 'print in C\'s way: printf("%s %d\\n", comm, len)',
    "hex": "print the packet's bytes",
    "exit": "end the clause at once: exit; exit(2)",
    "clear": "remove every key of a map: clear(@m)",
    "zero": "set all that a map has to zero: zero(@m)",
    "delete": "remove one key: delete(@m[pid])",
    "ring": 'keep the last packets in memory: ring("f.pcapng", 1000)',
    "commit": 'write what ring() kept: commit("f.pcapng"); commit("f.pcapng", 2s)',
}

AGGREGATION_DOCS = {
    "count": "@m[key] = count(): how many",
    "sum": "@m[key] = sum(len)",
    "min": "@m[key] = min(len)",
    "max": "@m[key] = max(len)",
    "avg": "@m[key] = avg(len)",
    "stats": "@m[key] = stats(len): count, average and total",
    "hist": "@m[key] = hist(len): a histogram by powers of two",
    "lhist": "@m[key] = lhist(len, low, high, step): a linear histogram",
}

FUNCTION_DOCS = {
    "kstack": "the kernel stack: kstack(5)",
    "has": "whether the packet has a layer: has(tcp)",
    "str": "the text that a pointer of the kernel points to: str(args.name)",
    "ksym": "the symbol at an address: ksym(args.location)",
    "ntohs": "a 16-bit number in the host's order",
    "htons": "a 16-bit number in network order",
    "ntohl": "a 32-bit number in the host's order",
    "htonl": "a 32-bit number in network order",
}

KEYWORD_DOCS = {"if": "if len > 100 { ... } else { ... }", "else": "else { ... }", "return": "leave the clause"}

DEFINITION_DOCS = {
    "hook": "hook NAME = A | B; names the first that this kernel has",
    "import": 'import "drop"; a library, or a file',
    "option": "option snaplen = 128;",
    "param": 'param name = 80, "what it is";',
    "fn": "fn name($a) { return $a + 1; }",
}

KIND_DOCS = {
    "begin": "once, when it starts",
    "end": "once, when it ends",
    "interval": "again and again: interval:10s",
    "rawtracepoint": "a tracepoint, with the kernel's own arguments: rawtracepoint:NAME",
    "tracepoint": "a tracepoint, by its record: tracepoint:CATEGORY:NAME",
    "kprobe": "a function of the kernel is entered: kprobe:NAME",
    "kretprobe": "a function of the kernel returns: kretprobe:NAME",
    "fentry": "a function of the kernel is entered, with typed arguments: fentry:NAME",
    "fexit": "a function of the kernel returns, with typed arguments: fexit:NAME",
    "uprobe": "a function of a program is entered: uprobe:PATH:SYMBOL",
    "uretprobe": "a function of a program returns: uretprobe:PATH:SYMBOL",
    "usdt": "a program's own trace point: usdt:PATH:PROVIDER:NAME",
    "xdp": "an interface receives, before there is a sk_buff: xdp:INTERFACE",
    "tc": "an interface's queueing: tc:INTERFACE:ingress",
    "socket": "where tcpdump captures: socket:INTERFACE",
}

VALUE_DOCS = {
    **{row.name: f"{row.type}: {row.doc}" for row in BUILTINS.values()},
    REASON: f"enum: {REASON_DOC}",
    FLOW: f"flow: {FLOW_DOC}",
    "args": "the hook's arguments: args.NAME",
    "skb": "struct sk_buff *: the packet, skb->dev->name",
    "sk": "struct sock *: the packet's socket, sk.state",
}

FIELD_DOCS = {row.name: f"{row.type}: {row.doc}" for row in PACKET_FIELDS.values()}

OPTION_DOCS = {row.name: row.doc for row in OPTIONS.values()}

LAYER_DOCS = {layer: f"has({layer})" for layer in LAYERS}


def doc_of(word: str) -> str | None:
    """What a word of the language is good for; of several meanings, each in a line."""
    tables = (
        *(ACTION_DOCS, AGGREGATION_DOCS, FUNCTION_DOCS, KEYWORD_DOCS, DEFINITION_DOCS),
        *(KIND_DOCS, VALUE_DOCS, FIELD_DOCS, OPTION_DOCS),
    )
    found = [table[word] for table in tables if word in table]
    return "\n".join(found) if found else None
