"""Declarations of a table with one column, or some, of any type; and what becomes of their rows."""

from typing import Any

from imgmig_dagster.mapping.fields import Field, FieldType, Null
from imgmig_dagster.mapping.rows import Item, Row
from imgmig_dagster.mapping.spec import KeyAttribute, Order, TableMapping
from imgmig_dagster.mapping.template import Template
from imgmig_dagster.mapping.transform import Rejection, transformer

KEY = {"PK": {"S": "T#1"}}


def field(kind: FieldType, **changes: Any) -> Field:
    """A field `a` of the column `a`; NULL is written."""
    return Field(**{"column": "a", "attribute": "a", "type": kind, "null": Null.WRITTEN, **changes})


def mapping_of(*fields: Field, key: tuple[KeyAttribute, ...] | None = None, **changes: Any) -> TableMapping:
    """A table whose rows have an id and these fields."""
    primary_key = key or (KeyAttribute("PK", Template("T#{id}")),)
    columns = tuple(column for each in primary_key for column in each.template.columns)
    declared = {"identity": columns, "order": Order("", buckets=4), "fields": fields, "primary_key": primary_key}
    return TableMapping(name="t", entity="t", schema="public", table="t", **{**declared, **changes})


def row(*values: Any) -> Row:
    """The row with the id 1, of the first bucket."""
    return Row(("1", *values, 0))


def item(attribute: dict[str, Any] | None) -> Item:
    """The item of the row with the id 1."""
    return KEY if attribute is None else {**KEY, "a": attribute}


def transform(mapping: TableMapping, source: Row) -> Item | tuple[str | None, str]:
    """The item, or the column and the code of the rejection."""
    # Compiled within the test: mutants exist only while a test runs.
    found = transformer(mapping)(source)
    return (found.field, found.code) if isinstance(found, Rejection) else found
