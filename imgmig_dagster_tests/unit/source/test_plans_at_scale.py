"""By its plan, no statement of the reader sorts the table on disk, or parses the windows' bounds for every row.

Whether something spills is a matter of the table's size in ``work_mem``: a small table, with little of that, tells what
a large one does with PostgreSQL's default.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from psycopg import sql

from imgmig_dagster.mapping.spec import Order
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import UNDATED_WINDOW, Window
from imgmig_dagster_tests.arrange import MARCH, Source, image
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.integration.test_standby import readings
from imgmig_dagster_tests.unit.source.test_plans import Recorded

ROWS = 20_000
WORK_MEM = "64kB"
"""For so many rows as little as the default of 4 MB is for 1,280,000."""


def adjoining(number: int, each: timedelta, start: datetime = MARCH.start) -> list[Window]:
    return [Window(str(n), start + n * each, start + (n + 1) * each) for n in range(number)]


BUCKETS = adjoining(2, timedelta(seconds=1), datetime(1970, 1, 1, tzinfo=timezone.utc))
OF_TIME = Order("created_at")
TABLES = {
    "by time": (OF_TIME, [MARCH]),
    "with undated rows": (replace(OF_TIME, has_undated=True), [MARCH, UNDATED_WINDOW]),
    "by buckets": (Order("", buckets=len(BUCKETS)), BUCKETS),
}
# What a sample does is held where it is drawn; repeated ids are looked for only where no unique index forbids them.
NAMES = sorted(readings([MARCH], ROWS).keys() - {"sample", "repeated_ids"})


@pytest.fixture
def large(source: Source) -> Source:
    """Half of its rows have no time."""
    source.insert([image(0)])
    others = ", ".join(name for name in image(0) if name not in ("id", "created_at"))
    source.execute(
        f"INSERT INTO {{t}} (id, created_at, {others}) SELECT pg_catalog.gen_random_uuid(),"  # noqa: S608
        f" CASE WHEN n % 2 = 0 THEN created_at + n * interval '1 minute' END, {others}"
        f" FROM {{t}}, generate_series(1, {ROWS}) n"
    )
    bucket = "(pg_catalog.hash_record_extended(ROW(id), 0) & 9223372036854775807) % 2"
    source.execute(f"CREATE INDEX ON {{t}} (({bucket}), id)")
    source.execute("VACUUM ANALYZE {t}")
    return source


def plans(source: Source, order: Order, windows: Sequence[Window], names: Sequence[str], how: str) -> Iterator[Any]:
    """The name of each way of reading, with the plan of each of its statements on the table."""
    connection, of_windows = Recorded(source.url), readings(windows, ROWS)
    mapping = replace(IMAGE, order=order)
    with SourceReader(connection, source.schema, source.table, mapping, "UTC") as reader:
        assert reader.table
        for name in names:
            connection.asked.clear()
            of_windows[name](reader)
            for query, parameters in connection.asked:
                if isinstance(query, sql.Composed):
                    yield name, plan_of(source, how, query, parameters)


def plan_of(source: Source, how: str, query: sql.Composed, parameters: dict[str, Any]) -> dict[str, Any]:
    source.owner.execute(f"SET work_mem = '{WORK_MEM}'")
    try:
        (((found,),),) = source.owner.execute(sql.SQL(how) + query, parameters).fetchall()
    finally:
        source.owner.execute("RESET work_mem")
    return dict(found["Plan"])


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


@pytest.mark.parametrize("table", TABLES)
def test_nothing_is_sorted_or_hashed_on_disk(large: Source, table: str) -> None:
    how = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) "
    found = list(plans(large, *TABLES[table], NAMES, how))

    assert {name for name, _plan in found} >= {
        "counts",
        "snapshot",
        "recount",
        "inventory",
        "digests",
        "rows_per_window",
    }
    assert {name for name, plan in found if plan["Temp Written Blocks"]} == set()
    assert {name for name, plan in found for node in nodes(plan) if node.get("Sort Space Type") == "Disk"} == set()


@pytest.mark.parametrize("name", ["counts", "digests", "rows_per_window", "snapshot"])
def test_thousands_of_windows_cost_what_a_day_of_hours_does(large: Source, name: str) -> None:
    """Bounds that are parsed for every row cost in proportion to their number."""

    def cost(windows: Sequence[Window]) -> float:
        of_all = [plan for _name, plan in plans(large, OF_TIME, windows, [name], "EXPLAIN (FORMAT JSON) ")]
        assert any(node.get("Parent Relationship") == "InitPlan" for plan in of_all for node in nodes(plan))
        return sum(float(plan["Total Cost"]) for plan in of_all)

    assert cost(adjoining(3_650, timedelta(minutes=5))) < 2 * cost(adjoining(24, timedelta(hours=12)))
