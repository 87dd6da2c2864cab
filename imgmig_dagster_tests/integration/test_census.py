"""The whole target against the whole source."""

from itertools import count

import pytest

from imgmig_dagster.errors import TargetUnavailable
from imgmig_dagster.progress import Progress
from imgmig_dagster.steps.census import take_census
from imgmig_dagster_tests.arrange import MARCH, Migration, image, item_of, migrated, row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy, error, holds

FOREVER = 10_000


def test_missing_orphan_and_differing_keys_are_counted_and_named(migration: Migration) -> None:
    migrated(migration, 40)
    migration.target.delete(3)
    migration.target.delete(4)
    migration.source.delete(5)
    migration.target.put(item_of(6, width={"N": "1"}))
    migration.target.put(item_of(7, s3Key=None))
    migration.target.put(item_of(8, sizeBytes={"S": "1008"}))
    migration.target.put({"PK": {"S": "USER#1"}, "SK": {"S": "METADATA"}})
    migration.target.put({**item_of(9), "SK": {"S": "TAG#x"}})

    census = migration.census()

    assert (census.missing, census.orphans, census.differing) == (2, 1, 3)
    assert (census.source_rows, census.target_items, census.other_entities) == (39, 38, 2)
    assert {kind: sorted(found) for kind, found in census.samples.items()} == {
        "missing": [row_id(3), row_id(4)],
        "orphans": [row_id(5)],
        "differing": [row_id(6), row_id(7), row_id(8)],
    }
    assert not census.passed


def test_two_sides_that_hold_the_same_pass(migration: Migration, proxy: FaultProxy) -> None:
    migrated(migration, 40)

    census = migration.census(proxy.url)

    assert census.passed
    assert (census.source_rows, census.target_items, census.agreed_on_recheck, census.samples) == (40, 40, 0, {})
    assert {call.body["Segment"] for call in proxy.of("Scan")} == {0, 1, 2, 3}
    assert proxy.of("BatchGetItem") == [], "only differing keys are read again"


def test_every_phase_tells_of_itself_and_of_how_much_there_is(migration: Migration) -> None:
    migrated(migration, 30)
    migration.target.delete(3)
    told, lines = list[Progress](), list[str]()
    run = migration.run(told=told, page_size=10)

    with run.source:
        run.look(lambda work: take_census(work, [MARCH], tell=lines.append))

    last = {each.verb: (each.done, each.total, each.failures) for each in told}
    assert last == {"Read": (59, 60, 0), "Counted": (30, 30, 0), "Compared": (59, 59, 1), "Kept": (30, 30, 0)}
    assert {each.total for each in told if each.verb == "Read"} == {60}, "known beforehand"
    assert any("30 rows needs about 1 MB of temporary files" in line for line in lines)


def test_an_empty_source_and_target_pass(migration: Migration) -> None:
    assert migration.census().passed


@pytest.mark.parametrize("stranger", ["not-a-uuid", "", "00000000-0000-0000-0000-00000000000A", "\0", "x" * 500, "💥"])
def test_an_orphan_whose_id_no_row_can_have_is_an_orphan_and_no_crash(migration: Migration, stranger: str) -> None:
    migrated(migration, 3)
    migration.target.put({**item_of(0), "PK": {"S": f"IMAGE#{stranger}"}})

    census = migration.census()

    assert (census.orphans, census.samples["orphans"]) == (1, [stranger])


def test_a_timestamp_within_tolerance_is_no_difference(migration: Migration) -> None:
    migration.source.insert([image(1)])
    migration.target.put(item_of(1, updatedAt={"S": "2024-05-06T07:08:10.000Z"}))

    census = migration.census()

    assert census.passed
    assert census.agreed_on_recheck == 1


def test_rows_outside_alone_keep_the_census_from_passing(migration: Migration) -> None:
    migrated(migration, 2)
    migration.source.update(1, created_at="2024-04-01T00:00:00Z", updated_at=image(1)["updated_at"])
    migration.target.put(item_of(1, createdAt={"S": "2024-04-01T00:00:00.000Z"}))

    census = migration.census()

    assert (census.missing, census.orphans, census.differing, census.rows_outside) == (0, 0, 0, 1)
    assert census.partitions_from == "2024-03-01T00:00:00+00:00"
    assert not census.passed


