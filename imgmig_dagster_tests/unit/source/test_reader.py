"""The reader against a real PostgreSQL: every row exactly once, with any content."""

from contextlib import closing
from typing import Any

import pytest

from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import Window
from imgmig_dagster_tests.arrange import COLUMNS, MARCH, Source, image, row_id, us
from imgmig_dagster_tests.conftest import NewSource
from imgmig_dagster_tests.images import PICTURE


def read_ids(reader: SourceReader, window: Window, size: int) -> list[str]:
    return [row.id for page in reader.pages(window, None, size) for row in page]


def value(row: Row, column: str) -> Any:
    return row[COLUMNS.index(column)]


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


def test_counting_rows_of_no_windows_counts_none(reader: SourceReader) -> None:
    assert reader.rows_per_window([]) == {}


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
