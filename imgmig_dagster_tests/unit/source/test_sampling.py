"""How a sample is drawn: by which ranks, and without a sort on PostgreSQL's disk."""

from collections.abc import Iterator
from itertools import chain, combinations, product
from math import exp, lgamma, log, sqrt
from random import Random
from typing import Any

import pytest
from psycopg import sql

from imgmig_dagster.source import sampling
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.source.sampling import Lottery, Shape, ranks
from imgmig_dagster_tests.arrange import Source, image, month
from imgmig_dagster_tests.images import IMAGE, PICTURE
from imgmig_dagster_tests.unit.source.test_plans import Recorded

ROWS = 300_000
YEAR = [month(2024, number) for number in range(1, 13)]
MANY = (
    "INSERT INTO {t} SELECT md5(n::text)::uuid, md5(n::text)::uuid, '2024-01-01'::timestamptz + n * interval '100 s',"
    " now(), 'IMG_' || n, 'uploads/' || n, 'images', 'thumbs/' || n, 'image/jpeg', n, 640, 480"
    " FROM generate_series(1, %s) AS listed(n)"
)


def carried_out(source: Source, recorded: Recorded) -> list[dict[str, Any]]:
    """The nodes of the plans of all statements, each as it was carried out."""
    found = list[dict[str, Any]]()
    for query, parameters in recorded.asked:
        (((plan,),),) = source.owner.execute(
            sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ") + query, parameters
        ).fetchall()
        found += nodes(plan["Plan"])
    return found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


@pytest.mark.parametrize(("total", "number", "parts"), [(12, 4, 3), (1000, 10, 100), (5, 5, 1)])
def test_one_rank_is_drawn_from_each_part(total: int, number: int, parts: int) -> None:
    for seed in range(20):
        assert [rank // parts for rank in sorted(ranks(total, number, Random(seed)))] == list(range(number))


@pytest.mark.parametrize(("total", "number"), [(0, 0), (0, 3), (3, 0), (2, 3), (7, 3), (100, 99), (10**10, 50)])
def test_as_many_ranks_are_drawn_as_are_asked_for_or_as_there_are(total: int, number: int) -> None:
    for seed in range(20):
        found = ranks(total, number, Random(seed))
        assert len(found) == min(total, number)
        assert all(0 <= rank < total for rank in found)


def test_faults_are_missed_no_more_often_than_by_as_many_draws_from_all_ranks() -> None:
    """Seven ranks do not go into five equal parts: parts of one and two would miss a fault in the longer ones."""
    total, number, times = 7, 5, 10_000
    drawn = [ranks(total, number, Random(seed)) for seed in range(times)]

    for faults in chain(combinations(range(total), 1), combinations(range(total), 2)):
        missed = sum(found.isdisjoint(faults) for found in drawn) / times
        assert missed < (1 - len(faults) / total) ** number + 0.01, faults


@pytest.mark.parametrize("size", [10, 50, 122, 123, 1_000])
@pytest.mark.parametrize("rows", [50_001, 1_000_000, 10**9])
def test_there_are_so_many_tickets_that_three_faults_in_as_many_rows_as_are_drawn_are_seen_in_95_of_100(
    rows: int, size: int
) -> None:
    """For any faults: those with a ticket are at most as unevenly many as by draws that repeat themselves."""
    tickets = Lottery(rows, size, 0).tickets
    mean, missed, chance = 3 * tickets / size, 0.0, 0.0
    for with_ticket in range(int(mean + 12 * sqrt(mean)) + 1):
        chance = exp(with_ticket * log(mean) - mean - lgamma(with_ticket + 1))
        missed += chance * (1 - with_ticket / tickets) ** size

    assert missed < 0.05


def test_candidates_of_a_large_table_are_a_share_of_all_rows_by_the_lot(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50,000 rows would take a test too long."""
    monkeypatch.setattr(sampling, "_ALL", 100)
    monkeypatch.setattr(sampling, "_FEWEST", 100)
    source.insert(
        image(number, created_at=f"2024-{number // 100 + 1:02}-02Z", thumbnail_s3_key=None) for number in range(400)
    )

    with source.reader() as reader:
        samples = [reader.sample(24, seed, PICTURE, YEAR) for seed in range(8)]
        few = reader.sample(300, 1, PICTURE, YEAR, rows=10**9)

    assert [len({each.row.id for each in drawn}) for drawn in samples] == [24] * 8
    for shape in (Shape.RANDOM, Shape.NO_THUMBNAIL):
        drawn = [int(each.row.id[-3:], 16) // 100 for found in samples for each in found if each.shape is shape]
        assert set(drawn) == {0, 1, 2, 3}
    assert len({each.row.id for each in few}) == 300, "there are fewer rows than were told"


def test_a_sample_of_a_large_table_sorts_nothing_on_disk(source: Source) -> None:
    source.execute(MANY, ROWS)
    source.execute("CREATE INDEX ON {t} (created_at, id)")
    view = sql.Identifier(source.schema, "a_view")
    source.owner.execute(
        sql.SQL("CREATE VIEW {} AS SELECT * FROM {}.images").format(view, sql.Identifier(source.schema))
    )
    source.owner.execute(sql.SQL("GRANT SELECT ON {} TO imgmig_reader").format(view))
    source.execute("ANALYZE {t}")
    for relation, picture in product(("images", "a_view"), (PICTURE, None)):
        recorded = Recorded(source.url)
        with SourceReader(recorded, source.schema, relation, IMAGE) as reader:
            assert reader.table
            recorded.asked.clear()
            assert len(reader.sample(48, 1, picture, YEAR)) == 48

        found = carried_out(source, recorded)
        read = [
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            for node in found
            if "Relation Name" in node
        ]
        assert 2 <= sum(each > 0.99 * ROWS for each in read) <= 3, "for the count, the tickets, and at most the join"
        assert sum(node.get("Temp Written Blocks", 0) for node in found) == 0
        assert not [node for node in found if "external" in node.get("Sort Method", "")]
