"""A byte of a reply changes on its way, and the reply is JSON as before: no verdict is false, and no row is lost."""

from collections import Counter

import pytest

from imgmig_dagster.errors import TargetUnavailable
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster_tests.arrange import Migration, image, item_of
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, Call, FaultProxy, reply
from imgmig_dagster_tests.wire_faults import damaged

ROWS = 30
FOREVER = 10**9
ATTRIBUTES = pytest.mark.parametrize("attribute", ["sizeBytes", "originalFilename", "PK", "updatedAt", "version"])


@pytest.fixture
def migrated(migration: Migration) -> Migration:
    """Rows and their items, of which one differs in its size and one is missing."""
    migration.source.insert(image(number) for number in range(ROWS))
    for number in range(ROWS - 1):
        migration.target.put(item_of(number, **({"sizeBytes": {"N": "7"}} if number == 3 else {})))
    return migration


@ATTRIBUTES
def test_a_verification_judges_what_the_table_holds(migrated: Migration, proxy: FaultProxy, attribute: str) -> None:
    proxy.inject(damaged(attribute), "BatchGetItem", times=2)

    found = migrated.verify(proxy.url)

    assert +Counter(found.verdicts) == {"match": ROWS - 2, "mismatch": 1, "missing": 1}
    assert [(each.attribute, each.found) for each in found.mismatches if each.attribute] == [("sizeBytes", "N:7")]


def test_what_is_damaged_on_every_way_is_unverified_and_nothing_else(migrated: Migration, proxy: FaultProxy) -> None:
    proxy.inject(damaged(), "BatchGetItem", times=FOREVER)

    found = migrated.verify(proxy.url)

    assert +Counter(found.verdicts) == {"unverified": ROWS}
    assert not found.passed


@ATTRIBUTES
def test_a_census_counts_what_the_table_holds(migrated: Migration, proxy: FaultProxy, attribute: str) -> None:
    for operation in ("Scan", "BatchGetItem"):
        proxy.inject(damaged(attribute), operation, times=2)

    found = migrated.census(proxy.url)

    assert (found.source_rows, found.target_items) == (ROWS, ROWS - 1)
    assert (found.missing, found.orphans, found.differing, found.unverified) == (1, 0, 1, 0)


def test_a_census_whose_pages_are_always_damaged_gives_no_result(migrated: Migration, proxy: FaultProxy) -> None:
    proxy.inject(damaged("PK"), "Scan", times=FOREVER)

    with pytest.raises(TargetUnavailable, match="DamagedReply"):
        migrated.census(proxy.url)


@pytest.mark.parametrize("write_mode", list(WriteMode))
def test_a_migration_whose_confirmations_are_damaged_writes_each_row_once(
    migration: Migration, proxy: FaultProxy, write_mode: WriteMode
) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    damaged_once: set[str] = set()

    def first_try(call: Call) -> bool:
        again = call.keys[0] in damaged_once
        damaged_once.add(call.keys[0])
        return not again

    for operation in (*NEW_ITEMS, "BatchWriteItem"):
        proxy.inject(damaged(), operation, times=FOREVER, when=first_try)

    result = migration.migrate(proxy.url, write_mode=write_mode)

    assert damaged_once
    assert (result.total, result.rows_in_window, result.failed) == (ROWS, ROWS, 0)
    assert migration.ledger == {}
    assert migration.target.items() == {item_of(n)["PK"]["S"]: item_of(n) for n in range(ROWS)}
    assert migration.verify().passed


@pytest.mark.parametrize("write_mode", list(WriteMode))
def test_a_write_that_somebody_else_answered_is_sent_again(
    migration: Migration, proxy: FaultProxy, write_mode: WriteMode
) -> None:
    """A page of a proxy that happens to be JSON confirms nothing: the service never saw the request."""
    migration.source.insert(image(number) for number in range(ROWS))
    for operation in (*NEW_ITEMS, "BatchWriteItem"):
        proxy.inject(reply(200, b"{}"), operation)

    result = migration.migrate(proxy.url, write_mode=write_mode)

    assert (result.total, result.failed, result.retries) == (ROWS, 0, 1)
    assert len(migration.target.items()) == ROWS


def test_a_standing_item_that_arrives_damaged_is_not_judged_by(migration: Migration, proxy: FaultProxy) -> None:
    """The refusal of a conditional write brings the item along: a letter of it must not decide."""
    migration.source.insert([image(1)])
    migration.target.put(item_of(1))
    proxy.inject(damaged("originalFilename"), NEW_ITEMS)

    assert migration.migrate(proxy.url).outcomes == {"identical": 1}
    assert migration.target.item(1) == item_of(1)
