"""Rows that disappear in masses take no item with them until a person confirms their number."""

import json
from typing import Any

import pytest

from imgmig_dagster.errors import TargetUnavailable
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster_tests.arrange import Migration, image, item_of, row_id
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, FaultProxy, holds, reset_before

ROWS = 300
FOREVER = 1_000_000
WRITES = {WriteMode.BATCH: ("BatchWriteItem",), WriteMode.CONDITIONAL: NEW_ITEMS}
LATE_IN_THE_PASS = holds(row_id(250))


@pytest.fixture
def filled(migration: Migration) -> Migration:
    migration.source.insert(image(number) for number in range(ROWS))
    return migration


def statement(migration: Migration, text: str) -> None:
    migration.source.execute(text)


def audit(migration: Migration) -> list[dict[str, Any]]:
    files = [migration.state.read(name) for name in migration.state.list("audit")]
    return [json.loads(line) for found in files if found for line in found.content.splitlines()]


def held(migration: Migration) -> set[str]:
    return {row for row, failure in migration.ledger.items() if failure.code == "DeleteHeldBack"}


def deleted_half(migration: Migration, proxy: FaultProxy, **settings: Any) -> Any:
    """A pass during which every row of an even number is deleted."""
    every_other = "DELETE FROM {t} WHERE mod(size_bytes, 2) = 0"
    proxy.after(lambda: statement(migration, every_other), NEW_ITEMS, when=LATE_IN_THE_PASS)
    return migration.migrate(proxy.url, page_size=100, **settings)


@pytest.mark.parametrize("write_mode", list(WriteMode))
def test_a_truncate_during_a_pass_deletes_no_item(filled: Migration, proxy: FaultProxy, write_mode: WriteMode) -> None:
    proxy.after(lambda: statement(filled, "TRUNCATE {t}"), WRITES[write_mode], when=LATE_IN_THE_PASS)

    result = filled.migrate(proxy.url, write_mode=write_mode, page_size=100)

    seen = result.outcomes["held_back"]
    assert seen >= 250
    assert proxy.of("DeleteItem") == []
    assert len(held(filled)) == len(filled.target.items()) == seen
    assert (result.success_rate, result.every_row_is_accounted_for) == (0.0, True)
    assert not any(failure.permanent for failure in filled.ledger.values())


def test_rows_deleted_in_masses_under_their_own_writes_are_held_back_too(filled: Migration, proxy: FaultProxy) -> None:
    """Each row is met by the look after its own write, page by page: none is deleted before all are counted."""
    proxy.before(lambda: statement(filled, "TRUNCATE {t}"), NEW_ITEMS)

    result = filled.migrate(proxy.url, page_size=100)

    assert proxy.of("DeleteItem") == []
    assert result.outcomes == {"held_back": len(filled.target.items())}
    assert result.every_row_is_accounted_for


def test_what_was_inserted_while_its_row_was_deleted_is_taken_back_at_once(
    filled: Migration, proxy: FaultProxy
) -> None:
    """More of them than the brake lets pass: an application that deletes fast must not see its images come back."""
    gone = 20
    proxy.before(
        lambda: statement(filled, "DELETE FROM {t} WHERE id IN (SELECT id FROM {t} ORDER BY created_at LIMIT 20)"),
        NEW_ITEMS,
    )

    result = filled.migrate(proxy.url)

    assert result.outcomes == {"inserted": ROWS - gone, "vanished": gone}
    assert (result.items_deleted, filled.ledger) == (gone, {})
    assert len(filled.target.items()) == ROWS - gone
    assert result.every_row_is_accounted_for


