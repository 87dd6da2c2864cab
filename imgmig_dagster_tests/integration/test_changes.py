"""Which partitions have to be verified again."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from imgmig_dagster.errors import TargetRefused
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state.writes import writing
from imgmig_dagster.verification.changed_windows import changed_partitions, occupied_partitions, verifiable_partitions
from imgmig_dagster.window import Window
from imgmig_dagster_tests.arrange import Migration, image, month
from imgmig_dagster_tests.conftest import create_table
from imgmig_dagster_tests.fault_proxy import FaultProxy, error
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.unit.source.test_plans import Recorded

WINDOWS = [month(2024, number) for number in (2, 3, 4)]


def changed(migration: Migration, moment: str | None = None) -> list[str]:
    with migration.source.reader() as reader:
        today = migration.today(reader)
        today = replace(today, moment=moment or today.moment)
        return list(changed_partitions(reader, migration.state, WINDOWS, today))


def verify(migration: Migration) -> None:
    migration.verify()


def test_of_the_partitions_without_evidence_those_have_changed_that_were_migrated(migration: Migration) -> None:
    migration.source.insert([image(1), image(2, created_at="2024-04-10Z")])
    assert changed(migration) == []

    migration.migrate()
    assert changed(migration) == ["2024-03-01"]


def test_a_partition_that_is_being_written_has_not_changed(migration: Migration) -> None:
    migration.source.insert([image(1)])
    migration.migrate()
    for verified in (False, True):
        with writing(migration.state, "2024-03-01", "migration", "run-1"):
            assert (changed(migration), verifiable_partitions(migration.state, WINDOWS)) == ([], []), verified
        assert (changed(migration), verifiable_partitions(migration.state, WINDOWS)) == (["2024-03-01"],) * 2
        verify(migration)


def test_a_partition_whose_pass_broke_off_is_left_to_the_run_that_resumes_it(
    migration: Migration, proxy: FaultProxy
) -> None:
    migration.source.insert([image(1)])
    proxy.inject(error("AccessDeniedException"), times=100)
    with pytest.raises(TargetRefused):
        migration.migrate(proxy.url)

    assert (changed(migration), verifiable_partitions(migration.state, WINDOWS)) == ([], [])


def test_a_verified_partition_has_not_changed(migration: Migration) -> None:
    migration.source.insert([image(1)])
    migration.migrate()
    verify(migration)

    assert changed(migration) == []


def test_the_digests_of_however_many_partitions_are_asked_for_by_one_statement(migration: Migration) -> None:
    windows = [month(2024, number) for number in range(1, 13)]
    migration.source.insert(image(n, created_at=f"2024-{n + 1:02}-10Z") for n in range(12))
    for window in windows:
        replace(migration, window=window).verify()
    migration.source.update(4, width=1, updated_at=image(4)["updated_at"])
    migration.source.delete(7)

    def asked(some: Sequence[Window]) -> tuple[Sequence[str], int]:
        connections = Recorded(migration.source.url)
        with SourceReader(connections, migration.source.schema, migration.source.table, IMAGE) as reader:
            today = migration.today(reader)
            connections.asked.clear()
            return changed_partitions(reader, migration.state, some, today), len(connections.asked)

    assert asked(windows[:1]) == ([], 2)
    assert asked(windows) == (["2024-05-01", "2024-08-01"], 2)
    migration.source.execute("TRUNCATE {t}")
    assert asked(windows[:1]) == (["2024-01-01"], 1), "whose rows are not as many as they were needs no digest"


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
    replace(migration, window=WINDOWS[2]).migrate()
    replace(migration, window=WINDOWS[2]).verify()
    verify(migration)
    migration.source.update(1, created_at="2024-04-10Z", updated_at=image(1)["updated_at"])

    assert changed(migration) == ["2024-03-01", "2024-04-01"]


def test_a_repair_after_the_evidence_makes_it_old(migration: Migration) -> None:
    migration.source.insert([image(1)])
    migration.migrate()
    verify(migration)
    with writing(migration.state, "2024-03-01", "repair", "repair-1", []):
        pass

    assert changed(migration) == ["2024-03-01"]


def test_evidence_of_a_table_that_was_made_again_is_none(migration: Migration) -> None:
    migration.source.insert([image(1)])
    migration.migrate()
    verify(migration)
    migration.target.client.delete_table(TableName=migration.target.name)
    create_table(migration.target.client, migration.target.name)

    assert changed(migration) == ["2024-03-01"]


def test_partitions_that_hold_rows_or_state_are_occupied(migration: Migration) -> None:
    migration.source.insert([image(2, created_at="2024-04-10Z")])
    migration.migrate()  # of March, which is empty, and whose record is kept

    with migration.source.reader() as reader:
        assert occupied_partitions(reader, migration.state, WINDOWS) == ["2024-03-01", "2024-04-01"]
