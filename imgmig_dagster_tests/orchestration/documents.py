"""The commands that stand in the README and in docs/."""

import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# Generated from the commands' help, whose examples unit/test_commands_page.py holds.
GENERATED = REPOSITORY / "docs/commands.md"
DOCUMENTS = [REPOSITORY / "README.md", *sorted({*(REPOSITORY / "docs").glob("*.md")} - {GENERATED})]

_CODE = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
_COMMAND = re.compile(r"""(?:^|[\s(])((?:imgmig|make) [a-z-][^\n`#;)|]*)""")


def commands_of(text: str) -> Iterator[str]:
    """Each command that stands in code, without the comment behind it."""
    for block, span in _CODE.findall(text):
        yield from (found.strip() for found in _COMMAND.findall(block or span))


def documented() -> dict[str, list[str]]:
    """Every command of the documents, with the names of those in which it stands."""
    found: dict[str, list[str]] = {}
    for document in DOCUMENTS:
        for command in dict.fromkeys(commands_of(document.read_text(encoding="utf-8"))):
            found.setdefault(command, []).append(document.name)
    return found
