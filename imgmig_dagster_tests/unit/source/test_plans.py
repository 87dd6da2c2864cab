"""How PostgreSQL carries out what is asked often, or of large tables; and that its own functions are called."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from psycopg import sql

from imgmig_dagster.source.connection import Fetch
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.ranges import cut, ends, row_digests, sums
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import Window
from imgmig_dagster_tests.arrange import MARCH, Source, image, row_id
from imgmig_dagster_tests.conftest import NewSource
from imgmig_dagster_tests.images import IMAGE, PICTURE
from imgmig_dagster_tests.integration.test_standby import READINGS


class Recorded(ReadOnlyConnections):
    """Keeps what it is asked of the table, on snapshots too, to have it explained."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: list[tuple[sql.Composed, dict[str, Any]]] = []

    def fetch(self, query: Any, parameters: dict[str, Any] | None = None) -> list[Any]:
        return self._kept(super().fetch, query, parameters)

    @contextmanager
    def snapshot(self) -> Iterator[Fetch]:
        with super().snapshot() as fetch:
            yield partial(self._kept, fetch)

    def _kept(self, fetch: Fetch, query: Any, parameters: dict[str, Any] | None) -> list[Any]:
        if isinstance(query, sql.Composed):
            self.asked.append((query, parameters or {}))
        return fetch(query, parameters)


class Explained:
    """A reader whose statements on the table can be explained."""

    def __init__(self, source: Source, zone: str = "UTC") -> None:
        self._source = source
        self._connection = Recorded(source.url)
        self.reader = SourceReader(self._connection, source.schema, source.table, IMAGE, zone)
        assert self.reader.table

    def plans(self, *avoided: str) -> list[str]:
        """Those of the statements since the last question, without what the planner would not do to a large table."""
        owner = self._source.owner
        for way in ("seqscan", *avoided):
            owner.execute(f"SET enable_{way} = off")
        try:
            return [
                "\n".join(line for (line,) in owner.execute(sql.SQL("EXPLAIN ") + query, parameters).fetchall())
                for query, parameters in self._connection.asked
            ]
        finally:
            for way in ("seqscan", *avoided):
                owner.execute(f"RESET enable_{way}")
            self._connection.asked.clear()


@pytest.fixture
def explained(source: Source) -> Iterator[Explained]:
    source.insert(image(number) for number in range(2_000))
    source.execute("ANALYZE {t}")
    found = Explained(source)
    found.plans()
    with found.reader:
        yield found


def test_the_bounds_of_all_windows_are_parsed_once_and_not_for_every_row(explained: Explained) -> None:
    start = MARCH.start
    windows = [Window(str(n), start + timedelta(days=n), start + timedelta(days=n + 1)) for n in range(31)]

    assert sum(explained.reader.rows_per_window(windows).values()) == 2_000

    (plan,) = explained.plans()
    assert "InitPlan" in plan
    assert "Index Cond: " in plan


def test_rows_outside_are_counted_by_the_index_and_looked_for_only_if_there_are_any(
    source: Source, explained: Explained
) -> None:
    assert explained.reader.rows_outside(MARCH.start, MARCH.end).rows == 0
    (plan,) = explained.plans()
    assert plan.count("Index Cond: ") == 3, "before, behind, and NULL"
    assert "BitmapOr" in plan

    source.insert([image(9_000, created_at=None)])
    assert explained.reader.rows_outside(MARCH.start, MARCH.end).sample_ids == (row_id(9_000),)
    _count, sample = explained.plans()
    assert "images_pkey" not in sample, "that walks the whole table if only a few are outside"


@pytest.mark.parametrize(
    ("time_type", "zone"), [("timestamptz", "UTC"), ("timestamp", "UTC"), ("timestamp", "Asia/Tokyo")]
)
def test_pages_come_from_the_index_in_its_order(new_source: NewSource, time_type: str, zone: str) -> None:
    source = new_source(time_type=time_type)
    source.insert(image(number, created_at=f"2024-03-{number // 5 + 5:02} 10:00:00") for number in range(100))
    found = Explained(source, zone)
    found.plans()

    with found.reader:
        assert len(list(found.reader.pages(MARCH, None, 30))) == 4

    for plan in found.plans("sort", "bitmapscan"):
        assert "Sort" not in plan
        assert "Index Cond: " in plan


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_the_index_finds_the_rows_of_each_range(new_source: NewSource, zone: str) -> None:
    source = new_source(time_type="timestamptz" if zone == "UTC" else "timestamp")
    source.insert(image(86_400 + number) for number in range(2_000))
    source.execute("ANALYZE {t}")
    found = Explained(source, zone)
    with found.reader:
        ranges = cut(MARCH, [page.until for page in found.reader.pages(MARCH, None, 500)])
        found.plans()
        with found.reader.snapshot() as snapshot:
            assert [each.rows for each in sums(snapshot, ranges)] == [500, 500, 500, 500, 0]
            assert [len(rows) for rows in row_digests(snapshot, ranges)] == [500, 500, 500, 500, 0]
            assert list(ends(snapshot, [MARCH])) == [MARCH]

        for plan in found.plans("bitmapscan"):
            conditions = [line for line in plan.splitlines() if "Index Cond: " in line]
            assert len(conditions) == 4, "one for each kind of range"
            assert [line.count("ROW(") for line in conditions] == [0, 2, 2, 4]


def test_no_way_of_reading_calls_md5(source: Source) -> None:
    """A server in FIPS mode refuses it to everybody, this one to the role that reads."""
    source.insert(image(number) for number in range(20))
    functions = "FUNCTION pg_catalog.md5(text), pg_catalog.md5(bytea)"
    source.owner.execute(f"REVOKE EXECUTE ON {functions} FROM public")
    try:
        with source.reader() as reader:
            assert reader.table
            for reading in READINGS.values():
                reading(reader)
    finally:
        source.owner.execute(f"GRANT EXECUTE ON {functions} TO public")


def test_functions_that_a_search_path_puts_in_front_are_never_called(source: Source) -> None:
    source.insert(image(number) for number in range(20))
    with source.reader() as reader:
        digest, sample = reader.inventory(MARCH).digest, reader.sample(5, 1, PICTURE, [MARCH])
    schema = sql.Identifier(source.schema)
    for name, arguments, returned in [
        ("md5", "bytea", "text"),
        ("md5", "text", "text"),
        ("sha256", "bytea", "bytea"),
        ("encode", "bytea, text", "text"),
        ("substr", "bytea, int, int", "bytea"),
        ("record_send", "record", "bytea"),
        ("hashtextextended", "text, bigint", "bigint"),
    ]:
        source.owner.execute(
            sql.SQL(
                f"CREATE FUNCTION {{}}.{name}({arguments}) RETURNS {returned} LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE 'could not compute: disabled for FIPS'; END $$"
            ).format(schema)
        )
    other = replace(source, url=f"{source.url}?options=-csearch_path%3D{source.schema},pg_catalog")

    with other.reader() as reader:
        assert reader.inventory(MARCH).digest == digest
        assert reader.sample(5, 1, PICTURE, [MARCH]) == sample
