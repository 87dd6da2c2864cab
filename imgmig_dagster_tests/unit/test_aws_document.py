"""docs/aws.md names no test that does not exist, and no behaviour without a source and a test."""

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
DOCUMENT = (TESTS.parent / "docs" / "aws.md").read_text(encoding="utf-8")
ROWS = [
    line for line in DOCUMENT.splitlines() if line.startswith("|") and not re.match(r"\|---|\| \w+ \| known from", line)
]
NAMED = sorted(set(re.findall(r"`([\w/]+\.py::[\w:]+)`", DOCUMENT)))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@lru_cache
def declared_in(file: str) -> set[str]:
    """The tests of a file, those of a class as `Class::test`."""
    found: set[str] = set()
    for node in ast.parse((TESTS / file).read_text(encoding="utf-8")).body:
        if isinstance(node, FUNCTIONS):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found.update(f"{node.name}::{each.name}" for each in node.body if isinstance(each, FUNCTIONS))
    return found


@pytest.mark.parametrize("name", NAMED)
def test_each_test_that_is_named_exists(name: str) -> None:
    file, _, test = name.partition("::")

    assert test in declared_in(file)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:42])
def test_each_behaviour_has_a_source_and_a_test(row: str) -> None:
    _behaviour, source, what_we_do, held_by = row.strip("|").split(" | ")

    assert re.search(r"\]\(https://[^)]+\)", source)
    assert what_we_do
    assert re.search(r"`[\w/]+\.py::\w+", held_by)


def test_there_is_something_to_look_at() -> None:
    assert len(ROWS) > 15
    assert len(NAMED) > 25
