"""What each kind of mistake means, with an example and its cure: what `--explain` tells, and docs/errors.md shows."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill

from xcapscript.diagnostics import Code

WIDTH = 80


@dataclass(frozen=True, slots=True)
class Explanation:
    """A kind of mistake: what it means, a program that has it, how it is cured, and the program without it."""

    code: Code
    meaning: str
    wrong: str
    cure: str
    right: str


EXPLANATIONS = {
    row.code: row
    for row in (
        Explanation(
            Code.SYNTAX,
            "The text is not in the language at this place: something is missing, misspelt, or of another language.",
            "drop { if pid == 1 { dump; } esle { print; } }",
            "Correct what is pointed at. A statement ends with ';', what belongs to if, else and fn stands in braces.",
            "drop { if pid == 1 { dump; } else { print; } }",
        ),
        Explanation(
            Code.UNCLOSED_PREDICATE,
            "A '/' begins a predicate behind the hook, and no '/' before '{', ';' or the end of the program ends it.",
            "drop /icmp { dump; }",
            "Put a '/' behind the predicate. Nothing in it can be '{', '}' or ';'.",
            "drop /icmp/ { dump; }",
        ),
        Explanation(
            Code.BAD_PREDICATE,
            "A predicate with a condition about the kernel is not put together well. 'and' and 'or' are then not mixed "
            "without parentheses, since tcpdump and C read such chains in two ways; and a condition compares.",
            "drop /tcp and pid == 1 or udp/",
            "Put parentheses around what belongs together; write name, operator and value: pid == 1.",
            "drop /(tcp and pid == 1) or udp/",
        ),
        Explanation(
            Code.UNCLOSED_STRING,
            "A string has no closing quote on its line.",
            'begin { printf("started\\n); }',
            "End it with '\"'. A line end within a string is written \\n, a quote \\\".",
            'begin { printf("started\\n"); }',
        ),
        Explanation(
            Code.BAD_LITERAL,
            "A number, duration, address, escape or value of an option is not one that the language has.",
            "drop /ip.src == 10.0.0.300/",
            "Write whole numbers (10, 1_000, 0x1f, 5ms), addresses (10.0.0.1, fe80::1, aa:bb:cc:dd:ee:ff) and escapes "
            "(\\n, \\x41) as the hint says.",
            "drop /ip.src == 10.0.0.30/",
        ),
        Explanation(
            Code.BAD_HOOK,
            "What stands before the predicate or the block is not written as a hook is.",
            "interval:10 { print(elapsed); }",
            "Write KIND:NAME, an interval with its unit, begin or end, or a name that stands for a hook.",
            "interval:10s { print(elapsed); }",
        ),
        Explanation(
            Code.UNKNOWN_HOOK,
            "No hook of this name is defined by the script, by what it imports, or by the standard library.",
            "dorp /icmp/",
            "Correct the name. The kernel's hooks have their kind before them: rawtracepoint:NAME. xcap -l lists them.",
            "drop /icmp/",
        ),
        Explanation(
            Code.MISSING_HOOK,
            "The running kernel has no such hook. Another one may: the exit status is then 3.",
            "rawtracepoint:kfree_sbk { dump; }",
            "Correct the name, or name what other kernels have: hook NAME = A | B;",
            "rawtracepoint:kfree_skb { dump; }",
        ),
        Explanation(
            Code.UNKNOWN_NAME,
            "A word stands for nothing: no value, function, action, map, or name of an enum is called so.",
            "drop { count(resaon); }",
            "Correct the name. Text stands in quotes, a variable begins with '$', a map with '@'.",
            "drop { count(reason); }",
        ),
        Explanation(
            Code.UNKNOWN_FIELD,
            "A layer of the packet has no such field, or a struct of this kernel no such member.",
            "drop { print(ip.scr, skb->dev->nam); }",
            "Correct the name. Members are those of the running kernel.",
            "drop { print(ip.src, skb->dev->name); }",
        ),
        Explanation(
            Code.UNKNOWN_ARGUMENT,
            "The hook has no argument of this name.",
            "drop { print(args.resaon); }",
            "xcap -l NAME -v lists the arguments.",
            "drop { print(args.reason); }",
        ),
        Explanation(
            Code.UNKNOWN_OPTION,
            "There is no option of this name.",
            "option snaplem = 128;\ndrop",
            "Correct the name.",
            "option snaplen = 128;\ndrop",
        ),
        Explanation(
            Code.UNKNOWN_PARAMETER,
            "A $name is neither a variable that was set before, nor a parameter that was given or has a default.",
            "drop { if pid > 0 { $who = comm; } print($who); }",
            "Set it first, in the same block or one around it; or give it: param NAME = VALUE; or behind the program.",
            "drop { if pid > 0 { $who = comm; print($who); } }",
        ),
        Explanation(
            Code.UNKNOWN_IMPORT,
            "The file that is to be imported is not there, or cannot be read.",
            'import "drpo";\ndrop',
            "Correct the name. It is looked for beside the script, in the directories of $XCAP_PATH, and in the "
            "standard library.",
            'import "drop";\ndrop',
        ),
        Explanation(
            Code.REDEFINED,
            "A name is given twice, or is a word of the language. The second place is shown, and below it the first.",
            "fn small() { return len < 100; }\nfn small() { return len < 200; }\nrx { if small() { dump; } }",
            "Choose another name for one of the two.",
            "fn small() { return len < 100; }\nfn medium() { return len < 200; }\nrx { if small() { dump; } }",
        ),
        Explanation(
            Code.NO_PACKET,
            "A tcpdump expression, an action or a value is about a packet, and this hook has none.",
            "interval:1s { print(len); }",
            "Do it at a hook that has a packet, and keep what is needed elsewhere in a map.",
            "rx { @longest = max(len); }\ninterval:1s { print(@longest); }",
        ),
        Explanation(
            Code.NOT_HERE,
            "The value is there at other hooks only.",
            "rx { count(reason); }",
            "Use a hook that gives it.",
            "drop { count(reason); }",
        ),
        Explanation(
            Code.BAD_FILTER,
            "libpcap does not take a tcpdump expression; the message is its own. With parameters, it is about the text "
            "that they were put into.",
            "rx /tcp port htpp/",
            "See pcap-filter(7). What libpcap names is pointed at, else the whole expression.",
            "rx /tcp port http/",
        ),
        Explanation(
            Code.BAD_CALL,
            "A function, an action or return is not used as it can be: the number or the kind of its arguments.",
            "drop { stack(500); }",
            "Write it as the hint or the message says.",
            "drop { stack(5); }",
        ),
        Explanation(
            Code.BAD_FORMAT,
            "A format of printf is wrong, or does not fit its values.",
            'drop { printf("%s dropped %d\\n", hook, comm); }',
            "As many conversions as values; %d, %u, %x and %c take numbers, %s everything; a percent sign is %%.",
            'drop { printf("%s dropped %s\\n", hook, comm); }',
        ),
        Explanation(
            Code.TYPE_CLASH,
            "A value is of a type that cannot be used here, or two values do not go together.",
            'drop { print(ip.src == "10.0.0.1", comm + 1); }',
            "Addresses and numbers have no quotes, text has; a pointer is followed to a member that is a value.",
            "drop { print(ip.src == 10.0.0.1, pid + 1); }",
        ),
        Explanation(
            Code.MAP_CLASH,
            "A map is used in two ways: its keys and its values have one type each, which its first use decides.",
            "rx { @bytes[ifname] = sum(len); }\ntx { @bytes[ifindex] = sum(len); }",
            "Use the same keys and the same aggregation everywhere, or two maps.",
            "rx { @bytes[ifname] = sum(len); }\ntx { @bytes[ifname] = sum(len); }",
        ),
        Explanation(
            Code.UNSUPPORTED,
            "The language has no value for this, or a program of the kernel has no room for it.",
            "tracepoint:sock:inet_sock_set_state { print(args.saddr); }",
            "The message says what it is. A packet's fields are a way to what an argument has no value for.",
            "tracepoint:sock:inet_sock_set_state { print(ip.src); }",
        ),
        Explanation(
            Code.COMPILE,
            "The C compiler does not take the script's own C, or what a statement became. The message is its own.",
            'c """ static u64 half(u64 x) { return y / 2; } """\nrx { print(half(len)); }',
            "Correct the C. If there is none at this place, it is a bug in xcap.",
            'c """ static u64 half(u64 x) { return x / 2; } """\nrx { print(half(len)); }',
        ),
    )
}


def explain(name: str) -> str | None:
    """The entry of a code as text; None if there is none of that name."""
    row = EXPLANATIONS.get(Code(name)) if name in set(Code) else None
    if row is None:
        return None
    wrong, right = (_indented(program) for program in (row.wrong, row.right))
    meaning, cure = (fill(text, WIDTH) for text in (f"{row.code}: {row.meaning}", row.cure))
    return f"{meaning}\n\n{wrong}\n\n{cure}\n\n{right}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