def test_what_is_held_back_stays_so_until_its_number_is_confirmed(filled: Migration, proxy: FaultProxy) -> None:
    deleted_half(filled, proxy)
    waiting = held(filled)
    assert len(waiting) == ROWS // 2

    filled.retry_failures()
    assert held(filled) == waiting
    filled.migrate(run_id="run-2")
    assert held(filled) == waiting
    filled.retry_failures(confirm_deletes=len(waiting) - 1)
    assert held(filled) == waiting
    assert len(filled.target.items()) == ROWS

    result = filled.retry_failures(confirm_deletes=len(waiting))

    assert (result.outcomes, result.items_deleted) == ({"vanished": ROWS // 2}, ROWS // 2)
    assert filled.ledger == {}
    assert len(filled.target.items()) == ROWS // 2
    assert filled.verify().passed
    assert filled.census().passed


def test_the_next_pass_takes_it_up_where_the_number_is_confirmed(filled: Migration, proxy: FaultProxy) -> None:
    deleted_half(filled, proxy)

    result = filled.migrate(run_id="run-2", confirm_deletes=ROWS // 2)

    # They were not of this pass: its outcomes are of the rows that are left.
    assert (result.outcomes, result.items_deleted) == ({"identical": ROWS // 2}, ROWS // 2)
    assert result.every_row_is_accounted_for
    assert filled.ledger == {}
    assert filled.census().passed


def test_a_share_of_them_at_a_time_is_no_way_round(filled: Migration, proxy: FaultProxy) -> None:
    """So many come back that the rest alone would be few enough: it still waits."""
    deleted_half(filled, proxy)
    filled.source.insert(image(number) for number in range(10, ROWS, 2))

    filled.retry_failures()

    assert held(filled) == {row_id(number) for number in range(0, 10, 2)}
    assert len(filled.target.items()) == ROWS
    filled.retry_failures(confirm_deletes=5)
    assert filled.ledger == {}
    assert filled.census().passed


def test_few_more_rows_are_counted_together_with_those_held_back(filled: Migration, proxy: FaultProxy) -> None:
    deleted_half(filled, proxy)
    proxy.after(lambda: filled.source.delete(1), "BatchGetItem", when=holds(row_id(251)))

    filled.migrate(proxy.url, run_id="run-2", page_size=100)

    assert row_id(1) in held(filled)
    assert len(filled.target.items()) == ROWS


def test_items_that_the_application_deletes_after_their_rows_are_nobodys_to_confirm(
    filled: Migration, proxy: FaultProxy
) -> None:
    """Between two looks, as an application does that deletes many images, row by row and then item by item."""
    proxy.after(lambda: filled.source.delete(*range(50)), NEW_ITEMS, when=LATE_IN_THE_PASS)

    def delete_the_items() -> None:
        for number in range(50):
            filled.target.delete(number)

    proxy.after(delete_the_items, "BatchGetItem", when=holds(row_id(0)))

    result = filled.migrate(proxy.url, page_size=100)

    assert (result.outcomes, result.items_deleted) == ({"inserted": ROWS - 50, "vanished": 50}, 0)
    assert proxy.of("DeleteItem") == []
    assert filled.ledger == {}


def test_what_cannot_be_read_by_a_retry_waits_on(filled: Migration, proxy: FaultProxy) -> None:
    deleted_half(filled, proxy)
    waiting = held(filled)
    proxy.inject(reset_before, "BatchGetItem", FOREVER, holds(row_id(0)))

    filled.retry_failures(proxy.url)

    assert held(filled) == waiting


def test_rows_that_are_back_are_judged_as_rows(filled: Migration, proxy: FaultProxy) -> None:
    deleted_half(filled, proxy)
    filled.source.insert(image(number, width=7) for number in range(0, ROWS, 2))

    filled.retry_failures()

    assert filled.ledger == {}
    assert len(filled.target.items()) == ROWS
    assert filled.verify().passed


def test_an_item_that_the_application_took_over_is_not_deleted_by_any_number(
    filled: Migration, proxy: FaultProxy
) -> None:
    deleted_half(filled, proxy)
    theirs = item_of(0, version={"N": "2"})
    filled.target.put(theirs)
    filled.target.delete(2)

    filled.retry_failures(confirm_deletes=ROWS // 2)
    assert len(held(filled)) == ROWS // 2 - 2
    filled.retry_failures(confirm_deletes=ROWS // 2 - 2)

    assert filled.target.item(0) == theirs
    assert filled.ledger == {}


def test_few_rows_take_their_items_with_them_as_ever_and_each_delete_is_in_the_audit_record(
    filled: Migration, proxy: FaultProxy
) -> None:
    gone = [row_id(number) for number in range(10)]
    proxy.after(lambda: filled.source.delete(*range(10)), NEW_ITEMS, when=LATE_IN_THE_PASS)

    result = filled.migrate(proxy.url, page_size=100)

    assert (result.outcomes["vanished"], result.items_deleted, result.items_left) == (10, 10, 0)
    assert result.success_rate == pytest.approx(290 / 300)
    assert filled.ledger == {}
    lines = audit(filled)
    assert {(line["key"], line["action"], line["phase"]) for line in lines} == {
        (each, "delete", phase) for each in gone for phase in ("intent", "result")
    }
    assert all(line["before"] and line["after"] is None for line in lines if line["phase"] == "intent")
    assert all(line["result"] == "done" for line in lines if line["phase"] == "result")
    assert filled.verify().passed


def test_a_pass_without_a_delete_leaves_no_audit_record(filled: Migration) -> None:
    filled.migrate()

    assert filled.state.list("audit") == []


def test_one_row_more_than_a_hundredth_of_many_is_too_many(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(1_500))

    late = holds(row_id(1_450))
    proxy.after(lambda: migration.source.delete(*range(15)), "BatchWriteItem", when=late)
    assert migration.migrate(proxy.url, write_mode=WriteMode.BATCH, page_size=100).items_deleted == 15
    proxy.after(lambda: migration.source.delete(*range(15, 31)), "BatchGetItem", when=late)
    migration.migrate(proxy.url, write_mode=WriteMode.BATCH, page_size=100, run_id="run-2")
    assert len(held(migration)) == 16


def test_rows_moved_to_another_window_in_masses_are_not_deleted(filled: Migration, proxy: FaultProxy) -> None:
    shift = "UPDATE {t} SET created_at = created_at + interval '2 months'"
    proxy.after(lambda: statement(filled, shift), NEW_ITEMS, when=LATE_IN_THE_PASS)

    result = filled.migrate(proxy.url, page_size=100)

    assert proxy.of("DeleteItem") == []
    assert result.every_row_is_accounted_for
    assert filled.ledger == {}
    assert len(filled.target.items()) == result.total


def interrupted_in_the_middle(migration: Migration, proxy: FaultProxy, deletes: int, after: int) -> None:
    proxy.after(lambda: migration.source.delete(*range(deletes)), NEW_ITEMS, when=LATE_IN_THE_PASS)
    proxy.outage(when=lambda _call: len(proxy.of("DeleteItem")) > after)
    with pytest.raises(TargetUnavailable):
        migration.migrate(proxy.url, page_size=100)
    proxy.clear()


def test_a_run_that_resumes_in_the_middle_of_deletions_goes_on_with_them(filled: Migration, proxy: FaultProxy) -> None:
    interrupted_in_the_middle(filled, proxy, deletes=10, after=5)
    assert ROWS - 10 < len(filled.target.items()) < ROWS

    result = filled.migrate(run_id="run-2")

    assert (result.resumes, result.outcomes["vanished"], result.items_deleted) == (1, 10, 10)
    assert result.every_row_is_accounted_for
    assert filled.census().passed


def test_what_a_pass_has_deleted_before_it_was_interrupted_counts_against_what_it_may_delete_yet(
    filled: Migration, proxy: FaultProxy
) -> None:
    interrupted_in_the_middle(filled, proxy, deletes=10, after=5)
    filled.source.delete(*range(10, 15))
    standing = filled.target.items()

    filled.migrate(run_id="run-2")

    assert filled.target.items() == standing
    assert filled.migrate(run_id="run-3").outcomes == {"identical": ROWS - 15}
    filled.retry_failures(confirm_deletes=len(held(filled)))
    assert filled.census().passed


def test_a_delete_whose_retries_are_used_up_is_in_the_ledger_and_tried_again(
    filled: Migration, proxy: FaultProxy
) -> None:
    proxy.after(lambda: filled.source.delete(1), NEW_ITEMS, when=LATE_IN_THE_PASS)
    proxy.inject(reset_before, "DeleteItem", FOREVER)

    assert filled.migrate(proxy.url, page_size=100).outcomes["failed"] == 1
    proxy.clear()
    assert [line["result"] for line in audit(filled) if line["phase"] == "result"] == ["unknown: ConnectionFailed"]

    assert filled.retry_failures().outcomes == {"vanished": 1}
    assert filled.target.item(1) is None
