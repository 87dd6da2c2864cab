"""Rows that break migrations, and what must happen: row by row of the table, on PostgreSQL and ministack.

Where a row's outcome does not depend on a change in between, it is tried in both write modes.
"""

from dataclasses import replace

import pytest

from imgmig_dagster import remedies
from imgmig_dagster.defs.checks import no_rows_outside_partitions
from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.sizes import item_bytes
from imgmig_dagster.reporting.model import build_report
from imgmig_dagster.reporting.render import publish, render_spot_check
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.state import names
from imgmig_dagster.state.records import save_lines, save_record
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.verification.changed_windows import changed_partitions
from imgmig_dagster.verification.pictures import ShownPictures
from imgmig_dagster_tests.arrange import MARCH, Migration, Target, image, item_of, month, row_id
from imgmig_dagster_tests.conformance.outcomes import (
    NEIGHBOURS,
    Changes,
    assert_migrated,
    assert_rejected,
    by_key,
    written,
)
from imgmig_dagster_tests.conformance.servers import MINISTACK
from imgmig_dagster_tests.conftest import NewSource
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, FaultProxy, holds
from imgmig_dagster_tests.unit.reporting.stage_state import FACTS

pytestmark = pytest.mark.parametrize("server", [MINISTACK], ids=["ministack"], indirect=True)

NULL = {"NULL": True}
LATER = "2024-06-01T00:00:00.000Z"
FEBRUARY, APRIL = month(2024, 2), month(2024, 4)


@pytest.fixture(params=list(WriteMode))
def write_mode(request: pytest.FixtureRequest) -> WriteMode:
    mode: WriteMode = request.param
    return mode


def test_row_1_nulls_are_written_as_null_and_equal_an_absent_attribute_and_nothing_else(
    migration: Migration, write_mode: WriteMode
) -> None:
    columns = {"thumbnail_s3_key": None, "width": None, "height": None}
    attributes = {"thumbnailS3Key": NULL, "width": NULL, "height": NULL}
    assert_migrated(migration, write_mode, {1: (columns, attributes)})

    migration.target.put(item_of(1, **dict.fromkeys(attributes)))
    assert migration.verify().passed
    assert migration.census().passed
    migration.target.put(item_of(1, thumbnailS3Key={"S": ""}, width={"N": "0"}, height={"N": "0"}))
    assert migration.verify().by_attribute == dict.fromkeys(attributes, 1)


def test_row_2_ten_thousand_rows_of_one_instant_are_migrated_exactly_once_each(
    migration: Migration, proxy: FaultProxy
) -> None:
    numbers = range(10_000)
    migration.source.insert(image(number, created_at="2024-03-15T09:26:53.589793Z") for number in numbers)

    # Pages of 300: the edges are among the rows of the instant, and the last page is short.
    result = migration.migrate(proxy.url, write_mode=WriteMode.BATCH, page_size=300)

    assert result.outcomes == {"written": 10_000}
    assert sorted(identifier for call in proxy.writes for identifier in call.ids) == [row_id(n) for n in numbers]
    assert migration.verify().passed
    assert migration.census().passed


def test_row_3_an_updated_at_that_no_item_can_hold_is_rejected(migration: Migration, write_mode: WriteMode) -> None:
    moments = ("infinity", "-infinity", "0044-03-15 00:00:00+00 BC", "12026-01-01 00:00:00+00")
    columns = {number: {"updated_at": moment} for number, moment in enumerate(moments)}

    assert_rejected(migration, write_mode, columns, "updated_at", "timestamp_out_of_range")


def test_row_3a_a_created_at_that_no_partition_can_hold_is_outside_with_its_id(
    migration: Migration, write_mode: WriteMode
) -> None:
    moments = (None, "infinity", "-infinity", "0044-03-15 00:00:00+00 BC", "12026-01-01 00:00:00+00")
    assert_migrated(migration, write_mode, {})
    migration.source.insert(image(number, created_at=moment) for number, moment in enumerate(moments))

    result = migration.migrate(write_mode=write_mode, page_size=2, run_id="again")

    assert result.outcomes == {"identical": len(NEIGHBOURS)}
    assert result.every_row_is_accounted_for
    census = migration.census()
    assert (census.rows_outside, census.missing) == (len(moments), len(moments))
    assert census.source_rows == len(moments) + len(NEIGHBOURS)
    assert set(census.rows_outside_sample) == {row_id(number) for number in range(len(moments))}
    assert not no_rows_outside_partitions(census).passed


