"""The digest of a row, as PostgreSQL computes it: what is hashed, and the SQL that hashes it.

``docs/recheck.md`` defines it. `mapping.compare.item_digest` computes the same of an item, by code of its own. The
pieces of SQL for each column come from `expressions`.
"""

from typing import Final

from psycopg import sql

from imgmig_dagster.mapping.fields import FieldType
from imgmig_dagster.source.columns import Kind

# By their full names, since a role's search_path may hold others. SHA-256, since a server in FIPS mode refuses md5().
_DIGEST: Final = sql.SQL(
    "('x' || pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256({content}), 1, 8), 'hex'))::bit(64)::bigint"
)
_TEXT: Final = sql.SQL("coalesce('S' || octet_length({value}) || ':' || {value}, '-')")
_NUMBER: Final = sql.SQL("coalesce('N' || {value}::text || ';', '-')")
# A scale of zeros is no part of the number; NaN and infinity are their own truncations.
_NUMERIC: Final = sql.SQL(
    "coalesce('N' || CASE WHEN {value} = pg_catalog.trunc({value}) THEN pg_catalog.trunc({value})"
    " ELSE {value} END::text || ';', '-')"
)
# Cut to the millisecond first, which goes towards the past: where extract() gives a double, it is exact then.
_TIMESTAMP: Final = sql.SQL(
    "coalesce('T' || CASE WHEN isfinite({value})"
    " THEN (extract(epoch FROM pg_catalog.date_trunc('milliseconds', {value})) * 1000)::bigint::text"
    " ELSE {value}::text END || ';', '-')"
)


def field_content(field: FieldType, kind: Kind, value: sql.Composable) -> sql.Composed:
    """A column's part of what is hashed; `value` is its text where the field is text, the column as it is elsewhere."""
    if field is FieldType.TIMESTAMP:
        return _TIMESTAMP.format(value=value)
    if field is FieldType.INTEGER:
        return (_NUMERIC if kind is Kind.NUMERIC else _NUMBER).format(value=value)
    return _TEXT.format(value=value)


def row_digest(content: sql.Composable) -> sql.Composed:
    """The digest of a row, a signed number of 64 bits, from the bytes that are hashed."""
    return _DIGEST.format(content=content)
