"""The reader against a real PostgreSQL: every row exactly once, with any content."""

import random
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from imgmig_dagster.mapping.rows import INFINITY, MINUS_INFINITY, Row
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import Window
from imgmig_dagster_tests.arrange import COLUMNS, MARCH, Source, image, month, row_id, us
from imgmig_dagster_tests.conftest import NewSource
from imgmig_dagster_tests.images import PICTURE


@pytest.fixture
def reader(source: Source) -> Iterator[SourceReader]:
    with source.reader() as reader:
        yield reader


def read_ids(reader: SourceReader, window: Window, size: int) -> list[str]:
    return [row.id for page in reader.pages(window, None, size) for row in page]


def value(row: Row, column: str) -> Any:
    return row[COLUMNS.index(column)]


def microseconds(source: Source, literal: str) -> int:
    """What PostgreSQL says of an instant that Python's datetime cannot hold."""
    ((found,),) = source.execute("SELECT (extract(epoch FROM %s::timestamptz) * 1000000)::bigint", literal)
    return int(found)


def test_ten_thousand_rows_of_one_instant_are_read_once_each_across_page_edges(
    source: Source, reader: SourceReader
) -> None:
    numbers = list(range(10_050))
    random.Random(7).shuffle(numbers)
    tied = "2024-03-15T09:26:53.589793Z"
    source.insert(
        image(number, created_at=tied if number < 10_000 else "2024-03-15T09:26:53.589794Z") for number in numbers
    )

    pages = list(reader.pages(MARCH, None, 1_000))

    assert [len(page) for page in pages] == [1_000] * 10 + [50]
    assert [row[0] for page in pages for row in page] == [row_id(number) for number in range(10_050)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_microseconds_are_not_lost_in_the_cursor(source: Source, reader: SourceReader, size: int) -> None:
    """A cursor cut to milliseconds would read the same page for ever, or pass rows over."""
    source.insert(image(n, created_at=f"2024-03-01T00:00:00.{123_000 + n:06}Z") for n in range(30))

    assert read_ids(reader, MARCH, size) == [row_id(number) for number in range(30)]


def test_reading_goes_on_behind_a_cursor(source: Source, reader: SourceReader) -> None:
    source.insert(image(n, created_at="2024-03-01T00:00:00.5Z") for n in range(10))
    first = next(reader.pages(MARCH, None, 4))

    rest = [row[0] for page in reader.pages(MARCH, first.until, 4) for row in page]

    assert first.until == (us("2024-03-01 00:00:00.5"), row_id(3))
    assert rest == [row_id(number) for number in range(4, 10)]


def test_a_window_without_rows_has_no_pages(reader: SourceReader) -> None:
    assert list(reader.pages(MARCH, None, 10)) == []
    assert reader.count(MARCH) == 0


def test_a_partitions_first_microsecond_is_its_own_and_the_one_before_the_partitions_before(
    source: Source, reader: SourceReader
) -> None:
    source.insert(
        [
            image(1, created_at="2024-02-29T23:59:59.999999Z"),
            image(2, created_at="2024-03-01T00:00:00.000000Z"),
            image(3, created_at="2024-03-31T23:59:59.999999Z"),
            image(4, created_at="2024-04-01T00:00:00.000000Z"),
        ]
    )

    assert read_ids(reader, month(2024, 2), 10) == [row_id(1)]
    assert read_ids(reader, MARCH, 10) == [row_id(2), row_id(3)]
    assert read_ids(reader, month(2024, 4), 10) == [row_id(4)]
    windows = [month(2024, number) for number in (1, 2, 3, 4)]
    assert reader.rows_per_window(windows) == {"2024-02-01": 1, "2024-03-01": 2, "2024-04-01": 1}
    assert reader.count(MARCH) == 2
    assert reader.count_all() == 4


def test_counting_rows_of_no_windows_counts_none(reader: SourceReader) -> None:
    assert reader.rows_per_window([]) == {}


IDS = {
    "uuid": [f"{number:08x}-0000-4000-8000-000000000000" for number in range(25)],
    "bigint": [str(number) for number in (-5, 0, 1, 2, 9, 10, 11, 100, *range(1000, 1016), 2**62)],
    "integer": [str(number) for number in range(90, 115)],
    "text": sorted(["a", "B", "ä", "Z", "a'b", 'q"uote', "100", "20", " ", "%s", "{}", "\\x", *"cdefghijklmno"]),
    "varchar(50)": [f"img-{number:03}" for number in range(25)],
    "char(8)": [f"img-{number:04}" for number in range(25)],
}


@pytest.mark.parametrize("id_type", IDS)
def test_ids_of_every_accepted_type_are_paged_looked_up_and_censused(new_source: NewSource, id_type: str) -> None:
    source = new_source(id_type=id_type)
    expected = IDS[id_type]
    # All at one instant: the order, and where the next page starts, hang on the id alone.
    source.insert(image(0, id=identifier, created_at="2024-03-01T00:00:00Z") for identifier in expected)

    with source.reader() as reader:
        assert read_ids(reader, MARCH, 4) == expected
        assert [row[0] for page in reader.all_rows(4) for row in page] == expected
        assert list(reader.rows(expected[3:6])) == expected[3:6]
        assert {each.row[0] for each in reader.sample(5, 1, PICTURE, [MARCH])} < set(expected)


@pytest.mark.parametrize(
    ("id_type", "strangers"),
    [
        ("uuid", ["not-a-uuid", "", "00000000-0000-4000-8000-00000000000", "{}", "\0"]),
        ("uuid", ["00000001-0000-4000-8000-00000000000A".upper()]),
        ("bigint", ["abc", "", "1.5", "9" * 30, "+1", "01", " 1", "\0"]),
        ("integer", [str(2**31)]),
        ("text", ["\0", "nobody"]),
    ],
)
def test_a_lookup_passes_over_ids_that_the_column_cannot_hold(
    new_source: NewSource, id_type: str, strangers: list[str]
) -> None:
    """A key in the target may hold anything behind its prefix, and is looked up by the census."""
    source = new_source(id_type=id_type)
    ours = IDS[id_type][2]
    source.insert([image(0, id=ours)])

    with source.reader() as reader:
        assert list(reader.rows([*strangers, ours])) == [ours]
        assert reader.rows(strangers) == {}


def test_timestamps_without_a_zone_are_read_as_utc(new_source: NewSource) -> None:
    source = new_source(time_type="timestamp")
    source.execute("SET TimeZone = 'America/St_Johns'")
    try:
        source.insert(
            [
                image(1, created_at="2024-03-01 00:00:00", updated_at="2024-03-10 02:30:00.123456"),
                image(2, created_at="2024-02-29 23:59:59.999999", updated_at="infinity"),
                image(3, created_at="2024-03-31 23:59:59.999999", updated_at="0044-03-15 BC"),
            ]
        )
    finally:
        source.execute("SET TimeZone = 'UTC'")

    with source.reader() as reader:
        (page,) = reader.pages(MARCH, None, 10)
        assert [row[0] for row in page] == [row_id(1), row_id(3)]
        assert value(page[0], "created_at") == us("2024-03-01 00:00:00")
        assert value(page[0], "updated_at") == us("2024-03-10 02:30:00.123456")
        assert reader.rows_per_window([month(2024, 2), MARCH]) == {"2024-02-01": 1, "2024-03-01": 2}
        assert reader.rows_outside(MARCH.start, MARCH.end).sample_ids == (row_id(2),)


def test_updated_at_that_no_datetime_can_hold_is_read_with_its_neighbours(source: Source, reader: SourceReader) -> None:
    source.insert(
        [
            image(1),
            image(2, updated_at="infinity"),
            image(3, updated_at="-infinity"),
            image(4, updated_at="0044-03-15 00:00:00+00 BC"),
            image(5, updated_at="12026-12-15 00:00:00+00"),
            image(6, updated_at=None),
            image(7),
        ]
    )

    (page,) = reader.pages(MARCH, None, 10)

    read = [(row[0], value(row, "updated_at")) for row in page]
    assert read == [
        (row_id(1), us("2024-05-06 07:08:09.123456")),
        (row_id(2), INFINITY),
        (row_id(3), MINUS_INFINITY),
        (row_id(4), microseconds(source, "0044-03-15 00:00:00+00 BC")),
        (row_id(5), microseconds(source, "12026-12-15 00:00:00+00")),
        (row_id(6), None),
        (row_id(7), us("2024-05-06 07:08:09.123456")),
    ]


def test_rows_that_no_partition_holds_are_counted_and_sampled(source: Source, reader: SourceReader) -> None:
    source.insert(
        [
            image(1),
            image(2, created_at=None),
            image(3, created_at="infinity"),
            image(4, created_at="-infinity"),
            image(5, created_at="0044-03-15 00:00:00+00 BC"),
            image(6, created_at="12026-01-01 00:00:00+00"),
            image(7, created_at="2024-02-29T23:59:59.999999Z"),
            image(8, created_at="2024-04-01T00:00:00Z"),
        ]
    )

    outside = reader.rows_outside(MARCH.start, MARCH.end)

    assert outside.rows == 7
    assert outside.sample_ids == tuple(row_id(number) for number in range(2, 9))
    assert read_ids(reader, MARCH, 10) == [row_id(1)]
    assert [row[0] for page in reader.all_rows(3) for row in page] == [row_id(number) for number in range(1, 9)]


def test_the_sample_of_rows_outside_is_bounded_and_their_count_is_not(source: Source, reader: SourceReader) -> None:
    source.insert(image(number, created_at=None) for number in range(50))

    outside = reader.rows_outside(MARCH.start, MARCH.end)

    assert outside.rows == 50
    assert outside.sample_ids == tuple(row_id(number) for number in range(20))


def test_values_are_read_byte_for_byte(source: Source, reader: SourceReader) -> None:
    names = [
        "",
        "  x ",
        "caf\u00e9",
        "cafe\u0301",
        "\U0001f468\u200d\U0001f469",
        "a\r\nb\tc\\d",
        "invoice\u202egpj.exe",
    ]
    source.insert(image(number, original_filename=name) for number, name in enumerate(names))

    (page,) = reader.pages(MARCH, None, 100)

    assert [value(row, "original_filename") for row in page] == names


def test_integers_are_read_digit_for_digit_and_nulls_as_none(source: Source, reader: SourceReader) -> None:
    source.insert(
        [
            image(1, size_bytes=0, width=None, height=None, thumbnail_s3_key=None),
            image(2, size_bytes=2**53 + 1),
            image(3, size_bytes=2**63 - 1),
        ]
    )

    (page,) = reader.pages(MARCH, None, 100)

    assert [value(row, "size_bytes") for row in page] == [0, 2**53 + 1, 2**63 - 1]
    assert [value(page[0], column) for column in ("width", "height", "thumbnail_s3_key")] == [None, None, None]


def test_rows_are_looked_up_as_they_are_now(source: Source, reader: SourceReader) -> None:
    source.insert(image(number) for number in range(4))
    source.delete(2)
    source.update(3, original_filename="new")

    found = reader.rows([row_id(number) for number in range(1, 5)])

    assert list(found) == [row_id(1), row_id(3)]
    assert value(found[row_id(3)], "original_filename") == "new"
    assert reader.rows([]) == {}


def test_the_same_seed_draws_the_same_sample_and_another_one_another(source: Source, reader: SourceReader) -> None:
    source.insert(image(number) for number in range(200))

    first = reader.sample(20, 1, PICTURE, [MARCH])

    assert first == reader.sample(20, 1, PICTURE, [MARCH])
    assert len({each.row[0] for each in first}) == 20
    assert first != reader.sample(20, 2, PICTURE, [MARCH])
    assert len(reader.sample(500, 1, PICTURE, [MARCH])) == 200


@pytest.mark.parametrize(
    ("schema", "table"),
    [
        ('we"ird Schema', 'Im"ages; DROP TABLE x'),
        ("UPPER", "Images"),
        ("select", "from"),
        ("{curly}", "100%s"),
        ("ünï.code", "a.b"),
        ("%(size)s", "{table}"),
    ],
)
def test_odd_names_of_schema_and_table_are_quoted(new_source: NewSource, schema: str, table: str) -> None:
    source = new_source(schema=schema, table=table)
    source.insert(image(number) for number in range(5))

    with closing(source.reader()) as reader:
        assert read_ids(reader, MARCH, 2) == [row_id(number) for number in range(5)]
        assert reader.inventory(MARCH).rows == 5
        assert len(list(reader.all_rows(2))) == 3
        assert len(reader.rows([row_id(1), row_id(2)])) == 2
        assert reader.rows_per_window([MARCH]) == {"2024-03-01": 5}
        assert reader.rows_outside(MARCH.start, MARCH.end).rows == 0
        assert len(reader.sample(3, 0, PICTURE, [MARCH])) == 3
