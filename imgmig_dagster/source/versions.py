"""Which declarations need a later PostgreSQL than 12.

The statements that need it are in `row_digest_sql` and `values`.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from imgmig_dagster.mapping.fields import FieldType
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.source.columns import Column, ColumnKind

_AS_TEXT: Final = "upgrade the server, or declare it `as: text`"


def version_faults(server_version: int, mapping: TableMapping, columns: Mapping[str, Column]) -> list[str]:
    """What a server is too old for, each with the remedy; `server_version` is PostgreSQL's number, such as 140005."""
    major = server_version // 10_000
    return [
        f"{what} PostgreSQL {needed} or later, and the server has {major}: {remedy}"
        for needed, what, remedy in _needs(mapping, columns)
        if major < needed
    ]


def _needs(mapping: TableMapping, columns: Mapping[str, Column]) -> Iterator[tuple[int, str, str]]:
    if mapping.order.buckets is not None:
        remedy = "upgrade the server, or declare an order by a time"
        yield 14, "partitions by buckets need hash_record_extended() of", remedy
    for field in mapping.fields:
        kind = columns[field.column].kind if field.column in columns else None
        if field.type is FieldType.NUMBER and kind is ColumnKind.FLOAT:
            # Before it a numeric is never infinite, and the cast of one such row would fail a whole page.
            yield 14, f"column {field.column} is a floating-point number, which needs the infinite numeric of", _AS_TEXT
        elif field.type is FieldType.NUMBER_SET or (field.type is FieldType.NUMBER and kind is ColumnKind.NUMERIC):
            yield 13, f"column {field.column} is hashed as a number, which needs trim_scale() of", _AS_TEXT
