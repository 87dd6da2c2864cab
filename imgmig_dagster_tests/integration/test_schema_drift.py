"""What changes in either side's schema after the first migration is named from then on."""

from typing import Any

from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.verification.schema_changes import SchemaDrift, schema_drift
from imgmig_dagster_tests.arrange import MARCH, Source, Target, image, partition_by_time
from imgmig_dagster_tests.conftest import NewSource
from imgmig_dagster_tests.runs import Run


def drift(source: Source, target: Target, state: LocalStateStore) -> SchemaDrift:
    with source.reader() as reader:
        return schema_drift(state, reader, target.settings().identity)


def migrate(source: Source, target: Target, state: LocalStateStore, run_id: str) -> None:
    with source.reader() as reader:
        Run(reader, target.settings(), state, MARCH, run_id).migrate()


def add_index(target: Target, attribute: str) -> None:
    change: dict[str, Any] = {
        "IndexName": f"by-{attribute}",
        "KeySchema": [{"AttributeName": attribute, "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    target.client.update_table(
        TableName=target.name,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK", attribute)],
        GlobalSecondaryIndexUpdates=[{"Create": change}],
    )


def test_before_the_first_migration_nothing_has_changed(source: Source, target: Target, state: LocalStateStore) -> None:
    assert drift(source, target, state) == SchemaDrift()


def test_changes_on_both_sides_are_named_from_the_first_migration_on(
    source: Source, target: Target, state: LocalStateStore
) -> None:
    source.execute("ALTER TABLE {t} ADD COLUMN caption text, ADD COLUMN old text")
    source.insert([image(1)])
    migrate(source, target, state, "first")
    assert drift(source, target, state).lines == []

    source.execute("ALTER TABLE {t} ALTER width TYPE bigint, DROP COLUMN old, ADD COLUMN location jsonb")
    source.execute("ALTER TABLE {t} ALTER user_id SET NOT NULL")
    add_index(target, "thumbnailS3Key")
    # A later migration does not hide them.
    migrate(source, target, state, "second")
    found = drift(source, target, state)

    assert found.faults == []
    assert [change.partition(":")[0] for change in found.changes] == [
        "the source's column user_id was uuid, and is uuid NOT NULL",
        "the source's column width was integer, and is bigint",
        "the source's column old (text) is gone",
        "the source has a new column location (jsonb)",
        "the target's index by-thumbnailS3Key is new, with thumbnailS3Key (S)",
    ]
    assert "`null: left_out`" in found.changes[-1]


def test_a_lost_unique_index_is_a_fault(new_source: NewSource, target: Target, state: LocalStateStore) -> None:
    source = new_source()
    partition_by_time(source)
    source.execute("ALTER TABLE {t} ALTER id SET NOT NULL")
    source.insert([image(1)])
    migrate(source, target, state, "first")

    # As of a table that once was not partitioned.
    content = state.read("schema.json")
    assert content is not None
    state.write("schema.json", content.content.replace(b'"ids_are_indexed": false', b'"ids_are_indexed": true'))

    assert "no index keeps id unique any longer" in drift(source, target, state).faults[0]