def test_row_4_microseconds_are_cut_to_milliseconds(migration: Migration, write_mode: WriteMode) -> None:
    moment, cut = "2024-03-10T00:00:00.123456Z", {"S": "2024-03-10T00:00:00.123Z"}

    assert_migrated(migration, write_mode, {1: ({"created_at": moment}, {"createdAt": cut})})


def test_row_5_a_minutes_last_microsecond_is_cut_and_not_rounded(migration: Migration, write_mode: WriteMode) -> None:
    moment, cut = "2024-03-10T00:00:59.999999Z", {"S": "2024-03-10T00:00:59.999Z"}

    assert_migrated(migration, write_mode, {1: ({"created_at": moment}, {"createdAt": cut})})


def test_row_6_a_partitions_first_microsecond_and_the_one_before_lie_in_their_own_partitions(
    migration: Migration, write_mode: WriteMode
) -> None:
    february = Migration(migration.source, migration.target, migration.state, FEBRUARY)
    migration.source.insert(
        [image(1, created_at="2024-02-29T23:59:59.999999Z"), image(2, created_at="2024-03-01T00:00:00.000000Z")]
    )

    assert written(migration.migrate(write_mode=write_mode)) == 1
    assert migration.target.items() == by_key([item_of(2, createdAt={"S": "2024-03-01T00:00:00.000Z"})])
    assert written(february.migrate(write_mode=write_mode)) == 1
    assert migration.target.item(1) == item_of(1, createdAt={"S": "2024-02-29T23:59:59.999Z"})
    assert february.verify().passed
    assert migration.verify().passed


def test_row_7_rows_before_the_first_and_after_the_last_partition_are_named_with_the_setting(
    migration: Migration, write_mode: WriteMode
) -> None:
    assert_migrated(migration, write_mode, {})
    migration.source.insert([image(1, created_at="2024-02-29T23:59:59.999999Z"), image(2, created_at="2024-04-01Z")])

    check = no_rows_outside_partitions(migration.census())

    assert not check.passed
    assert check.metadata["rows_outside"].value == 2
    assert row_id(1) in str(check.metadata["outside_ids"])
    assert row_id(2) in str(check.metadata["outside_ids"])
    assert check.check_name
    assert "`partitions` in the declaration" in remedies.CHECKS[check.check_name].words


def test_row_8_an_updated_at_before_created_at_is_migrated(migration: Migration, write_mode: WriteMode) -> None:
    moment, stored = "1969-12-31T23:59:59.999999Z", {"S": "1969-12-31T23:59:59.999Z"}

    assert_migrated(migration, write_mode, {1: ({"updated_at": moment}, {"updatedAt": stored})})


def test_row_8a_a_row_that_moves_to_another_window_between_two_passes_is_no_silent_pass(migration: Migration) -> None:
    april = Migration(migration.source, migration.target, migration.state, APRIL)
    migration.source.insert(image(number) for number in (1, 2))
    for each in (migration, april):
        each.migrate()
        save_record(migration.state, names.evidence(each.window.partition), each.verify())

    migration.source.update(2, created_at="2024-04-10T00:00:00Z", updated_at=image(2)["updated_at"])

    with migration.source.reader() as reader:
        partitions = [MARCH.partition, APRIL.partition]
        assert changed_partitions(reader, migration.state, [MARCH, APRIL], migration.today(reader)) == partitions
    assert april.verify().by_attribute == {"createdAt": 1}
    census = migration.census()
    assert (census.differing, census.rows_outside, census.passed) == (1, 1, False)
    assert april.migrate(run_id="again").outcomes == {"updated": 1}
    assert migration.verify().passed
    assert april.verify().passed


def test_row_9_large_sizes_are_kept_digit_for_digit(migration: Migration, write_mode: WriteMode) -> None:
    sizes = (0, 2**53 + 1, 2**63 - 1)
    changes: Changes = {
        number: ({"size_bytes": size}, {"sizeBytes": {"N": str(size)}}) for number, size in enumerate(sizes)
    }

    assert_migrated(migration, write_mode, changes)


def texts(*names: str) -> Changes:
    return {n: ({"original_filename": name}, {"originalFilename": {"S": name}}) for n, name in enumerate(names)}


def test_row_10_an_empty_name_is_an_empty_string(migration: Migration, write_mode: WriteMode) -> None:
    assert_migrated(migration, write_mode, texts(""))


HOSTILE = ("<img src=x onerror=alert(1)>", '=HYPERLINK("x")', "a\r\nb\rc\nd", "../../etc/passwd")


