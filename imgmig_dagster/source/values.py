"""How a column is read: its text, its time, and its value in a `Row`.

`row_digest_sql` makes what is hashed from the same pieces; `keyset` compares rows, `orders` places them.
"""

from collections.abc import Callable, Sequence
from typing import Final

from psycopg import sql

from imgmig_dagster.mapping.fields import Field, FieldType, Unit
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.mapping.template import Template
from imgmig_dagster.source.catalog import UTC, SourceTable
from imgmig_dagster.source.columns import Column, ColumnKind
from imgmig_dagster.source.texts import NO_ENCODING, UTF8

# In these years a time is spelled as JavaScript's toISOString() does; in others as PostgreSQL does.
_ISO: Final = (
    "CASE WHEN {0} >= '0001-01-01' AND {0} < '10000-01-01'"
    " THEN pg_catalog.to_char({0}, 'YYYY-MM-DD\"T\"HH24:MI:SS.{1}{2}') ELSE {0}::text END"
)
# Dates go on after the last day that a timestamp can have.
_MIDNIGHT: Final = (
    "CASE WHEN {0} < date '294277-01-01' THEN {0}::timestamp WHEN {0} IS NOT NULL THEN timestamp 'infinity' END"
)
# The hash of a record accepts columns of every type that has an index. Its sign would double a bucket.
_BUCKET: Final = "((pg_catalog.hash_record_extended(ROW({identity}), 0) & 9223372036854775807) %% {buckets})"
_JSON: Final = (FieldType.LIST, FieldType.TEXT_SET, FieldType.NUMBER_SET)
_AS_TEXT: Final = (FieldType.TEXT, FieldType.LABEL, FieldType.NUMBER, FieldType.DATE, FieldType.DOCUMENT)
# Fields that may hold characters beyond ASCII.
_ANY_TEXT: Final = (FieldType.TEXT, FieldType.LABEL, FieldType.DOCUMENT, *_JSON)


