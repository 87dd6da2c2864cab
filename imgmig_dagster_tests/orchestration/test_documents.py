"""Every command in the README and docs/ is one that exists, with the options that it has."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from imgmig_dagster.cli.app import app

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))

CODE = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
COMMAND = re.compile(r"""(?:^|[\s(])(imgmig|make) ([a-z-][^\n`#;)|]*)""")


def commands_of(text: str) -> "Iterator[tuple[str, str]]":
    """The program and the words of each command that stands in code."""
    for block, span in CODE.findall(text):
        yield from COMMAND.findall(block or span)


COMMANDS = [
    pytest.param(program, words.strip(), id=f"{document.name}: {program} {words.strip()}")
    for document in DOCUMENTS
    for program, words in dict.fromkeys(commands_of(document.read_text(encoding="utf-8")))
]


def parse(words: "list[str]") -> None:
    """Let the command line parse a command without running it."""
    command: Any = typer.main.get_command(app)
    name = "imgmig"
    while hasattr(command, "commands") and words:
        name, *words = words
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    command.make_context(name, words)


@pytest.mark.parametrize(("program", "words"), COMMANDS)
def test_a_command_in_a_document_exists(
    program: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").touch()
    if program == "make":
        assert words.split()[0] in TARGETS
    else:
        parse(shlex.split(words))


def test_the_documents_hold_commands_and_a_wrong_one_is_found() -> None:
    found = [word for document in DOCUMENTS for word in commands_of(document.read_text(encoding="utf-8"))]
    assert {program for program, _words in found} == {"imgmig", "make"}
    assert len(found) > 60
    for wrong, message in (
        (["migrat"], "there is no command migrat"),
        (["migrate", "--force"], "No such option: --force"),
        (["throttle", "--rate", "fast"], "should be a valid number"),
        (["report", "now"], "unexpected extra argument"),
    ):
        with pytest.raises(Exception, match=message):
            parse(wrong)
