"""What an older server cannot do is refused by its version, before anything is read."""

from dataclasses import replace
from typing import Any

import pytest

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.mapping.fields import Field, FieldType, Null
from imgmig_dagster.mapping.spec import Order
from imgmig_dagster.source.catalog import inspect
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.versions import version_faults
from imgmig_dagster_tests.unit.source.things import Things, things_mapping


def mapping_of(column: str, kind: FieldType, order: Order) -> Any:
    return things_mapping(Field(column, "value", kind, Null.WRITTEN), order=order)


TIME, BUCKETS = Order("at"), Order("", buckets=4)
DEFINITION = (
    "id int PRIMARY KEY, at timestamptz, n numeric, f double precision, w bigint, ns numeric[], ts text[], t text"
)
# A column, what it becomes, the order, the first version that can do it, and what that is said of.
CASES = [
    ("n", FieldType.NUMBER, TIME, 13, "column n is hashed as a number, which needs trim_scale()"),
    ("ns", FieldType.NUMBER_SET, TIME, 13, "column ns is hashed as a number, which needs trim_scale()"),
    ("f", FieldType.NUMBER, TIME, 14, "column f is a floating-point number"),
    ("t", FieldType.TEXT, BUCKETS, 14, "partitions by buckets need hash_record_extended()"),
    ("w", FieldType.NUMBER, TIME, 12, ""),
    ("n", FieldType.INTEGER, TIME, 12, ""),
    ("ts", FieldType.TEXT_SET, TIME, 12, ""),
    ("t", FieldType.TEXT, TIME, 12, ""),
]


@pytest.mark.parametrize(("column", "kind", "order", "least", "told"), CASES)
def test_what_needs_a_later_version_is_refused_by_an_earlier_one(
    things: Things, column: str, kind: FieldType, order: Order, least: int, told: str
) -> None:
    things.make(DEFINITION)
    mapping = mapping_of(column, kind, order)
    with things.reader(mapping) as reader:
        columns = reader.table.columns

    for major in range(12, 19):
        faults = version_faults(major * 10_000 + 5, mapping, columns)
        assert len(faults) == (1 if major < least else 0)
        for fault in faults:
            assert fault.startswith(told)
            assert f" of PostgreSQL {least} or later, and the server has {major}: upgrade the server, or" in fault


def test_the_server_is_asked_for_its_version_before_anything_is_read(things: Things) -> None:
    things.make(DEFINITION)
    mapping = replace(mapping_of("n", FieldType.NUMBER, BUCKETS), schema=things.schema)
    connections = ReadOnlyConnections(things.url)

    def of_version_12(query: Any, parameters: Any) -> list[Any]:
        found = connections.fetch(query, parameters)
        return [("UTF8", 120022)] if "server_version_num" in str(query) else found

    assert inspect(connections.fetch, things.schema, "things", mapping).encoding == "UTF8"
    with pytest.raises(SourceRefused) as caught:
        inspect(of_version_12, things.schema, "things", mapping)
    assert str(caught.value) == (
        f"{things.schema}.things cannot be migrated from this server: partitions by buckets need "
        "hash_record_extended() of PostgreSQL 14 or later, and the server has 12: upgrade the server, or "
        "declare an order by a time; column n "
        "is hashed as a number, which needs trim_scale() of PostgreSQL 13 or later, and the server has 12: upgrade the "
        "server, or declare it `as: text`"
    )
    connections.close()
