"""Tables whose rows have no time, or not all of them: the commands work on buckets, and on the partition `undated`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from imgmig_dagster_tests.orchestration.arrange import Platform
from imgmig_dagster_tests.orchestration.commands import CommandServer

DECLARATIONS = {
    "counters": """
table: shelf.counters
identity: [id]
partitions: {buckets: 3}
modified: {newer: source}
key:
  PK: "COUNTER#{id}"
  SK: METADATA
attributes:
  total: {column: total, as: integer}
""",
    "notes": """
table: shelf.notes
identity: [id]
order: noted_at
undated: true
partitions: {every: monthly, start: 2024-01-01}
modified: {newer: source}
key:
  PK: "NOTE#{id}"
  SK: METADATA
attributes:
  notedAt: {column: noted_at, null: written}
""",
}


@pytest.fixture
def shelf(platform: Platform, tmp_path: Path) -> Iterator[Platform]:
    """The stage with both tables: nine rows in buckets; two with a time, and three without."""
    owner = platform.source.owner
    owner.execute("DROP SCHEMA IF EXISTS shelf CASCADE")
    owner.execute("CREATE SCHEMA shelf")
    owner.execute("CREATE TABLE shelf.counters (id text PRIMARY KEY, total bigint NOT NULL)")
    owner.execute("INSERT INTO shelf.counters SELECT 'c' || n, n FROM generate_series(1, 9) AS n")
    owner.execute("CREATE TABLE shelf.notes (id text PRIMARY KEY, noted_at timestamptz)")
    owner.execute("INSERT INTO shelf.notes VALUES ('a', '2024-02-03Z'), ('b', '2024-03-04Z')")
    owner.execute("INSERT INTO shelf.notes (id) VALUES ('x'), ('y'), ('z')")
    owner.execute("GRANT USAGE ON SCHEMA shelf TO PUBLIC")
    owner.execute("GRANT SELECT ON ALL TABLES IN SCHEMA shelf TO PUBLIC")
    for name in ("IMGMIG_SOURCE_SCHEMA", "IMGMIG_PARTITION_START"):
        platform.monkeypatch.delenv(name)
        del platform.environment[name]
    folder = tmp_path / "declared"
    folder.mkdir()
    for name, text in DECLARATIONS.items():
        (folder / f"{name}.yaml").write_text(text)
    platform.set(IMGMIG_MAPPINGS=str(folder))
    yield platform
    owner.execute("DROP SCHEMA shelf CASCADE")


@pytest.mark.parametrize(("table", "rows", "some"), [("counters", 9, "bucket-1"), ("notes", 5, "undated")])
def test_every_row_is_migrated_verified_and_in_the_census(
    shelf: Platform, commands: CommandServer, table: str, rows: int, some: str
) -> None:
    def imgmig(*words: str) -> tuple[int, dict[str, object]]:
        done = commands.run(*words, "--table", table, "--json", environment=shelf.environment)
        return done.exit_code, done.document

    code, migrated = imgmig("migrate")
    assert (code, migrated["total"], migrated["migrated"]) == (0, rows, rows)
    code, verified = imgmig("verify")
    assert (code, verified["verdict"]) == (0, "PASS")
    code, again = imgmig("migrate", "--partition", some)
    assert (code, again["migrated"]) == (0, 0)
