"""Rows and items that change between a run's reads and its writes, where the application writes to both sides."""

from imgmig_dagster_tests.arrange import Migration, image, item_of, row_id
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, FaultProxy, holds, reset_after

# Row and item say 2024-05-06T07:08:09.123456Z and ….123Z unless a test says otherwise.
LATER = "2024-06-01T00:00:00.000Z"
FOREVER = 100_000


def test_a_vanished_rows_item_is_deleted_when_its_reply_was_lost_too(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert([image(1)])
    proxy.inject(reset_after, NEW_ITEMS)
    proxy.before(lambda: migration.source.delete(1), NEW_ITEMS)

    assert migration.migrate(proxy.url).outcomes == {"vanished": 1}

    assert migration.target.items() == {}


def test_a_vanished_rows_item_that_the_application_wrote_since_stays_and_is_an_orphan(
    migration: Migration, proxy: FaultProxy
) -> None:
    migration.source.insert([image(1), image(2)])
    theirs = item_of(1, version={"N": "2"}, tags={"SS": ["a"]})

    def change() -> None:
        migration.target.put(theirs)
        migration.source.delete(1)

    proxy.after(change, NEW_ITEMS, when=holds(row_id(1)))

    assert migration.migrate(proxy.url).outcomes == {"inserted": 1, "vanished": 1}

    assert migration.target.item(1) == theirs
    census = migration.census()
    assert (census.orphans, census.samples["orphans"]) == (1, [row_id(1)])


def test_an_item_written_between_the_look_and_the_delete_stays(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert([image(1)])
    theirs = item_of(1, version={"N": "2"})
    proxy.before(lambda: migration.source.delete(1), NEW_ITEMS)
    proxy.before(lambda: migration.target.put(theirs), "DeleteItem")

    assert migration.migrate(proxy.url).outcomes == {"vanished": 1}
    assert migration.target.item(1) == theirs


def test_the_application_writing_both_sides_between_look_and_update_is_left_as_it_is(
    migration: Migration, proxy: FaultProxy
) -> None:
    migration.source.insert([image(1)])
    migration.target.put(item_of(1, originalFilename={"S": "old.jpg"}))
    theirs = item_of(1, originalFilename={"S": "theirs.jpg"}, updatedAt={"S": LATER}, version={"N": "2"})

    def application_updates() -> None:
        migration.source.update(1, original_filename="theirs.jpg")
        migration.target.put(theirs)

    proxy.before(application_updates, "UpdateItem")

    assert migration.migrate(proxy.url).outcomes == {"identical": 1}
    assert migration.target.item(1) == theirs


def test_a_partial_item_that_grows_between_look_and_completion_loses_nothing(
    migration: Migration, proxy: FaultProxy
) -> None:
    keys = {"PK": item_of(1)["PK"], "SK": item_of(1)["SK"]}
    migration.source.insert([image(1)])
    migration.target.put({**keys, "updatedAt": {"S": "2024-05-06T07:08:09.123Z"}})

    def application_updates() -> None:
        migration.source.update(1, original_filename="theirs.jpg")
        migration.target.put({**keys, "updatedAt": {"S": LATER}, "originalFilename": {"S": "theirs.jpg"}})

    proxy.before(application_updates, "UpdateItem")

    assert migration.migrate(proxy.url).outcomes == {"completed": 1}
    assert migration.target.item(1) == item_of(1, originalFilename={"S": "theirs.jpg"}, updatedAt={"S": LATER})


def test_an_item_deleted_between_look_and_update_is_inserted_again(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert([image(1)])
    migration.target.put(item_of(1, originalFilename={"S": "old.jpg"}, version={"N": "7"}))
    proxy.before(lambda: migration.target.delete(1), "UpdateItem")

    assert migration.migrate(proxy.url).outcomes == {"inserted": 1}
    assert migration.target.item(1) == item_of(1)


def test_an_update_whose_reply_was_lost_is_recognised_as_done(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert([image(1)])
    migration.target.put(item_of(1, originalFilename={"S": "old.jpg"}))
    proxy.inject(reset_after, "UpdateItem")

    result = migration.migrate(proxy.url)

    assert result.total == 1
    assert result.failed == 0
    assert migration.target.item(1) == item_of(1, version={"N": "2"})


def test_a_key_that_changes_under_every_look_fails_and_a_retry_resolves_it(
    migration: Migration, proxy: FaultProxy
) -> None:
    migration.source.insert([image(1), image(2)])
    migration.target.put(item_of(1, originalFilename={"S": "old.jpg"}))
    versions = iter(range(2, 1_000))
    proxy.before(
        lambda: migration.target.put(item_of(1, originalFilename={"S": "old.jpg"}, version={"N": str(next(versions))})),
        "UpdateItem",
        times=FOREVER,
    )

    result = migration.migrate(proxy.url)

    assert result.outcomes == {"inserted": 1, "failed": 1}
    assert len(proxy.of("UpdateItem")) == 5
    assert (migration.ledger[row_id(1)].code, migration.ledger[row_id(1)].permanent) == ("NeverSettled", False)
    assert migration.retry_failures().outcomes == {"updated": 1}
    assert migration.ledger == {}
    assert migration.verify().passed


def test_a_row_that_becomes_unmappable_between_read_and_write_is_rejected(
    migration: Migration, proxy: FaultProxy
) -> None:
    migration.source.insert([image(1), image(2)])
    proxy.before(lambda: migration.source.update(1, mime_type=None), NEW_ITEMS, when=holds(row_id(1)))

    assert migration.migrate(proxy.url).outcomes == {"inserted": 1, "rejected": 1}
    assert migration.ledger[row_id(1)].field == "mime_type"
    assert not migration.verify().passed
