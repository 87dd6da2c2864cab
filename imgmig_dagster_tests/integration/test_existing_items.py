"""The one rule for an item that is already there, whichever way a run comes upon it."""

from collections.abc import Callable
from typing import Any

import pytest

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster_tests.arrange import Migration, image, item_of, row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy

# Row and item say 2024-05-06T07:08:09.123456Z and ….123Z unless a test says otherwise.
LATER = "2024-06-01T00:00:00.000Z"
FOREVER = 100_000

Finish = Callable[..., Any]


@pytest.fixture(
    params=[
        "a first pass",
        "a first pass in batch mode",
        "a later pass",
        "a later pass in batch mode",
        "a retry of the ledger",
    ]
)
def finish(request: pytest.FixtureRequest, migration: Migration) -> Finish:
    """The ways in which a run comes upon an item: one rule holds for all of them."""
    how = request.param

    def run(url: str | None = None) -> dict[str, int]:
        mode = WriteMode.BATCH if "batch" in how else WriteMode.CONDITIONAL
        if how.startswith("a first pass"):
            return dict(migration.migrate(url, write_mode=mode).outcomes)
        if how == "a retry of the ledger":
            migration.state.write(
                "2024-03-01/migration-failures.json",
                b'{"failures": [{"row_id": "%s", "field": null, "code": "c", "reason": "r", "permanent": false}]}'
                % row_id(1).encode(),
            )
            return dict(migration.retry_failures(url).outcomes)
        migration.state.write("2024-03-01/passes/2024-01-01T000000.000Z-earlier.json", b"{}")
        return dict(migration.migrate(url, write_mode=mode).outcomes)

    return run


def test_an_item_that_agrees_is_identical_and_not_written(
    migration: Migration, proxy: FaultProxy, finish: Finish
) -> None:
    standing = item_of(
        1,
        updatedAt={"S": "2024-05-06T07:08:10.000Z"},
        sizeBytes={"N": "1.001E3"},
        version={"N": "9"},
        tags={"SS": ["a"]},
    )
    migration.target.put(standing)
    before = migration.target.item(1)
    migration.source.insert([image(1)])

    assert finish(proxy.url) == {"identical": 1}

    assert migration.target.item(1) == before
    assert [call.operation for call in proxy.writes] in ([], ["PutItem"]), "at most the condition that fails"


PARTIAL: dict[str, Item] = {
    "without a version": {"updatedAt": {"S": LATER}, "originalFilename": {"S": "new.jpg"}, "tags": {"SS": ["cat"]}},
    "with a version": {
        "updatedAt": {"S": LATER},
        "originalFilename": {"S": "new.jpg"},
        "version": {"N": "1"},
        "description": {"S": "not ours"},
    },
    "a single attribute": {"favourite": {"BOOL": True}},
}


@pytest.mark.parametrize("name", PARTIAL)
def test_an_item_of_the_applications_update_is_completed_and_nothing_of_it_lost(
    migration: Migration, finish: Finish, name: str
) -> None:
    partial: Item = {"PK": item_of(1)["PK"], "SK": item_of(1)["SK"], **PARTIAL[name]}
    migration.target.put(partial)
    changed = "originalFilename" in partial
    migration.source.insert([image(1, original_filename="new.jpg", updated_at=LATER) if changed else image(1)])

    assert finish() == {"completed": 1}

    completed = migration.target.item(1)
    assert completed == {**item_of(1), **partial}
    assert migration.verify().passed


def test_null_columns_of_a_completed_row_need_no_attribute(migration: Migration, finish: Finish) -> None:
    migration.target.put(item_of(1, width=None, height=None, s3Key=None, version={"N": "3"}))
    migration.source.insert([image(1, width=None, height=None)])

    assert finish() == {"completed": 1}

    assert migration.target.item(1) == item_of(1, width=None, height=None, version={"N": "3"})


def test_a_partial_item_that_is_also_stale_is_completed_and_then_updated(migration: Migration, finish: Finish) -> None:
    migration.target.put(
        item_of(1, s3Key=None, originalFilename={"S": "old.jpg"}, version={"N": "4"}, tags={"SS": ["kept"]})
    )
    migration.source.insert([image(1, updated_at=LATER)])

    assert finish() == {"updated": 1}

    assert migration.target.item(1) == item_of(1, updatedAt={"S": LATER}, version={"N": "5"}, tags={"SS": ["kept"]})


@pytest.mark.parametrize(
    ("item_updated_at", "row_updated_at"),
    [
        ("2024-05-06T07:08:09.123Z", LATER),  # older
        ("2024-05-06T07:08:09.123Z", "2024-05-06T07:08:09.123456Z"),  # as old
        ("2024-05-06T07:08:10.122Z", "2024-05-06T07:08:09.123Z"),  # later by 999 ms
        ("2024-05-06T07:08:08.000Z", "2024-05-06T07:08:09.123Z"),
    ],
)
def test_a_stale_item_gets_the_rows_values_and_the_next_version_and_keeps_the_rest(
    migration: Migration, finish: Finish, item_updated_at: str, row_updated_at: str
) -> None:
    migration.target.put(
        item_of(
            1,
            updatedAt={"S": item_updated_at},
            originalFilename={"S": "old.jpg"},
            version={"N": "41"},
            tags={"SS": ["kept"]},
        )
    )
    migration.source.insert([image(1, updated_at=row_updated_at, width=None)])

    assert finish() == {"updated": 1}

    assert migration.target.item(1) == item_of(
        1,
        updatedAt={"S": row_updated_at[:23].rstrip("Z") + "Z"},
        version={"N": "42"},
        tags={"SS": ["kept"]},
        width={"NULL": True},
    )
    assert migration.verify().passed


@pytest.mark.parametrize(("version", "following"), [(None, "1"), ({"S": "x"}, "1"), ({"N": "0"}, "1")])
def test_a_stale_item_without_a_usable_version_gets_the_first_one(
    migration: Migration, finish: Finish, version: dict[str, str] | None, following: str
) -> None:
    migration.target.put(item_of(1, originalFilename={"S": "old.jpg"}, version=version))
    migration.source.insert([image(1)])

    assert finish() == {"updated": 1}

    assert migration.target.item(1) == item_of(1, version={"N": following})


@pytest.mark.parametrize("updated_at", [None, {"NULL": True}, {"S": "yesterday"}, {"N": "1714979289"}])
def test_an_item_that_does_not_say_when_it_was_updated_is_not_newer(
    migration: Migration, finish: Finish, updated_at: dict[str, Any] | None
) -> None:
    migration.target.put(item_of(1, updatedAt=updated_at, originalFilename={"S": "old.jpg"}))
    migration.source.insert([image(1)])

    assert finish() == {"updated": 1}
    assert migration.target.item(1) == item_of(1, version={"N": "2"})


@pytest.mark.parametrize("moment", ["2024-05-06T07:08:10.123Z", LATER])
def test_an_item_newer_by_a_second_or_more_is_left_alone(
    migration: Migration, proxy: FaultProxy, finish: Finish, moment: str
) -> None:
    standing = item_of(1, updatedAt={"S": moment}, originalFilename={"S": "newer.jpg"})
    migration.target.put(standing)
    migration.source.insert([image(1, updated_at="2024-05-06T07:08:09.123Z")])

    assert finish(proxy.url) == {"newer_in_target": 1}

    assert migration.target.item(1) == standing
    assert proxy.of("UpdateItem", "DeleteItem", "BatchWriteItem") == []
    assert not migration.verify().passed, "what was left alone is still a difference"
