"""docs/commands.md says what `--help` says, and its examples are commands that can be typed."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand

from imgmig_dagster.cli.__main__ import commands_of, examples_of, page
from imgmig_dagster.cli.app import app

PAGE = Path(__file__).parents[2] / "docs/commands.md"
COMMANDS = dict(commands_of(typer.main.get_group(app)))


def test_the_page_is_up_to_date() -> None:
    found = PAGE.read_text(encoding="utf-8")
    assert found == page(), "run: .venv/bin/python -m imgmig_dagster.cli > docs/commands.md"


@pytest.mark.parametrize(("words", "command"), COMMANDS.items(), ids=COMMANDS)
def test_each_command_has_an_example_with_options_that_it_takes(words: str, command: TyperCommand) -> None:
    examples = examples_of(command)
    assert examples
    for example in examples:
        # Without the shell's part: `eval "$(...)"`, and where the output goes.
        typed = re.search(rf"{words}\b[^>)]*", example)
        assert typed, example
        arguments = shlex.split(typed.group())[len(words.split()) :]
        command.make_parser(typer.Context(command, info_name=words)).parse_args(arguments)
