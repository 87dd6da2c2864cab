"""Only what was read on both sides, strongly, and agrees by the rules is a match."""

from typing import Any

import pytest

from imgmig_dagster.errors import TargetRefused
from imgmig_dagster.mapping.fields import FieldType
from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.verification.verification_result import Mismatch
from imgmig_dagster_tests.arrange import Migration, image, item_of, migrated, row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy, error, holds, unprocessed
from imgmig_dagster_tests.images import IMAGE

FOREVER = 10_000

WRONG: dict[FieldType, list[dict[str, Any] | None]] = {
    FieldType.TEXT: [{"S": "wrong"}, {"S": ""}, {"N": "1"}, {"NULL": True}, None],
    FieldType.INTEGER: [{"N": "1"}, {"S": "1000"}, {"N": "640.5"}, {"NULL": True}, None],
    FieldType.TIMESTAMP: [
        {"S": "2024-01-01T00:00:00.000Z"},
        {"S": "2024-03-01"},
        {"N": "1709251200"},
        {"NULL": True},
        None,
    ],
}
CASES = [(field.attribute, value) for field in IMAGE.fields for value in WRONG[field.type]]


def test_every_field_with_every_wrong_value_is_named(migration: Migration) -> None:
    migration.source.insert(image(number) for number in range(len(CASES) + 1))
    for number, (attribute, value) in enumerate(CASES):
        migration.target.put(item_of(number, **{attribute: value}))
    migration.target.put(item_of(len(CASES)))

    result = migration.verify()

    assert {(found.row_id, found.attribute) for found in result.mismatches} == {
        (row_id(number), attribute) for number, (attribute, _value) in enumerate(CASES)
    }
    assert result.verdicts == {"match": 1, "mismatch": len(CASES), "missing": 0, "unverified": 0}
    assert result.by_attribute == {field.attribute: 5 for field in IMAGE.fields}
    assert result.mismatches_found == len(CASES) == 55
    assert result.coverage_is_complete
    assert not result.passed


def test_a_migrated_partition_passes_with_its_evidence(migration: Migration) -> None:
    migrated(migration, 30)

    result = migration.verify()

    assert result.passed
    assert result.verdicts == {"match": 30, "mismatch": 0, "missing": 0, "unverified": 0}
    assert (result.looked_at, result.rows_in_window, result.mismatches) == (30, 30, [])
    assert (result.agreed_on_recheck, result.inexact_timestamps, result.undeclared) == (0, 0, {})
    with migration.source.reader() as reader:
        assert result.digest == reader.inventory(migration.window).digest
        assert result.identity.source == reader.table.identity
    assert result.identity.target.endswith(migration.target.name)
    assert result.identity.mapping == IMAGE.fingerprint()
    assert result.watermark == "2024-05-06T07:08:09.123456+00:00"


def test_expected_and_found_values_are_told_with_their_types(migration: Migration) -> None:
    migration.source.insert([image(1, width=None)])
    migration.target.put(item_of(1, width={"N": "0"}))

    (mismatch,) = migration.verify().mismatches

    place = f"2024-03-01T00:00:01.000001+00:00/{row_id(1)}"
    assert mismatch == Mismatch(row_id(1), RowVerdict.MISMATCH, "width", "NULL", "N:0", place)
    assert mismatch.label == f"{row_id(1)}: width"


def test_a_missing_item_is_missing(migration: Migration) -> None:
    migrated(migration, 10)
    migration.target.delete(4)

    result = migration.verify()

    assert [(found.row_id, found.verdict) for found in result.mismatches] == [(row_id(4), RowVerdict.MISSING)]
    assert (result.verdicts["match"], result.verdicts["missing"]) == (9, 1)
    assert not result.passed


def test_an_item_under_another_sort_key_is_not_the_rows_item(migration: Migration) -> None:
    migration.source.insert([image(1)])
    migration.target.put({**item_of(1), "SK": {"S": "metadata"}})

    assert migration.verify().verdicts["missing"] == 1


def test_rows_whose_items_could_not_be_read_are_unverified_and_never_a_match(
    migration: Migration, proxy: FaultProxy
) -> None:
    migrated(migration, 130)
    proxy.inject(error("InternalServerError", 500), "BatchGetItem", FOREVER, holds(row_id(120)))

    result = migration.verify(proxy.url)

    assert result.verdicts == {"match": 100, "mismatch": 0, "missing": 0, "unverified": 30}
    assert not result.coverage_is_complete
    assert not result.passed
    assert {found.verdict for found in result.mismatches} == {RowVerdict.UNVERIFIED}
    assert len(result.mismatches) == 30


def test_a_read_that_succeeds_at_the_second_look_is_verified(migration: Migration, proxy: FaultProxy) -> None:
    migrated(migration, 10)
    proxy.inject(error("InternalServerError", 500), "BatchGetItem", times=4)

    result = migration.verify(proxy.url)

    assert result.passed
    assert result.agreed_on_recheck == 10


def test_one_key_that_dynamodb_refuses_leaves_its_neighbours_verified(migration: Migration, proxy: FaultProxy) -> None:
    """As it refuses a key of 3,000 bytes; moto takes any."""
    migrated(migration, 20)
    proxy.inject(error("ValidationException"), "BatchGetItem", FOREVER, holds(row_id(7)))

    result = migration.verify(proxy.url)

    assert result.verdicts == {"match": 19, "mismatch": 0, "missing": 0, "unverified": 1}
    assert [found.row_id for found in result.mismatches] == [row_id(7)]


