"""What the documents name exists: modules, tests, functions, links; and each error is in docs/errors.md."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from imgmig_dagster import errors

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
    functions = {
        node.name
        for tree in parsed
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
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


def headings_of(document: Path) -> set[str]:
    """A document's headings as links name them."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", document.read_text(encoding="utf-8")):
        path, _, heading = link.partition("#")
        found = (document.parent / path) if path else document
        if not found.exists() or (heading and heading not in headings_of(found)):
            broken.append(link)

    assert broken == []


ERRORS = (REPOSITORY / "docs/errors.md").read_text(encoding="utf-8").partition("## Every error by name")[2]
GROUPS = {"ImgmigError", "SourceError", "TargetError", "StateError"}
RAISED = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.ImgmigError) and kind.__name__ not in GROUPS
]


@pytest.mark.parametrize("error", RAISED)
def test_each_error_is_in_the_documents_with_its_exit_code(error: type[errors.ImgmigError]) -> None:
    lines = [line for line in ERRORS.splitlines() if f"`{error.__name__}`" in line]

    assert len(lines) == 1
    names, codes = (cell.strip().split("; ") for cell in lines[0].split("|")[1:3])
    of = next(place for place, cell in enumerate(names) if f"`{error.__name__}`" in cell)
    assert codes[of if len(codes) > 1 else 0] == str(error.exit_code)


def test_no_table_of_the_documents_says_a_thing_twice() -> None:
    """The lines of two branches that are merged by union stand there one after the other, and may contradict."""
    documents = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "deploy").glob("*.md")]
    twice = []
    for document in documents:
        table: set[str] = set()
        for line in document.read_text(encoding="utf-8").splitlines():
            subject = line.split("|")[1].strip() if line.startswith("|") else ""
            if subject in table:
                twice.append((document.name, subject))
            # A blank line ends a table; an empty cell goes on with what stands above it.
            table = {*table, subject} - {""} if line.startswith("|") else set()
    assert twice == []
