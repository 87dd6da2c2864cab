"""Whether a declaration fits: what the rows tell, on PostgreSQL's own."""

from dataclasses import replace
from typing import Any

import pytest

from imgmig_dagster.doctor.diagnosis import Health
from imgmig_dagster.doctor.source_checks import check_rows_outside
from imgmig_dagster.drafting.check import check_items, check_keys, check_left_out, check_nulls
from imgmig_dagster.mapping.spec import KeyAttribute, Order, TableMapping
from imgmig_dagster.mapping.template import Template
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import UNDATED_WINDOW
from imgmig_dagster_tests.arrange import MARCH, Source, image, row_id
from imgmig_dagster_tests.images import IMAGE


def reading(source: Source, **changes: Any) -> tuple[Any, SourceReader]:
    connections = ReadOnlyConnections(source.url)
    mapping: TableMapping = replace(IMAGE, schema=source.schema, table=source.table, **changes)
    return connections.fetch, SourceReader(connections, source.schema, source.table, mapping)


def test_nulls_are_counted_where_they_are_rejected(source: Source) -> None:
    source.insert([image(1, user_id=None), image(2, user_id=None), image(3, s3_key=None)])
    fetch, reader = reading(source)

    with reader:
        health, found, remedy = check_nulls(fetch, reader)

    assert (health, found) == (Health.FAIL, "these rows are rejected: NULL in user_id (2 rows), s3_key (1 rows)")
    assert "null: left_out" in remedy


def test_what_may_be_null_and_is_not_is_no_fault(source: Source) -> None:
    source.insert([image(1)])
    fetch, reader = reading(source)

    with reader:
        assert check_nulls(fetch, reader)[0] is Health.OK


@pytest.mark.parametrize(("bucket", "health"), [("a#b", Health.FAIL), ("ab", Health.OK)])
def test_a_separator_inside_of_a_key_is_found(source: Source, bucket: str, health: Health) -> None:
    source.insert([image(1, s3_bucket=bucket), image(2)])
    key = (KeyAttribute("PK", Template("IMAGE#{s3_bucket}#{id}")), KeyAttribute("SK", Template("METADATA")))
    fetch, reader = reading(source, primary_key=key)

    with reader:
        found = check_keys(fetch, reader)

    assert found[0] is health
    assert ("1 rows have # in s3_bucket" in found[1]) is (health is Health.FAIL)


def test_the_rows_that_a_condition_leaves_out_are_counted(source: Source) -> None:
    source.insert([image(1, width=None), image(2, width=10), image(3, width=99)])
    fetch, reader = reading(source, where="width % 50 > 20")

    with reader:
        found = check_left_out(fetch, reader)

    assert found[1] == "2 of 3, for which this does not hold: width % 50 > 20"


def test_rows_outside_of_the_condition_are_no_fault_of_it(source: Source) -> None:
    source.insert([image(1), image(2, s3_bucket="a#b", user_id=None, width=99)])
    key = (KeyAttribute("PK", Template("IMAGE#{s3_bucket}#{id}")), KeyAttribute("SK", Template("METADATA")))
    fetch, reader = reading(source, primary_key=key, where="width % 100 < 99")

    with reader:
        assert check_nulls(fetch, reader)[0] is Health.OK
        assert check_keys(fetch, reader)[0] is Health.OK


def test_what_is_rejected_is_named_with_a_row_of_each_reason(source: Source) -> None:
    source.insert([image(1, created_at="infinity"), image(2), image(3, user_id=None), image(4, user_id=None)])
    _fetch, reader = reading(source)

    with reader:
        health, found, remedy = check_items(reader, None)
        assert check_items(reader, 2)[1].startswith("2 rows were made items")

    assert health is Health.FAIL
    assert "3 are rejected: 2 rows, such as " + row_id(3) in found
    assert "column user_id" in found
    assert remedy == "fix them in the source, declare `as: text` for created_at, or leave them out with `where`"
    assert "1 row, such as " + row_id(1) in found
    assert "timestamp_out_of_range, column created_at" in found


@pytest.mark.parametrize(("has_undated", "rows"), [(True, 0), (False, 1)])
def test_rows_without_a_time_lie_in_the_partition_that_is_declared_for_them(
    source: Source, has_undated: bool, rows: int
) -> None:
    source.insert([image(1), image(2, created_at=None)])
    _fetch, reader = reading(source, order=Order("created_at", has_undated=has_undated))

    with reader:
        health, found, remedy = check_rows_outside(reader, [MARCH, *([UNDATED_WINDOW] if has_undated else [])])

    assert health is (Health.FAIL if rows else Health.OK)
    assert found.startswith("1 rows, such as" if rows else "none outside of 2024-03-01 to 2024-04-01")
    assert ("undated: true" in remedy) is bool(rows)
