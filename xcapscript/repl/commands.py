"""The table of commands, and how a line finds its row."""

from __future__ import annotations

from itertools import starmap

from xcapscript.diagnostics import did_you_mean
from xcapscript.errors import UsageError
from xcapscript.repl import asking, keeping, running, settings, watching
from xcapscript.repl.command import Command, Desk, Leave, Result, Shell, Takes
from xcapscript.repl.help import TOPICS, topic_text
from xcapscript.repl.rows import paragraph, rows
from xcapscript.repl.words import doc_of


def run_command(desk: Desk, line: str) -> Result:
    """Do what a line says. UsageError if there is no such command, or it cannot be done so."""
    line = line.strip()
    if line.startswith("!"):
        if not line[1:].strip():
            raise UsageError("write !COMMAND, such as !ip address")
        return Shell(line[1:].strip())
    word, _, argument = line.partition(" ")
    command = COMMANDS.get(word.removeprefix("."))
    if command is None:
        hint = " ".join(did_you_mean(word, [f".{name}" for name in COMMANDS])) or "see .help"
        raise UsageError(f"there is no command '{word}': {hint}")
    argument = argument.strip()
    if argument and command.takes is Takes.NOTHING:
        raise UsageError(f"{word} takes nothing behind it")
    return command.does(desk, argument)


def _help(desk: Desk, argument: str) -> str:
    width = desk.around.columns()
    word = argument.removeprefix(".")
    if not word:
        table = [(f".{command.usage}", command.doc) for command in COMMANDS.values()]
        head = "What does not begin with a '.' is a program, such as drop /icmp/, and is run."
        more = f"More: .help with a command, a word of the language, or one of {' '.join(TOPICS)}"
        shown = rows([*table, ("!command", "run a command of the shell")], width)
        return "\n".join([paragraph(head, width), "", shown, "", paragraph(more, width)])
    if (command := COMMANDS.get(word)) is not None:
        return rows([(f".{command.usage}", command.doc)], width)
    found = topic_text(word, width) or doc_of(word)
    if found is None:
        hints = did_you_mean(word, [*COMMANDS, *TOPICS])
        raise UsageError(f"there is no help on '{word}': {' '.join(hints) or 'see .help'}")
    return found


def _quit(_desk: Desk, _argument: str) -> None:
    raise Leave


COMMANDS = {
    command.name: command
    for command in starmap(
        Command,
        (
            ("hooks [pattern]", Takes.HOOK, asking.hooks, "the hooks whose names have this in them, or match it"),
            ("desc HOOK", Takes.HOOK, asking.describe, "a hook: its arguments, and where its packet is"),
            ("fields [tcp|skb|struct NAME]", Takes.FIELDS, asking.fields, "fields of packets and structs"),
            ("ls", Takes.NOTHING, running.ls, "what runs and ran, with rates and losses"),
            ("stop N|all", Takes.JOBS, running.stop, "end a clause: its maps are shown, its files closed"),
            ("pause N", Takes.JOB, running.pause, "let a clause do nothing for a while"),
            ("resume N", Takes.JOB, running.resume, "let it go on"),
            ("stats [N]", Takes.JOB, running.stats, "what became of every hit, clause by clause"),
            ("maps", Takes.NOTHING, watching.maps, "the maps of all clauses"),
            ("print @map [n]", Takes.MAP, watching.print_map, "a map, the largest values first"),
            ("clear @map", Takes.MAP, watching.clear, "remove every key of a map"),
            ("watch [@map ...]", Takes.MAP, watching.watch, "show maps below the prompt, live; alone: no more"),
            ("flame N [file.svg]", Takes.JOB, watching.flame, "draw the stacks that a clause counted"),
            ("set [name [value]]", Takes.SETTING, settings.set_, "what holds for clauses that are started"),
            ("write [file|off]", Takes.PATH, keeping.write, "where dump writes packets"),
            ("load file.xcap [value ...]", Takes.PATH, keeping.load, "start a script, with its parameters"),
            ("edit [N]", Takes.JOB, keeping.edit, "change a clause, or the last one, in $EDITOR"),
            ("save file.xcap [N ...]", Takes.PATH, keeping.save, "write what runs, or ran, as a script"),
            ("c N", Takes.JOB, asking.c_text, "the C that a clause became"),
            ("history [text]", Takes.TEXT, keeping.history, "what was typed"),
            ("doctor", Takes.NOTHING, asking.doctor, "what works on this machine, and what to do about the rest"),
            ("help [topic]", Takes.TOPIC, _help, "this, or more about something"),
            ("quit", Takes.NOTHING, _quit, "stop all, and leave; as Ctrl-D"),
        ),
    )
}