def test_row_11_hostile_names_are_kept_byte_for_byte(migration: Migration, write_mode: WriteMode) -> None:
    assert_migrated(migration, write_mode, texts(*HOSTILE))


def test_row_11_hostile_names_are_inert_in_every_report(migration: Migration) -> None:
    state = migration.state
    migration.source.insert(image(n, original_filename=name) for n, name in enumerate(HOSTILE))
    migration.migrate()
    for number, name in enumerate(HOSTILE):
        migration.target.put(item_of(number, originalFilename={"S": f"{name}{name}"}))
    verified = migration.verify()
    save_record(state, names.evidence(MARCH.partition), verified)
    save_lines(state, names.mismatches(MARCH.partition), verified.mismatches)
    page = render_spot_check(migration.spot_check(len(HOSTILE), seed=1), "dev", ShownPictures())
    with migration.source.reader() as reader:
        rows, digest = len(HOSTILE), reader.inventory(MARCH).digest
    facts = replace(FACTS, identity=None)  # evidence of any table counts
    report = build_report(state, "dev", [MARCH], {MARCH.partition: rows}, facts, {MARCH.partition: digest})

    # The summary lists keys and fields and no value; the spot check shows values, as text.
    assert len(report.mismatches) == len(HOSTILE)
    for name in publish(state, report):
        found = state.read(f"reports/{name}")
        assert found is not None
        assert not [text for text in ("alert(1)", "HYPERLINK", "etc/passwd") if text.encode() in found.content]
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_row_12_names_that_look_alike_stay_distinct(migration: Migration, write_mode: WriteMode) -> None:
    nfc, nfd, emoji, reversed_ = "caf\u00e9", "cafe\u0301", "\U0001f468\u200d\U0001f469", "\u202egpj.exe"

    assert_migrated(migration, write_mode, texts(nfc, nfd, emoji, reversed_))


def test_row_13_a_name_of_500000_bytes_is_rejected(migration: Migration, write_mode: WriteMode) -> None:
    assert_rejected(migration, write_mode, {1: {"original_filename": "x" * 500_000}}, None, "item_too_large")


