"""The table of commands, and how a line finds its row."""

from __future__ import annotations

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
    for command in (
        Command(
            "hooks", "hooks [pattern]", Takes.HOOK, "the hooks whose names have this in them, or match it", asking.hooks
        ),
        Command("desc", "desc HOOK", Takes.HOOK, "a hook: its arguments, and where its packet is", asking.describe),
        Command("fields", "fields [tcp|skb|struct NAME]", Takes.FIELDS, "fields of packets and structs", asking.fields),
        Command("ls", "ls", Takes.NOTHING, "what runs and ran, with rates and losses", running.ls),
        Command("stop", "stop N|all", Takes.JOBS, "end a clause: its maps are shown, its files closed", running.stop),
        Command("pause", "pause N", Takes.JOB, "let a clause do nothing for a while", running.pause),
        Command("resume", "resume N", Takes.JOB, "let it go on", running.resume),
        Command("stats", "stats [N]", Takes.JOB, "what became of every hit, clause by clause", running.stats),
        Command("maps", "maps", Takes.NOTHING, "the maps of all clauses", watching.maps),
        Command("print", "print @map [n]", Takes.MAP, "a map, the largest values first", watching.print_map),
        Command("clear", "clear @map", Takes.MAP, "remove every key of a map", watching.clear),
        Command(
            "watch", "watch [@map ...]", Takes.MAP, "show maps below the prompt, live; alone: no more", watching.watch
        ),
        Command("flame", "flame N [file.svg]", Takes.JOB, "draw the stacks that a clause counted", watching.flame),
        Command("set", "set [name [value]]", Takes.SETTING, "what holds for clauses that are started", settings.set_),
        Command("write", "write [file|off]", Takes.PATH, "where dump writes packets", keeping.write),
        Command("load", "load file.xcap", Takes.PATH, "start a script", keeping.load),
        Command("edit", "edit [N]", Takes.JOB, "change a clause, or the last one, in $EDITOR", keeping.edit),
        Command("save", "save file.xcap [N ...]", Takes.PATH, "write what runs, or ran, as a script", keeping.save),
        Command("c", "c N", Takes.JOB, "the C that a clause became", asking.c_text),
        Command("history", "history [text]", Takes.TEXT, "what was typed", keeping.history),
        Command(
            "doctor",
            "doctor",
            Takes.NOTHING,
            "what works on this machine, and what to do about the rest",
            asking.doctor,
        ),
        Command("help", "help [topic]", Takes.TOPIC, "this, or more about something", _help),
        Command("quit", "quit", Takes.NOTHING, "stop all, and leave; as Ctrl-D", _quit),
    )
}
