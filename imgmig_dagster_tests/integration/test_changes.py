"""Which partitions have to be verified again."""

from imgmig_dagster.state import names
from imgmig_dagster.state.records import save_record
from imgmig_dagster.verification.changes import changed_partitions, occupied_partitions
from imgmig_dagster_tests.arrange import Migration, image, month

WINDOWS = [month(2024, number) for number in (2, 3, 4)]


def changed(migration: Migration) -> list[str]:
    with migration.source.reader() as reader:
        return changed_partitions(reader, migration.state, WINDOWS)


def verify(migration: Migration) -> None:
    save_record(migration.state, names.evidence("2024-03-01"), migration.verify())


def test_partitions_with_rows_and_without_evidence_have_changed(migration: Migration) -> None:
    migration.source.insert([image(1), image(2, created_at="2024-04-10Z")])

    assert changed(migration) == ["2024-03-01", "2024-04-01"]


def test_a_verified_partition_has_not_changed(migration: Migration) -> None:
    migration.source.insert([image(1)])
    migration.migrate()
    verify(migration)

    assert changed(migration) == []


def test_an_update_that_leaves_updated_at_alone_is_seen(migration: Migration) -> None:
    migration.source.insert([image(1)])
    verify(migration)
    migration.source.update(1, width=1, updated_at=image(1)["updated_at"])

    assert changed(migration) == ["2024-03-01"]


def test_a_delete_is_seen_even_of_the_last_row(migration: Migration) -> None:
    migration.source.insert([image(1)])
    verify(migration)
    migration.source.delete(1)

    assert changed(migration) == ["2024-03-01"]


def test_a_row_that_moved_changes_both_windows(migration: Migration) -> None:
    migration.source.insert([image(1), image(2)])
    verify(migration)
    migration.source.update(1, created_at="2024-04-10Z", updated_at=image(1)["updated_at"])

    assert changed(migration) == ["2024-03-01", "2024-04-01"]


def test_a_migration_after_the_evidence_makes_it_old(migration: Migration) -> None:
    migration.source.insert([image(1)])
    verify(migration)
    migration.migrate()

    assert changed(migration) == ["2024-03-01"]


def test_partitions_that_hold_rows_or_state_are_occupied(migration: Migration) -> None:
    migration.source.insert([image(2, created_at="2024-04-10Z")])
    migration.migrate()  # of March, which is empty, and whose record is kept

    with migration.source.reader() as reader:
        assert occupied_partitions(reader, migration.state, WINDOWS) == ["2024-03-01", "2024-04-01"]