def name_of_item(number: int, size: int) -> str:
    """The name that makes an image's item exactly so many bytes, two of them to a character where it can be."""
    left = size - item_bytes(item_of(number, originalFilename={"S": ""}))
    return "é" * (left // 2) + "x" * (left % 2)


def test_row_14_an_item_of_exactly_409600_bytes_is_migrated(migration: Migration, write_mode: WriteMode) -> None:
    name = name_of_item(1, 409_600)

    assert_migrated(migration, write_mode, {1: ({"original_filename": name}, {"originalFilename": {"S": name}})})


def test_row_14_an_item_of_409601_bytes_is_rejected(migration: Migration, write_mode: WriteMode) -> None:
    columns = {1: {"original_filename": name_of_item(1, 409_601)}}

    assert_rejected(migration, write_mode, columns, None, "item_too_large")


def test_row_15_an_id_of_3000_bytes_is_rejected(
    new_source: NewSource, target: Target, state: LocalStateStore, write_mode: WriteMode
) -> None:
    migration = Migration(new_source(id_type="text"), target, state)

    assert_rejected(migration, write_mode, {1: {"id": "y" * 3_000}}, "id", "key_too_long")


IDS: dict[str, list[str]] = {
    "uuid": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "bigint": ["-1", "0", "7", "9223372036854775807"],
    "text": ["a", "A", "ä b", "IMAGE#a", "1", "x" * 2_042],
}


@pytest.mark.parametrize("id_type", IDS)
def test_row_16_ids_of_every_type_are_migrated(
    new_source: NewSource, target: Target, state: LocalStateStore, write_mode: WriteMode, id_type: str
) -> None:
    source = new_source(id_type=id_type)
    source.insert(image(number, id=identifier) for number, identifier in enumerate(IDS[id_type]))
    migration = Migration(source, target, state)

    assert written(migration.migrate(write_mode=write_mode, page_size=2)) == len(IDS[id_type])

    assert target.items().keys() == {f"IMAGE#{identifier}" for identifier in IDS[id_type]}
    assert migration.verify().passed
    assert migration.census().passed


def test_row_17_timestamps_without_a_zone_are_read_as_utc(
    new_source: NewSource, target: Target, state: LocalStateStore, write_mode: WriteMode
) -> None:
    source = new_source(time_type="timestamp")
    source.insert([image(1, created_at="2024-03-31 23:59:59.999999", updated_at="2024-06-01 12:00:00.5")])
    migration = Migration(source, target, state)

    assert written(migration.migrate(write_mode=write_mode)) == 1

    assert target.item(1) == item_of(
        1, createdAt={"S": "2024-03-31T23:59:59.999Z"}, updatedAt={"S": "2024-06-01T12:00:00.500Z"}
    )
    assert migration.verify().passed


def test_row_18_a_row_updated_between_read_and_write_wins_in_the_end(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(3))
    proxy.before(lambda: migration.source.update(1, original_filename="newer.jpg"), NEW_ITEMS, when=holds(row_id(1)))

    assert migration.migrate(proxy.url).outcomes == {"inserted": 2, "updated": 1}

    newer = item_of(1, originalFilename={"S": "newer.jpg"}, updatedAt={"S": LATER}, version={"N": "2"})
    assert migration.target.item(1) == newer
    assert migration.verify().passed


def test_row_18_in_batch_mode_verification_says_so(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(3))
    proxy.before(lambda: migration.source.update(1, original_filename="newer.jpg"), "BatchWriteItem")

    migration.migrate(proxy.url, write_mode=WriteMode.BATCH)

    assert migration.verify().by_attribute == {"originalFilename": 1, "updatedAt": 1}
    assert migration.migrate(write_mode=WriteMode.BATCH, run_id="again").outcomes == {"identical": 2, "updated": 1}
    assert migration.verify().passed


def test_row_19_a_row_deleted_between_read_and_write_leaves_no_item(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(3))
    proxy.before(lambda: migration.source.delete(1), NEW_ITEMS, when=holds(row_id(1)))

    result = migration.migrate(proxy.url)

    assert result.outcomes == {"inserted": 2, "vanished": 1}
    assert migration.target.item(1) is None
    assert migration.verify().passed
    assert migration.census().passed


def test_row_19_in_batch_mode_no_item_is_left_behind_either(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(3))
    proxy.before(lambda: migration.source.delete(1), "BatchWriteItem")

    result = migration.migrate(proxy.url, write_mode=WriteMode.BATCH)

    assert result.outcomes == {"written": 2, "vanished": 1}
    assert migration.target.item(1) is None
    assert migration.census().passed


def test_row_20_an_item_of_the_applications_update_is_completed_and_nothing_of_it_lost(migration: Migration) -> None:
    standing: Item = {"updatedAt": {"S": LATER}, "originalFilename": {"S": "new.jpg"}, "tags": {"SS": ["cat"]}}
    migration.source.insert([image(1, original_filename="new.jpg", updated_at=LATER), image(2)])
    migration.target.put({"PK": item_of(1)["PK"], "SK": item_of(1)["SK"], **standing})

    assert migration.migrate().outcomes == {"completed": 1, "inserted": 1}

    assert migration.target.item(1) == item_of(1, **standing)
    assert migration.verify().passed
    assert migration.census().passed


def test_row_21_a_source_without_a_unique_index_on_id_is_refused_before_any_write(
    new_source: NewSource, target: Target, state: LocalStateStore, proxy: FaultProxy, write_mode: WriteMode
) -> None:
    source = new_source(id_constraint="NOT NULL")
    source.insert([image(1), image(1)])

    with pytest.raises(SourceRefused, match="no unique index on id"):
        Migration(source, target, state).migrate(proxy.url, write_mode=write_mode)

    assert proxy.writes == []
    assert target.items() == {}


def test_row_22_other_entities_are_left_alone_and_never_counted(migration: Migration, write_mode: WriteMode) -> None:
    others: list[Item] = [
        {"PK": {"S": "USER#1"}, "SK": {"S": "METADATA"}, "userId": {"S": "1"}},
        {"PK": {"S": f"IMAGE#{row_id(1)}"}, "SK": {"S": "TAG#cat"}},
        {"PK": {"S": f"IMAGE#{row_id(99)}"}, "SK": {"S": "COMMENT#1"}, "version": {"N": "4"}},
    ]
    for item in others:
        migration.target.put(item)
    migration.source.insert(image(number) for number in range(3))

    for outcome in ("written" if write_mode is WriteMode.BATCH else "inserted", "identical"):
        assert migration.migrate(write_mode=write_mode).outcomes == {outcome: 3}

    for item in others:
        key = {"PK": item["PK"], "SK": item["SK"]}
        assert migration.target.client.get_item(TableName=migration.target.name, Key=key)["Item"] == item
    assert migration.verify().verdicts["match"] == 3
    census = migration.census()
    assert (census.source_rows, census.target_items, census.other_entities, census.passed) == (3, 3, 3, True)
