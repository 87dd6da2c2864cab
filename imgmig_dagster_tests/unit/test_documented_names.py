"""The modules and tests that the documents name exist."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "deploy").glob("*.md")]
)
MODULES = [
    f"/{path.relative_to(REPOSITORY)}"
    for part in ("imgmig_dagster", "imgmig_dagster_tests", "benchmarks", "recheck")
    for path in (REPOSITORY / part).rglob("*.py")
]


@cache
def declared_tests() -> set[str]:
    """The test functions and the modules that hold them."""
    files = [*(REPOSITORY / "imgmig_dagster_tests").rglob("test_*.py")]
    parsed = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    functions = {node.name for tree in parsed for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return functions | {path.stem for path in files}


def in_code(document: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", document.read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_test_that_a_document_names_exists(document: Path) -> None:
    named = {name for text in in_code(document) for name in re.findall(r"\btest_\w+", text)}

    assert named - declared_tests() == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_module_that_a_document_names_exists(document: Path) -> None:
    named = {path for text in in_code(document) for path in re.findall(r"(?:^|\s)([\w/.-]+\.py)\b", text)}

    assert [path for path in sorted(named) if not any(module.endswith(f"/{path}") for module in MODULES)] == []


CONTRIBUTING = REPOSITORY / "CONTRIBUTING.md"
PLACES = sorted(
    {text for text in in_code(CONTRIBUTING) if re.fullmatch(r"[\w./-]*(/|\.(py|yaml|md|toml|json))(::[\w.]+)?", text)}
)


def declared_in(module: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[str]:
    """The functions, classes, methods and constants of a module, those of a class as `Class.method`."""
    for node in module.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from declared_in(node, f"{node.name}.")
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))


@pytest.mark.parametrize("place", PLACES)
def test_each_place_that_contributing_names_exists(place: str) -> None:
    """A path is the package's, unless it is one of the repository: `folder/module.py::Class.method`."""
    path, _, name = place.partition("::")
    found = next((each / path for each in (REPOSITORY / "imgmig_dagster", REPOSITORY) if (each / path).exists()), None)
    assert found

    assert not name or name in declared_in(ast.parse(found.read_text(encoding="utf-8")))


def test_contributing_names_many_places() -> None:
    assert len(PLACES) > 80
