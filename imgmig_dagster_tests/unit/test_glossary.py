"""The words of docs/glossary.md: one meaning each, and the retired ones occur nowhere."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
GLOSSARY = REPOSITORY / "docs" / "glossary.md"
# What records history, and what was declared before a word was retired and is still read.
EXEMPT = (
    "CHANGELOG.md",
    "docs/glossary.md",
    "docs/test-results.md",
    "imgmig_dagster_tests/unit/test_glossary.py",
    "imgmig_dagster_tests/integration/test_earlier_state.py",
    "imgmig_dagster_tests/unit/reporting/test_earlier_certificates.py",
)
STILL_READ = re.compile(r'renamed\("\w+", "\w+"\)|value == "not settled"|IMGMIG_SETTLE_SECONDS')
TEXTS = (".py", ".j2", ".md", ".toml", ".yaml", ".yml", ".sql", ".mjs", ".txt")


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = GLOSSARY.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    for line in section.strip().splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def retired() -> list[str]:
    return [word for row in rows("Retired words") for word in row[0].split(", ")]


def files() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if name.endswith(TEXTS) and name not in EXEMPT]


def test_retired_words_do_not_occur() -> None:
    words = "|".join(map(re.escape, retired()))
    in_texts = re.compile(rf"\b({words})\b", re.IGNORECASE)
    in_names_too = re.compile(rf"(?<![a-z])({words})(?![a-z])", re.IGNORECASE)
    found = [
        f"{name}:{number}: {match.group()}"
        for name in files()
        for number, line in enumerate((REPOSITORY / name).read_text().splitlines(), 1)
        if (match := (in_names_too if of_the_product(name) else in_texts).search(STILL_READ.sub("", line)))
    ]
    assert not found, "\n".join(found)


def of_the_product(name: str) -> bool:
    return name.startswith("imgmig_dagster/")


def test_each_term_is_explained_once() -> None:
    headings = re.findall(r"^## (.*)$", GLOSSARY.read_text(), re.MULTILINE)
    terms = Counter(row[0] for heading in headings if heading != "Retired words" for row in rows(heading))
    assert 25 <= len(terms) <= 35
    assert not [term for term, times in terms.items() if times > 1]
    assert not set(terms) & set(retired())


def test_no_two_modules_share_a_file_name() -> None:
    names = Counter(Path(name).name for name in files() if name.startswith("imgmig_dagster/") and name.endswith(".py"))
    assert [name for name, times in names.items() if times > 1 and not name.startswith("__")] == []