def test_a_key_that_cannot_be_read_again_is_unverified(migration: Migration, proxy: FaultProxy) -> None:
    migrated(migration, 5)
    migration.target.delete(2)
    proxy.inject(error("InternalServerError", 500), "BatchGetItem", FOREVER, holds(row_id(2)))

    census = migration.census(proxy.url)

    assert (census.missing, census.unverified, census.samples["unverified"]) == (0, 1, [row_id(2)])
    assert not census.passed


def test_a_difference_that_is_gone_at_the_second_look_agreed_on_recheck(
    migration: Migration, proxy: FaultProxy
) -> None:
    migrated(migration, 5)
    migration.target.delete(2)
    proxy.before(lambda: migration.target.put(item_of(2)), "BatchGetItem")

    census = migration.census(proxy.url)

    assert census.passed
    assert census.agreed_on_recheck == 1


@pytest.mark.parametrize("times", [4, FOREVER])
def test_a_scan_that_cannot_be_finished_gives_no_census(migration: Migration, proxy: FaultProxy, times: int) -> None:
    migrated(migration, 5)
    proxy.inject(error("InternalServerError", 500), "Scan", times, when=lambda call: call.body["Segment"] == 2)

    with pytest.raises(TargetUnavailable, match="could not be finished"):
        migration.census(proxy.url)


def test_samples_are_bounded_and_counts_are_not(migration: Migration) -> None:
    migration.source.insert(image(number) for number in range(60))

    census = migration.census()

    assert (census.missing, len(census.samples["missing"])) == (60, 20)


class TestWhileAnItemsRowComesOrGoes:
    """An item without a row is an orphan only if it holds still."""

    def test_a_delete_that_is_on_its_way_is_no_fault(self, migration: Migration, proxy: FaultProxy) -> None:
        migrated(migration, 5)
        migration.source.delete(2)
        proxy.after(lambda: migration.target.delete(2), "BatchGetItem")

        census = migration.census(proxy.url)

        assert census.passed
        assert (census.agreed_on_recheck, census.samples) == (1, {})

    def test_a_row_that_comes_with_its_item_is_compared(self, migration: Migration, proxy: FaultProxy) -> None:
        migrated(migration, 5)
        for number in (7, 8):
            migration.target.put(item_of(number))
        rows = [image(7), image(8, width="1")]
        proxy.before(lambda: migration.source.insert(rows), "BatchGetItem")

        census = migration.census(proxy.url)

        assert (census.agreed_on_recheck, census.samples) == (1, {"differing": [row_id(8)]})
        assert census.faults == {row_id(8): ["width"]}

    def test_one_that_moves_at_every_look_is_unverified(self, migration: Migration, proxy: FaultProxy) -> None:
        migrated(migration, 5)
        migration.source.delete(2)
        versions = count()
        proxy.before(
            lambda: migration.target.put(item_of(2, version={"N": str(next(versions))})), "BatchGetItem", FOREVER
        )

        census = migration.census(proxy.url)

        assert (census.orphans, census.unverified, census.samples) == (0, 1, {"unverified": [row_id(2)]})
        assert next(versions) < 10, "looked at without end"

    def test_one_whose_row_comes_and_goes_for_ever_is_unverified(self, migration: Migration, proxy: FaultProxy) -> None:
        migrated(migration, 5)
        migration.target.put(item_of(7))
        looks = count()

        def come_or_go() -> None:
            """At the second look at an item without a row the row is there, and is gone once it is compared."""
            look = next(looks) % 3
            if look == 1:
                migration.source.insert([image(7, width="1")])
            elif look == 2:
                migration.source.delete(7)

        proxy.before(come_or_go, "BatchGetItem", FOREVER)

        census = migration.census(proxy.url)

        assert (census.unverified, census.samples) == (1, {"unverified": [row_id(7)]})
        assert next(looks) < 60, "looked at without end"

    def test_one_row_that_goes_for_each_that_comes_hides_neither(self, migration: Migration, proxy: FaultProxy) -> None:
        """There are as many rows as were read, and not the same."""
        migrated(migration, 5)

        def swap() -> None:
            migration.source.delete(2)
            migration.source.insert([image(7)])

        proxy.after(swap, "Scan", when=lambda call: call.body["Segment"] == 3)

        census = migration.census(proxy.url)

        assert census.samples == {"missing": [row_id(7)], "orphans": [row_id(2)]}
        assert census.counts_agree