class Values:
    """The pieces of SQL for the columns of one table, which is named ``t``."""

    def __init__(self, table: SourceTable) -> None:
        self.table = table
        self._identity = frozenset(table.mapping.identity)
        self.bytes_for_text: Final = table.encoding != UTF8
        """Whether text is read as the stored bytes: see `texts`."""

    def bare(self, name: str) -> sql.Composable:
        """A column as it is."""
        return sql.SQL("t.{}").format(sql.Identifier(name.replace("%", "%%")))

    def is_zoned(self, name: str) -> bool:
        """Whether a column holds local times of a zone other than UTC."""
        return self._column(name).kind is ColumnKind.LOCAL and self.table.time_zone != UTC

    def value(self, field: Field) -> sql.Composable:
        """A field's value as a `Row` holds it."""
        if field.type in _ANY_TEXT:
            return self.shown(self.unencoded(field))
        return self.unencoded(field)

    def shown(self, text: sql.Composable) -> sql.Composable:
        """A text as it is read."""
        return self.bytes_of(text) if self.bytes_for_text else text

    def bytes_of(self, text: sql.Composable) -> sql.Composable:
        """The bytes of a text as they are stored."""
        if self.bytes_for_text:  # some of it may have no form in UTF-8, and would fail the statement
            return sql.SQL("pg_catalog.convert_to({}, {})").format(text, sql.Literal(NO_ENCODING))
        return sql.SQL("pg_catalog.textsend({})").format(text)  # which does not look whether it is UTF-8

    def unencoded(self, field: Field) -> sql.Composable:
        """A field's value before encoding."""
        if field.template is not None:
            return self.rendered(field.template)
        if field.type in (FieldType.TIMESTAMP, FieldType.EPOCH):
            return self.moment(field.column, field.column_unit)
        bare = self.bare(field.column)
        if field.type in _AS_TEXT:
            return self._read_text(field.column)
        if field.type in _JSON:
            return sql.SQL("pg_catalog.array_to_json({})::text").format(bare)
        if field.type is FieldType.BINARY:
            return sql.SQL("pg_catalog.encode({}, 'hex')").format(bare)
        return bare

    def text(self, name: str) -> sql.Composable:
        """A column's text, for any type."""
        bare = self.bare(name)
        if self._column(name).kind is ColumnKind.PADDED:  # a cast would strip the padding; concat() makes '' of NULL
            return sql.SQL("CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END").format(bare)
        return sql.SQL("{}::text").format(bare)

    def key_text(self, name: str) -> sql.Composable:
        """A column's text in a key or a template. Times as JavaScript writes them; in the identity, to the microsecond.

        A local time in the identity is not converted, so that different times stay different.
        """
        kind = self._column(name).kind
        if kind not in (ColumnKind.INSTANT, ColumnKind.LOCAL):
            return self.text(name)
        is_identity, zone = name in self._identity, self.is_zoned(name)
        clock = self.bare(name)
        if kind is ColumnKind.INSTANT or (zone and not is_identity):
            clock = sql.SQL("({} AT TIME ZONE 'UTC')").format(self.moment(name))
        precision, mark = ("US" if is_identity else "MS"), ("" if zone and is_identity else '"Z"')
        return sql.SQL(_ISO).format(clock, sql.SQL(precision), sql.SQL(mark))

    def rendered(self, template: Template) -> sql.Composable:
        """The text of a template; NULL if one of its columns is NULL."""
        parts: list[sql.Composable] = []
        for literal, name in template.parts:
            parts += [sql.Literal(literal.replace("%", "%%"))] if literal else []
            parts += [self.key_text(name)] if name is not None else []
        return sql.SQL("({})").format(sql.SQL(" || ").join(parts or [sql.Literal("")]))

    def joined(self, names: Sequence[str]) -> sql.Composable:
        """The id that the texts of some columns make: see `template.joined`."""
        if len(names) == 1:
            return self.key_text(names[0])
        escaped = r"coalesce(pg_catalog.replace(pg_catalog.replace({}, E'\\', E'\\\\'), '|', E'\\|'), E'\\N')"
        return sql.SQL("({})").format(
            sql.SQL(" || '|' || ").join(sql.SQL(escaped).format(self.key_text(n)) for n in names)
        )

    @property
    def bucket(self) -> sql.Composable:
        """The number of a row's bucket."""
        return bucket_of(self.table.mapping, self.bare)

    def moment(self, name: str, unit: Unit | None = None) -> sql.Composable:
        """A column as a point in time; a number of a `unit`, or a bucket, in microseconds since 1970."""
        if not name:
            return sql.SQL("{} * 1000000").format(self.bucket)
        bare = self.bare(name)
        if unit is not None:
            return sql.SQL("pg_catalog.floor({}::numeric * {})").format(bare, sql.Literal(unit.microseconds))
        if self._column(name).kind is ColumnKind.DATE:
            return sql.SQL(_MIDNIGHT).format(bare)
        if self.is_zoned(name):
            return sql.SQL("({} AT TIME ZONE {})").format(bare, sql.Literal(self.table.time_zone))
        return bare

    def _read_text(self, name: str) -> sql.Composable:
        if self.bytes_for_text or self._column(name).kind not in (ColumnKind.TEXT, ColumnKind.PADDED):
            return self.text(name)
        return self.bare(name)

    def kind(self, name: str) -> ColumnKind:
        """The kind of a column."""
        return self._column(name).kind

    def _column(self, name: str) -> Column:
        return self.table.columns[name]


def bucket_of(mapping: TableMapping, column: Callable[[str], sql.Composable]) -> sql.Composed:
    """The number of a row's bucket, made of its identity; an index on the expression serves it."""
    identity = sql.SQL(", ").join(map(column, mapping.identity))
    return sql.SQL(_BUCKET).format(identity=identity, buckets=sql.SQL(str(mapping.order.buckets)))
