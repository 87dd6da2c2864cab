"""Every row of the window is accounted for, id by id, also if it was committed, deleted or moved behind the cursor."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from imgmig_dagster.errors import CheckpointRefused, TargetUnavailable
from imgmig_dagster.mapping.spec import KeyAttribute
from imgmig_dagster.mapping.template import Template
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import Migration, Source, Target, image, item_of, row_id
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, FaultProxy, holds
from imgmig_dagster_tests.goods import make_goods

WRITES = {WriteMode.BATCH: ("BatchWriteItem",), WriteMode.CONDITIONAL: NEW_ITEMS}
# The 250th row is on the third page of a hundred: what comes before it is behind the cursor by then.
LATE_IN_THE_PASS = holds(row_id(250))


def when_late_in_the_pass(proxy: FaultProxy, write_mode: WriteMode, change: Callable[[], object]) -> None:
    proxy.after(change, WRITES[write_mode], when=LATE_IN_THE_PASS)


@pytest.mark.parametrize("write_mode", list(WriteMode))
def test_a_row_committed_late_behind_the_cursor_is_taken_up(
    migration: Migration, proxy: FaultProxy, write_mode: WriteMode
) -> None:
    migration.source.insert(image(number) for number in range(1, 300))
    when_late_in_the_pass(proxy, write_mode, lambda: migration.source.insert([image(0)]))

    result = migration.migrate(proxy.url, write_mode=write_mode, page_size=100)

    assert (result.total, result.rows_in_window, result.late, result.left_window) == (300, 300, 1, 0)
    assert result.every_row_is_accounted_for
    assert migration.target.item(0) == item_of(0)
    assert migration.verify().passed


@pytest.mark.parametrize("write_mode", list(WriteMode))
def test_a_row_deleted_behind_the_cursor_is_told_from_one_that_came_late(
    migration: Migration, proxy: FaultProxy, write_mode: WriteMode
) -> None:
    """The counts alone would agree."""
    migration.source.insert(image(number) for number in range(1, 300))

    def change() -> None:
        migration.source.insert([image(0)])
        migration.source.delete(1)

    when_late_in_the_pass(proxy, write_mode, change)

    result = migration.migrate(proxy.url, write_mode=write_mode, page_size=100)

    assert (result.rows_in_window, result.late, result.left_window) == (299, 1, 1)
    assert result.outcomes["vanished"] == 1
    assert result.every_row_is_accounted_for
    # Nobody wrote the item since the migration did, and its row is gone.
    assert migration.target.item(1) is None
    assert migration.verify().passed
    assert migration.census().passed


def test_an_item_that_the_application_wrote_since_outlives_its_row(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(300))
    theirs = item_of(1, version={"N": "2"})

    def change() -> None:
        migration.target.put(theirs)
        migration.source.delete(1)

    when_late_in_the_pass(proxy, WriteMode.CONDITIONAL, change)

    result = migration.migrate(proxy.url, page_size=100)

    assert (result.outcomes["vanished"], result.left_window) == (1, 1)
    assert migration.target.item(1) == theirs


def test_a_row_that_moves_to_another_window_is_brought_up_to_date(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(300))
    moved = "2024-05-01T00:00:00Z"
    when_late_in_the_pass(proxy, WriteMode.CONDITIONAL, lambda: migration.source.update(1, created_at=moved))

    result = migration.migrate(proxy.url, page_size=100)

    assert (result.rows_in_window, result.left_window, result.late) == (299, 1, 0)
    assert result.every_row_is_accounted_for
    item = migration.target.item(1)
    assert item is not None
    assert item["createdAt"] == {"S": "2024-05-01T00:00:00.000Z"}


@pytest.mark.parametrize("seconds", ["2024-03-01T00:00:00Z", "2024-03-31T00:00:00Z"], ids=["back", "forward"])
def test_a_row_that_moves_within_the_window_is_counted_once(
    migration: Migration, proxy: FaultProxy, seconds: str
) -> None:
    """To behind the cursor it was seen once; to ahead of it, twice."""
    migration.source.insert(image(number) for number in range(1, 300))
    when_late_in_the_pass(proxy, WriteMode.CONDITIONAL, lambda: migration.source.update(120, created_at=seconds))

    result = migration.migrate(proxy.url, page_size=100)

    assert result.rows_in_window == 299
    assert result.every_row_is_accounted_for


def test_what_the_first_run_saw_is_known_to_the_run_that_resumes(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(1, 1_300))
    proxy.outage(lambda _call: len(proxy.writes) > 47)
    with pytest.raises(TargetUnavailable):
        migration.migrate(proxy.url, write_mode=WriteMode.BATCH, page_size=100)
    proxy.clear()
    migration.source.insert([image(0)])
    migration.source.delete(5)

    result = migration.migrate(write_mode=WriteMode.BATCH, page_size=100, run_id="run-2")

    assert result.resumes == 1
    assert (result.rows_in_window, result.late, result.left_window) == (1_299, 1, 1)
    assert result.every_row_is_accounted_for
    assert migration.target.items().keys() == {f"IMAGE#{row_id(n)}" for n in range(1_300) if n != 5}
    assert migration.state.list("2024-03-01/seen") == []


def test_a_checkpoint_whose_rows_are_no_longer_known_is_refused(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(1_300))
    proxy.outage(lambda _call: len(proxy.writes) > 47)
    with pytest.raises(TargetUnavailable):
        migration.migrate(proxy.url, write_mode=WriteMode.BATCH, page_size=100)
    [name] = migration.state.list("2024-03-01/seen")
    migration.state.delete(name)

    with pytest.raises(CheckpointRefused, match=r"seen/run-1-000000\.json.*--start-over"):
        migration.migrate(write_mode=WriteMode.BATCH, run_id="run-2")
    assert migration.migrate(write_mode=WriteMode.BATCH, run_id="run-3", start_over=True).every_row_is_accounted_for


@pytest.mark.parametrize("write_mode", list(WriteMode))
def test_an_outage_leaves_no_row_in_the_ledger_and_the_next_run_resumes(
    migration: Migration, proxy: FaultProxy, write_mode: WriteMode
) -> None:
    migration.source.insert(image(number) for number in range(300))
    proxy.outage(lambda _call: len(proxy.writes) > 5)

    with pytest.raises(TargetUnavailable, match="does not answer"):
        migration.migrate(proxy.url, write_mode=write_mode, page_size=100)

    assert migration.ledger == {}
    assert migration.checkpoint is not None
    proxy.clear()
    assert migration.migrate(proxy.url, write_mode=write_mode, run_id="run-2").every_row_is_accounted_for
    assert len(migration.target.items()) == 300


def test_a_value_at_fault_is_in_the_ledger_only_where_asked_for(migration: Migration) -> None:
    migration.source.insert([image(1, updated_at="infinity"), image(2)])

    migration.migrate()
    assert migration.ledger[row_id(1)].value is None
    migration.migrate(keep_values=True, run_id="run-2")
    assert migration.ledger[row_id(1)].value == str(2**63 - 1)


def test_the_value_at_fault_is_that_of_its_column_and_never_a_sensitive_one(
    source: Source, target: Target, state: LocalStateStore, services: Services
) -> None:
    goods = make_goods(services.owner, source)
    goods.execute("GRANT SELECT ON {t} TO imgmig_reader")
    more = [("no#rth", 2, 1, 0), ("north", 3, "NaN", 0), ("north", 4, 1, "NaN")]
    for tenant, number, price, ratio in more:
        goods.execute(
            "INSERT INTO {t} (tenant, no, title, price, ratio, placed) VALUES (%s, %s, 'x', %s, %s, '2024-03-02Z')",
            *(tenant, number, price, ratio),
        )
    fields = tuple(replace(each, sensitive=each.column == "ratio") for each in goods.mapping.fields)
    key = (KeyAttribute("PK", Template("{tenant}#{no}")), KeyAttribute("SK", Template("GOOD")))
    mapping = replace(goods.mapping, fields=fields, primary_key=key)
    migration = Migration(replace(goods, mapping=mapping), replace(target, mapping=mapping), state)

    assert migration.migrate(keep_values=True).every_row_is_accounted_for

    found = {row_id: (each.code, each.value) for row_id, each in migration.ledger.items()}
    assert found == {
        "no#rth|2": ("key_ambiguous", "no#rth|2"),
        "north|3": ("not_a_number", "NaN"),
        "north|4": ("not_a_number", "***"),
    }
