"""The sandbox's application writes any declared table: copies of rows, and other values by the type of the column."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from random import Random
from typing import Any

import psycopg
import pytest

from imgmig_dagster.errors import SandboxError
from imgmig_dagster.sandbox.declared_records import DeclaredRecords
from imgmig_dagster.sandbox.dual_writer import DualWriter
from imgmig_dagster_tests.arrange import Source, Target
from imgmig_dagster_tests.conftest import NewSource, Services
from imgmig_dagster_tests.goods import ITEM, make_goods

NOW = datetime(2024, 5, 6, 7, 8, 9, 123_456, tzinfo=timezone.utc)


@pytest.fixture
def goods(services: Services, new_source: NewSource) -> Source:
    return make_goods(services.owner, new_source())


@pytest.fixture
def writer(services: Services) -> Iterator[psycopg.Connection[Any]]:
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    given = {name: services.environment[variable] for name, variable in names.items()}
    with psycopg.connect(autocommit=True, **given) as connection:  # type: ignore[arg-type]
        yield connection


def ready(goods: Source, writer: psycopg.Connection[Any]) -> tuple[DeclaredRecords, str]:
    records = DeclaredRecords(goods.mapping)
    (row_id,) = records.ids(writer)
    assert set(records.kinds(writer)) == {"insert", "update", "touch", "delete"}
    return records, row_id


def test_an_insert_is_a_copy_with_another_identity_as_the_item_of_a_typescript_application(
    goods: Source, writer: psycopg.Connection[Any]
) -> None:
    records, row_id = ready(goods, writer)

    made = records.insert(row_id, Random(1), writer, NOW)

    assert made is not None
    assert made[1] == ITEM
    assert made[0] != row_id
    assert records.key(made[0])["PK"]["S"].startswith("TENANT#")
    assert goods.execute("SELECT count(*) FROM {t}") == [(2,)]


def test_every_column_but_those_of_key_order_and_time_is_changed_and_the_item_says_the_same(
    goods: Source, writer: psycopg.Connection[Any]
) -> None:
    records, row_id = ready(goods, writer)
    changed: dict[str, Any] = {}

    for seed in range(200):
        changed |= records.touch(row_id, Random(seed), writer) or {}

    fixed = {"placed", "changed", "expires", "source", "net"}
    assert set(changed) | fixed == set(ITEM) | fixed
    assert {name for name in ITEM if name not in changed} <= fixed
    (row,) = goods.execute("SELECT title, price::text, active, facts::text, thumb FROM {t}")
    assert changed["title"] == {"S": row[0]}
    assert changed["GSI1PK"]["S"].endswith(row[0])
    assert changed["shout"] == {"S": row[0].upper()}
    assert (changed["price"], changed["active"]) == ({"N": row[1]}, {"BOOL": row[2]})
    assert changed["facts"]["M"]["list"]["L"][1] in ({"N": "2.50"}, {"N": "2.5"})
    assert changed["thumb"] == {"B": row[4]}


def test_an_update_sets_the_time_too_and_writes_nothing_else(goods: Source, writer: psycopg.Connection[Any]) -> None:
    records, row_id = ready(goods, writer)

    values = records.update(row_id, Random(1), writer, NOW)

    assert values is not None
    assert values["changed"] == {"S": "2024-05-06T07:08:09.123Z"}
    assert len(values) < len(ITEM)


def test_what_the_table_does_not_allow_is_left_alone_and_said_where_nothing_is_left(
    goods: Source, writer: psycopg.Connection[Any]
) -> None:
    goods.execute("ALTER TABLE {t} ADD CHECK (no = 1 AND tenant = 'north')")
    records = DeclaredRecords(goods.mapping)
    list(records.ids(writer))
    assert set(records.kinds(writer)) == {"update", "touch", "delete"}

    goods.execute(f"CREATE VIEW {goods.schema}.seen AS SELECT * FROM {{t}} GROUP BY tenant, no")  # noqa: S608
    view = DeclaredRecords(replace(goods.mapping, table="seen"))
    list(view.ids(writer))
    with pytest.raises(SandboxError, match=r"cannot write to .*seen.*insert.*your own program"):
        view.kinds(writer)


def test_the_application_writes_it_on_several_threads(goods: Source, target: Target, services: Services) -> None:
    goods.execute(
        "INSERT INTO {t} (tenant, no, title, placed, tags) SELECT 'south', n, 'b' || n, '2024-03-04', '{{a}}'"
        " FROM generate_series(1, 40) n"
    )
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    given = {name: services.environment[variable] for name, variable in names.items()}
    application = DualWriter(
        lambda: psycopg.connect(**given),  # type: ignore[arg-type]
        target.client,
        target.name,
        records=DeclaredRecords(goods.mapping),
    )

    journal = application.run(1_000, 2)

    assert set(journal.counts) == {"insert", "update", "touch", "delete"}
    assert journal.lowered == []
    rows = {f"{tenant}|{no}" for tenant, no in goods.execute("SELECT tenant, no FROM {t}")}
    items = {str(goods.mapping.row_id(item)) for item in items_of(target)}
    assert items
    assert items <= rows
    assert not journal.deleted & items


def items_of(target: Target) -> list[Any]:
    pages = target.client.get_paginator("scan").paginate(TableName=target.name, ConsistentRead=True)
    return [item for page in pages for item in page["Items"]]
