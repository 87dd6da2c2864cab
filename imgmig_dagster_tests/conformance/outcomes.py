"""What the rows that break migrations have in common: they are migrated among their neighbours, or rejected."""

from collections.abc import Mapping, Sequence
from typing import Any

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.steps.migration_result import MigrationResult
from imgmig_dagster_tests.arrange import Migration, image, item_of, row_id

NEIGHBOURS = (1_000, 1_001, 1_002)
Changes = Mapping[int, "tuple[dict[str, Any], dict[str, Any]]"]
"""Per number of an image: the columns that are nasty, and the attributes that they become."""


def written(result: MigrationResult) -> int:
    return result.outcomes.get("inserted", 0) + result.outcomes.get("written", 0)


def by_key(items: Sequence[Item]) -> dict[str, Item]:
    return {item["PK"]["S"]: item for item in items}


def assert_migrated(migration: Migration, write_mode: WriteMode, changes: Changes) -> None:
    """These rows and their neighbours become the items that the application writes, and every check says so."""
    migration.source.insert(image(number) for number in NEIGHBOURS)
    migration.source.insert(image(number, **columns) for number, (columns, _attributes) in changes.items())

    result = migration.migrate(write_mode=write_mode, page_size=2)

    assert written(result) == result.rows_in_window == result.total == len(changes) + len(NEIGHBOURS)
    assert migration.target.items() == by_key(
        [item_of(number) for number in NEIGHBOURS]
        + [item_of(number, **attributes) for number, (_columns, attributes) in changes.items()]
    )
    assert migration.ledger == {}
    assert migration.verify().passed
    assert migration.census().passed


def assert_rejected(
    migration: Migration, write_mode: WriteMode, columns: Mapping[int, dict[str, Any]], field: str | None, code: str
) -> None:
    """These rows are never written and listed once, their neighbours are migrated, and no verdict passes."""
    migration.source.insert(image(number) for number in NEIGHBOURS)
    migration.source.insert(image(number, **changes) for number, changes in columns.items())
    rejected = {str(changes.get("id", row_id(number))) for number, changes in columns.items()}

    for repetition in ("first", "second"):
        result = migration.migrate(write_mode=write_mode, page_size=2, run_id=repetition)

        assert (result.outcomes["rejected"], result.total) == (len(columns), len(columns) + len(NEIGHBOURS))
        assert result.every_row_is_accounted_for
        assert migration.ledger.keys() == rejected
        assert {(entry.field, entry.code, entry.permanent) for entry in migration.ledger.values()} == {
            (field, code, True)
        }
        assert all(entry.reason for entry in migration.ledger.values())
    assert migration.target.items() == by_key([item_of(number) for number in NEIGHBOURS])
    verified = migration.verify()
    assert verified.verdicts["match"] == len(NEIGHBOURS)
    assert verified.verdicts["missing"] == len(columns)
    assert not verified.passed
    assert not migration.census().passed
