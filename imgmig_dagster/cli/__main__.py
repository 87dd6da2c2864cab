"""Prints every command as Markdown: ``python -m imgmig_dagster.cli > docs/commands.md``.

The texts are those of `--help`, and are declared with each command in the modules of this package. The command line
itself is `imgmig`.
"""

import re
import sys
from collections.abc import Iterator

import typer
from typer.core import TyperCommand, TyperGroup

from imgmig_dagster.cli.app import app

PAGE = """# Commands

Every command of `imgmig`, for operators who look up an option or an exit code. To learn the commands in the order in
which you need them, read the [README](../README.md).

Generated from the command line's own help by `.venv/bin/python -m imgmig_dagster.cli > docs/commands.md`; a test
keeps it up to date.

{list}

## Exit codes

| code | meaning |
|---|---|
{exit_codes}

Commands that state an exit code below refine this table. Each error and its exit code is in [errors](errors.md).

Two words say how a stage is doing:

| word | about | exit code 0 only for |
|---|---|---|
| `verdict`: PASS, FAIL, NOT VERIFIED | the data | PASS: `imgmig verify`, `imgmig report` |
| `cutover`: READY, NOT READY | also the review of the spot check | READY: `imgmig certificate show` and `verify` |

With `--json` a command prints one JSON document on standard output.

{commands}
"""

_THEN = re.compile(r"^then(, [^:]*:)? ")


def commands_of(group: TyperGroup, words: str = "imgmig") -> Iterator[tuple[str, TyperCommand]]:
    """Each command with the words that call it, in the order of `--help`; those of a group after the group."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands_of(command, f"{words} {name}")
        elif isinstance(command, TyperCommand):
            yield f"{words} {name}", command


def examples_of(command: TyperCommand) -> list[str]:
    """The command lines in the epilog: `Examples: imgmig ...; then imgmig ...`."""
    _example, _colon, lines = (command.epilog or "").partition(": ")
    return [_THEN.sub("", line) for line in lines.split("; ") if line]


def page() -> str:
    """The whole of `docs/commands.md`."""
    group = typer.main.get_group(app)
    commands = dict(commands_of(group))
    _title, _colon, codes = (group.epilog or "").rstrip(".").partition(": ")
    return PAGE.format(
        list="\n".join(["| command | what it does |", "|---|---|", *map(_line, commands, commands.values())]),
        exit_codes="\n".join("| {} | {} |".format(*code.split(" ", 1)) for code in codes.split("; ")),
        commands="\n\n".join(map(_section, commands, commands.values())),
    )


def _line(words: str, command: TyperCommand) -> str:
    return f"| [`{words}`](#{words.replace(' ', '-')}) | {_cell(_help(command)[0])} |"


def _section(words: str, command: TyperCommand) -> str:
    context = typer.Context(command, info_name=words)
    usage = " ".join([words, *command.collect_usage_pieces(context)])
    records = [record for each in command.params if (record := each.get_help_record(context))]
    rows = [f"| {_code(name)} | {_cell(text)} |" for name, text in records]
    examples = examples_of(command)
    parts = [
        f"## {words}",
        *_help(command),
        f"Usage: `{usage}`",
        *(["\n".join(["| option | meaning |", "|---|---|", *rows])] if rows else []),
        *(["\n".join(["```bash", *examples, "```"])] if examples else []),
    ]
    return "\n\n".join(parts)


def _help(command: TyperCommand) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n")]


def _code(name: str) -> str:
    return f"`{_cell(name)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