def test_unprocessed_keys_are_read_again(migration: Migration, proxy: FaultProxy) -> None:
    migrated(migration, 20)
    proxy.inject(unprocessed(8), "BatchGetItem", times=2)

    assert migration.verify(proxy.url).passed


def test_no_access_is_an_error_and_no_verdict(migration: Migration, proxy: FaultProxy) -> None:
    migrated(migration, 2)
    proxy.inject(error("AccessDeniedException"), "BatchGetItem")

    with pytest.raises(TargetRefused):
        migration.verify(proxy.url)


class TestSettling:
    def test_a_difference_that_is_gone_at_the_second_look_agreed_on_recheck(
        self, migration: Migration, proxy: FaultProxy
    ) -> None:
        migrated(migration, 5)
        migration.target.put(item_of(2, width={"N": "1"}))
        proxy.after(lambda: migration.target.put(item_of(2)), "BatchGetItem")

        result = migration.verify(proxy.url)

        assert result.passed
        assert result.agreed_on_recheck == 1

    def test_a_row_updated_during_the_pass_is_judged_by_what_it_is_now(
        self, migration: Migration, proxy: FaultProxy
    ) -> None:
        migrated(migration, 5)

        def application_updates() -> None:
            migration.source.update(2, width=7)
            migration.target.put(item_of(2, width={"N": "7"}, updatedAt={"S": "2024-06-01T00:00:00.000Z"}))

        proxy.before(application_updates, "BatchGetItem")

        result = migration.verify(proxy.url)

        assert result.passed
        assert result.agreed_on_recheck == 1

    def test_an_item_that_still_differs_but_moved_is_looked_at_again(
        self, migration: Migration, proxy: FaultProxy
    ) -> None:
        migrated(migration, 2)
        migration.target.put(item_of(1, width={"N": "1"}))
        widths = iter(["2", "3", "640"])
        proxy.after(lambda: migration.target.put(item_of(1, width={"N": next(widths)})), "BatchGetItem", times=3)

        result = migration.verify(proxy.url)

        assert result.passed
        assert result.agreed_on_recheck == 1

    def test_a_key_that_never_holds_still_is_unverified(self, migration: Migration, proxy: FaultProxy) -> None:
        migrated(migration, 2)
        widths = iter(range(1, 1_000))

        def change() -> None:
            migration.target.put(item_of(1, width={"N": str(next(widths))}))

        change()
        proxy.after(change, "BatchGetItem", times=FOREVER)

        result = migration.verify(proxy.url)

        assert result.verdicts == {"match": 1, "mismatch": 0, "missing": 0, "unverified": 1}
        assert not result.passed

    def test_a_row_deleted_during_the_pass_needs_no_item(self, migration: Migration, proxy: FaultProxy) -> None:
        migrated(migration, 5)

        def application_deletes() -> None:
            migration.source.delete(2)
            migration.target.delete(2)

        proxy.before(application_deletes, "BatchGetItem")

        result = migration.verify(proxy.url)

        assert result.passed
        assert (result.looked_at, result.rows_in_window) == (4, 4)


class TestCoverage:
    def test_a_row_that_appeared_behind_the_cursor_is_verified_too(
        self, migration: Migration, proxy: FaultProxy
    ) -> None:
        migrated(migration, 5)
        late = image(99, created_at="2024-03-01T00:00:00Z")
        proxy.after(lambda: migration.source.insert([late]), "BatchGetItem")

        result = migration.verify(proxy.url)

        assert (result.looked_at, result.rows_in_window, result.late) == (6, 6, 1)
        assert result.verdicts["missing"] == 1
        assert not result.passed

    def test_an_empty_window_passes(self, migration: Migration) -> None:
        result = migration.verify()

        assert result.passed
        assert (result.looked_at, result.rows_in_window, result.digest) == (0, 0, "0")


def test_timestamps_that_are_not_the_cut_milliseconds_are_counted_and_pass(migration: Migration) -> None:
    migration.source.insert(image(number, created_at="2024-03-05T00:00:00.1237Z") for number in range(4))
    for number, milliseconds in enumerate(("123", "124", "000", "999")):
        migration.target.put(item_of(number, createdAt={"S": f"2024-03-05T00:00:00.{milliseconds}Z"}))

    result = migration.verify()

    assert result.passed
    assert result.inexact_timestamps == 3


def test_attributes_that_the_mapping_does_not_know_are_counted_by_name(migration: Migration) -> None:
    migration.source.insert(image(number) for number in range(3))
    migration.target.put(item_of(0, tags={"SS": ["a"]}))
    migration.target.put(item_of(1, tags={"SS": ["a"]}, ttl={"N": "1"}))
    migration.target.put(item_of(2, version={"N": "9"}))

    result = migration.verify()

    assert result.passed
    assert result.undeclared == {"tags": 2, "ttl": 1}


def test_reading_is_all_that_a_verification_does(migration: Migration, proxy: FaultProxy) -> None:
    migrated(migration, 3)
    migration.target.put(item_of(1, width=None))

    migration.verify(proxy.url)
    migration.census(proxy.url)

    assert proxy.writes == []
