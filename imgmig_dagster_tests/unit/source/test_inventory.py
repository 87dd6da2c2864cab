"""A window's inventory: one statement, every mapped value in its digest."""

from datetime import datetime, timedelta, timezone

import pytest

from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import Window, to_microseconds
from imgmig_dagster_tests.arrange import COLUMNS, MARCH, Source, image, month, us


def test_it_counts_rows_bytes_and_nulls_of_the_window_alone(source: Source, reader: SourceReader) -> None:
    source.insert(
        [
            image(1, width=None, height=None, thumbnail_s3_key=None),
            image(2, width=None),
            image(3, created_at="2024-04-01T00:00:00Z", width=None),
        ]
    )

    inventory = reader.inventory(MARCH)

    assert inventory.rows == 2
    assert inventory.nulls == {"width": 2, "height": 1, "thumbnail_s3_key": 1}
    assert 300 < inventory.row_bytes < 800
    assert abs(datetime.now(tz=timezone.utc) - inventory.read_at) < timedelta(minutes=1)


def test_an_empty_window_has_an_empty_inventory(reader: SourceReader) -> None:
    inventory = reader.inventory(MARCH)

    assert (inventory.rows, inventory.row_bytes, inventory.digest, inventory.watermark) == (0, 0, "0", None)
    assert inventory.nulls == {}


@pytest.mark.parametrize(
    ("column", "changed"),
    [
        ("user_id", "0b6a2f6e-5a0c-4b7e-9a59-8f1d5a2f7c12"),
        ("created_at", "2024-03-01T00:00:01.001Z"),
        ("updated_at", "2024-05-06T07:08:09.124Z"),
        ("original_filename", "IMG_1.JPG"),
        ("s3_key", ""),
        ("s3_bucket", "images-prod "),
        ("thumbnail_s3_key", None),
        ("mime_type", "image/jpg"),
        ("size_bytes", 1002),
        ("width", None),
        ("height", 481),
    ],
)
def test_its_digest_changes_with_any_column(source: Source, reader: SourceReader, column: str, changed: object) -> None:
    source.insert([image(1), image(2)])
    before = reader.inventory(MARCH)

    source.update(1, **{"updated_at": image(1)["updated_at"], column: changed})

    after = reader.inventory(MARCH)
    assert after.rows == before.rows
    assert after.digest != before.digest


def test_swapped_values_do_not_cancel_out_in_its_digest(source: Source, reader: SourceReader) -> None:
    source.insert([image(1, s3_key="a"), image(2, s3_key="b")])
    before = reader.inventory(MARCH).digest

    same = image(1)["updated_at"]
    source.update(1, s3_key="b", updated_at=same)
    source.update(2, s3_key="a", updated_at=same)

    assert reader.inventory(MARCH).digest != before


def test_digests_of_windows_add_up(source: Source, reader: SourceReader) -> None:
    source.insert(image(n, created_at=f"2024-{n % 3 + 2:02}-15T00:00:00Z") for n in range(60))
    windows = [month(2024, number) for number in (2, 3, 4)]

    whole = reader.inventory(Window("all", windows[0].start, windows[-1].end))

    assert int(whole.digest) == sum(int(reader.inventory(window).digest) for window in windows) != 0
    assert whole.rows == 60


def test_the_digests_of_some_windows_leave_out_the_rows_between_and_around_them(
    source: Source, reader: SourceReader
) -> None:
    source.insert(image(n, created_at=f"2024-{n % 6 + 1:02}-15T00:00:00Z") for n in range(60))
    source.insert([image(60, created_at="infinity"), image(61, created_at=None)])
    windows = [month(2024, number) for number in (2, 3, 4, 5)]
    chosen = [windows[0], windows[3]]

    assert reader.digests(chosen) == {each.partition: reader.inventory(each).digest for each in chosen}
    assert reader.digests([]) == {}
    assert reader.digests([month(2023, 1), MARCH]) == {"2023-01-01": "0", "2024-03-01": reader.inventory(MARCH).digest}


def test_its_watermark_is_the_latest_finite_update(source: Source, reader: SourceReader) -> None:
    source.insert(
        [
            image(1, updated_at="infinity"),
            image(2, updated_at="2024-05-06T07:08:09.123456Z"),
            image(3, updated_at="-infinity"),
            image(4, updated_at=None),
        ]
    )

    watermark = reader.inventory(MARCH).watermark

    assert watermark is not None
    assert to_microseconds(watermark) == us("2024-05-06 07:08:09.123456")
    assert reader.extent(MARCH) == (4, watermark)


def test_a_watermark_that_no_datetime_can_hold_is_left_out(source: Source, reader: SourceReader) -> None:
    source.insert([image(1, updated_at="12026-01-01 00:00:00+00")])

    assert reader.inventory(MARCH).watermark is None
    assert reader.extent(MARCH) == (1, None)


@pytest.mark.parametrize("name", ["content", "t", "row", "imgmig", "count"])
def test_a_column_that_the_mapping_does_not_know_changes_nothing(
    source: Source, reader: SourceReader, name: str
) -> None:
    source.insert([image(1)])
    before = reader.inventory(MARCH)

    source.execute(f"ALTER TABLE {{t}} ADD COLUMN \"{name}\" text DEFAULT 'x'")

    after = reader.inventory(MARCH)
    assert (after.rows, after.digest, after.row_bytes) == (before.rows, before.digest, before.row_bytes)
    assert len(next(reader.pages(MARCH, None, 10))[0]) == len(COLUMNS)
