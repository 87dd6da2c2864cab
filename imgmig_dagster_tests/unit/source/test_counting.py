"""Every row of the table counted by one statement, on one snapshot, and which ids they are."""

from typing import Any

import psycopg
import pytest

from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.counting import (
    OUTSIDE,
    RowsAndIds,
    RowsOutside,
    TableCounts,
    id_hash,
    present,
    table_counts,
)
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster_tests.arrange import MARCH, Source, image, month, row_id
from imgmig_dagster_tests.conftest import NewSource
from imgmig_dagster_tests.images import IMAGE

WINDOWS = [month(2024, 2), MARCH, month(2024, 4)]


def counts_of(reader: SourceReader) -> TableCounts:
    with reader.snapshot() as snapshot:
        return table_counts(snapshot, WINDOWS)


def of(*ids: str) -> RowsAndIds:
    return RowsAndIds(len(ids), str(sum(map(id_hash, ids))))


def test_the_hash_of_an_id_is_that_of_its_utf_8_text() -> None:
    assert id_hash("") == -2039914840885289964  # e3b0c44298fc1c14
    assert id_hash("a") == -3848465438864589366  # ca978112ca1bbdca
    assert id_hash("é") == 0x4A99557E4033C353
    assert id_hash(str(b"\xff")) == -6336552689897750320 != id_hash("\\xff")  # a8100ae6aa1940d0


def test_every_row_is_in_one_group_at_any_time(source: Source, reader: SourceReader) -> None:
    times = [
        "2024-01-31T23:59:59.999999Z",
        "-infinity",
        "2024-02-01T00:00:00Z",
        "2024-02-29T23:59:59.999999Z",
        "2024-04-30T23:59:59.999999Z",
        "2024-05-01T00:00:00Z",
        "infinity",
        None,
        "0044-03-15 BC",
        "12026-01-01Z",
    ]
    source.insert(image(number, created_at=time) for number, time in enumerate(times))

    counts = counts_of(reader)

    outside = [0, 1, 5, 6, 7, 8, 9]
    assert counts.groups == {
        "2024-02-01": of(row_id(2), row_id(3)),
        "2024-04-01": of(row_id(4)),
        OUTSIDE: of(*map(row_id, outside)),
    }
    assert counts.outside == RowsOutside(7, tuple(map(row_id, outside)))
    assert (counts.rows, counts.rows_per_window) == (10, {"2024-02-01": 2, "2024-04-01": 1})


def test_an_empty_table_has_no_groups(reader: SourceReader) -> None:
    assert counts_of(reader) == TableCounts({}, RowsOutside(0, ()))


def test_what_is_asked_of_a_snapshot_is_of_its_moment(source: Source, reader: SourceReader) -> None:
    source.insert(image(number) for number in range(5))

    with reader.snapshot() as snapshot:
        before = table_counts(snapshot, WINDOWS)
        source.delete(1)
        source.insert([image(7), image(8, created_at=None)])
        assert table_counts(snapshot, WINDOWS) == before
        assert present(snapshot, [row_id(1), row_id(7)]) == {row_id(1)}

    assert before.groups == {"2024-03-01": of(*map(row_id, range(5)))}
    assert counts_of(reader).groups == {"2024-03-01": of(*map(row_id, [0, 2, 3, 4, 7])), OUTSIDE: of(row_id(8))}


@pytest.mark.parametrize("id_type", ["uuid", "text", "char(40)", "varchar(40)"])
def test_ids_of_every_type_are_hashed_as_they_are_read(new_source: NewSource, id_type: str) -> None:
    source = new_source(id_type=id_type)
    source.insert(image(number) for number in range(3))

    with source.reader() as reader:
        ids = [row.id for page in reader.pages(MARCH, None, 10) for row in page]
        assert counts_of(reader).groups == {"2024-03-01": of(*ids)}
        with reader.snapshot() as snapshot:
            assert present(snapshot, [*ids, "not-an-id", row_id(77)]) == set(ids)


def test_numbers_as_ids_are_hashed_as_their_digits(new_source: NewSource) -> None:
    source = new_source(id_type="bigint")
    source.insert(image(1, id=number) for number in (-7, 0, 12))

    with source.reader() as reader:
        assert counts_of(reader).groups == {"2024-03-01": of("-7", "0", "12")}


def test_bytes_that_are_no_text_are_hashed_as_bytes(
    new_source: NewSource, ascii_owner: psycopg.Connection[Any]
) -> None:
    source = new_source(id_type="text", owner=ascii_owner)
    source.insert([image(1, id="é"), image(2, id="plain")])
    source.execute(r"UPDATE {t} SET id = convert_from('img-\377'::bytea, 'SQL_ASCII') WHERE size_bytes = 1002")

    with source.reader() as reader:
        ids = ["é", str(b"img-\xff")]
        assert counts_of(reader).groups == {"2024-03-01": of(*ids)}
        with reader.snapshot() as snapshot:
            assert present(snapshot, ids) == set(ids)


def test_local_times_are_counted_where_their_instants_lie(new_source: NewSource) -> None:
    source = new_source(time_type="timestamp")
    source.insert([image(1, created_at="2024-02-29 23:30:00"), image(2, created_at="2024-04-30 23:30:00")])
    reader = SourceReader(ReadOnlyConnections(source.url), source.schema, source.table, IMAGE, "America/New_York")

    with reader:
        assert counts_of(reader).groups == {"2024-03-01": of(row_id(1)), OUTSIDE: of(row_id(2))}
