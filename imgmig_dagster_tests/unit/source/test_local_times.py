"""Timestamps without a zone: read in the declared one, each row once, also where the clocks change."""

from datetime import datetime, timedelta, timezone

import pytest

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import Window
from imgmig_dagster_tests.arrange import COLUMNS, MARCH, Source, image, month, row_id, us
from imgmig_dagster_tests.conftest import NewSource
from imgmig_dagster_tests.images import IMAGE


def reader_in(source: Source, zone: str) -> SourceReader:
    return SourceReader(ReadOnlyConnections(source.url), source.schema, source.table, IMAGE, zone)


def read(reader: SourceReader, window: Window, size: int) -> list[tuple[object, object]]:
    place = COLUMNS.index("created_at")
    return [(row[0], row[place]) for page in reader.pages(window, None, size) for row in page]


def hours(first: datetime, count: int) -> list[Window]:
    starts = [first + timedelta(hours=number) for number in range(count)]
    return [Window(start.isoformat(), start, start + timedelta(hours=1)) for start in starts]


def test_an_instant_is_that_of_the_declared_zone(new_source: NewSource) -> None:
    source = new_source(time_type="timestamp")
    source.insert(
        [
            image(1, created_at="2024-03-01 00:30:00", updated_at="2024-07-01 12:00:00.5"),
            image(2, created_at="2024-02-29 23:59:59.999999", updated_at="infinity"),
            image(3, created_at="2024-03-31 23:59:59.999999", updated_at=None),
        ]
    )

    with reader_in(source, "America/New_York") as reader:
        assert read(reader, MARCH, 10) == [
            (row_id(2), us("2024-03-01 04:59:59.999999")),
            (row_id(1), us("2024-03-01 05:30:00")),
        ]
        assert reader.rows_per_window([month(2024, 2), MARCH, month(2024, 4)]) == {"2024-03-01": 2, "2024-04-01": 1}
        assert reader.inventory(MARCH).watermark == datetime(2024, 7, 1, 16, 0, 0, 500_000, tzinfo=timezone.utc)
        assert reader.rows_outside(MARCH.start, MARCH.end).sample_ids == (row_id(3),)
        assert next(iter(reader.rows([row_id(1)]).values()))[3] == us("2024-07-01 16:00:00.5")


# The clocks of New York were put on from 2 to 3 on 10 March, and back from 2 to 1 on 3 November 2024. Those of Apia
# left out a day.
SWITCHES = {
    "America/New_York": ["2024-03-10 01:00", "2024-11-03 00:00"],
    "Europe/Berlin": ["2024-03-31 01:00", "2024-10-27 01:00"],
    "Pacific/Apia": ["2011-12-29 20:00", "2011-12-30 10:00", "2011-12-31 00:00"],
    "Australia/Lord_Howe": ["2024-04-07 01:00", "2024-10-06 01:30"],
}


@pytest.mark.parametrize("zone", SWITCHES)
@pytest.mark.parametrize("size", [1, 3, 50])
def test_every_row_is_in_one_window_once_where_the_clocks_are_put_on_or_back(
    new_source: NewSource, zone: str, size: int
) -> None:
    source = new_source(time_type="timestamp")
    number = 0
    for first in SWITCHES[zone]:
        for minutes in range(0, 300, 10):
            moment = datetime.fromisoformat(first) + timedelta(minutes=minutes)
            source.insert([image(number, created_at=moment.isoformat(" "))])
            number += 1
    converted = source.execute(
        "SELECT id::text, (extract(epoch FROM created_at AT TIME ZONE %s) * 1000000)::bigint FROM {t}", zone
    )
    expected = {row_id: int(instant) for row_id, instant in converted}
    begin = datetime.fromtimestamp(min(expected.values()) // 1_000_000, tz=timezone.utc).replace(minute=0, second=0)
    last = datetime.fromtimestamp(max(expected.values()) // 1_000_000, tz=timezone.utc)

    with reader_in(source, zone) as reader:
        found: dict[object, object] = {}
        whole = Window("all", begin, last + timedelta(hours=1))
        everything = read(reader, whole, size)
        assert len(everything) == len(expected)
        assert dict(everything) == expected
        some = [each for each in hours(begin, 40) if each.start <= last]
        for window in some:
            rows = read(reader, window, size)
            assert all(window.start <= _moment(instant) < window.end for _id, instant in rows)
            assert not found.keys() & dict(rows).keys()
            found |= dict(rows)
            assert len(rows) == reader.count(window) == reader.rows_per_window([window]).get(window.partition, 0)
            outside = reader.rows_outside(window.start, window.end)
            assert outside.rows == len(expected) - len(rows)
            with reader.window_ids(window) as ids_between:
                assert sorted(ids_between(None, None)) == sorted(str(each) for each, _instant in rows)
        assert found == {each: instant for each, instant in expected.items() if _moment(instant) < some[-1].end}


def _moment(instant: object) -> datetime:
    return datetime.fromtimestamp(int(str(instant)) / 1_000_000, tz=timezone.utc)


def test_the_ids_of_a_window_are_cut_where_the_pages_were(new_source: NewSource) -> None:
    """2:30 was on no clock, and is the instant of 3:30: a position of the instant alone would pass rows over."""
    source = new_source(time_type="timestamp")
    times = ["02:30", "02:45", "03:00", "03:30", "03:40"]
    source.insert(image(number, created_at=f"2024-03-10 {clock}") for number, clock in enumerate(times))

    with reader_in(source, "America/New_York") as reader:
        pages = list(reader.pages(MARCH, None, 1))
        assert [page[0][0] for page in pages] == [row_id(number) for number in range(5)]
        with reader.window_ids(MARCH) as ids_between:
            for number, page in enumerate(pages):
                assert ids_between(None, page.until) == [row_id(each) for each in range(number + 1)]
                assert len(ids_between(page.until, None)) == 4 - number


def test_the_zone_is_of_the_sources_identity_where_it_is_used(new_source: NewSource) -> None:
    def identity(source: Source, zone: str) -> str:
        with reader_in(source, zone) as reader:
            return reader.table.identity

    local, zoned = new_source(time_type="timestamp"), new_source()

    assert identity(local, "UTC").endswith(".images")
    assert identity(local, "Europe/Berlin") == identity(local, "UTC") + ", in Europe/Berlin"
    assert identity(zoned, "Europe/Berlin") == identity(zoned, "UTC")


@pytest.mark.parametrize("zone", ["Europe/Belrin", "EST+5", "", "x'; DROP TABLE y"])
def test_a_zone_that_no_database_of_zones_has_is_refused(new_source: NewSource, zone: str) -> None:
    reader = reader_in(new_source(time_type="timestamp"), zone)
    with reader, pytest.raises(SourceRefused, match="PostgreSQL knows no time zone") as caught:
        reader.count(MARCH)

    assert "time_zone in [source]" in str(caught.value)
