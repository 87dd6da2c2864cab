"""Checks whether an index gives the rows in the order of the pages, and writes the statements that create one."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from imgmig_dagster.source.catalog import SourceTable
from imgmig_dagster.source.connection import Fetch
from imgmig_dagster.source.values import bucket_of

_LONGEST_NAME: Final = 63
_SPELLING: Final = re.compile(r"[()\"' ]|::bigint|pg_catalog[.]")


@dataclass(frozen=True)
class _Member:
    """The table or one of its partitions, with its index for pages. The table itself has no `parent`.

    The index of a partitioned table is valid only when each partition's index is attached to it.
    """

    oid: int
    parent: int | None
    is_leaf: bool
    schema: str
    name: str
    index: str | None
    is_valid: bool
    is_attached: bool

    @property
    def serves(self) -> bool:
        return self.index is not None and self.is_valid

    @property
    def index_name(self) -> str:
        suffix = "_pages"
        return self.index or self.name.encode()[: _LONGEST_NAME - len(suffix)].decode(errors="ignore") + suffix


def missing_page_index(fetch: Fetch, table: SourceTable) -> Sequence[str]:
    """The statements that create an index for the pages, to be run one by one; none if it exists.

    It is a valid, full b-tree index. It begins with the order column, or the expression of a bucket, and continues with
    the identity, all in one direction. A partitioned table has either its own or one per partition.
    """
    mapping = table.mapping
    keys = list(mapping.identity)
    columns: list[sql.Composable] = [sql.Identifier(name) for name in keys]
    if mapping.order.buckets is None:
        order = mapping.order.column
        columns.insert(0, sql.Identifier(order))
    else:
        bucket = bucket_of(mapping, sql.Identifier).as_string().replace("%%", "%")
        # PostgreSQL shows an expression with its own casts and brackets.
        order = _SPELLING.sub("", bucket)
        columns.insert(0, sql.SQL(bucket))
    asked = {"oid": table.relation.oid, "keys": [order, *keys], "number": len(keys) + 1, "spelling": _SPELLING.pattern}
    members = {found[0]: _Member(*found) for found in fetch(_MEMBERS, asked)}
    root = members[table.relation.oid]
    leaves = [member for member in members.values() if member.is_leaf]
    if root.serves or (leaves and all(leaf.serves for leaf in leaves)):
        return []
    shown = sql.SQL("({})").format(sql.SQL(", ").join(columns))
    return [statement.as_string() for statement in _statements(members, root, shown)]


def _statements(members: dict[int, _Member], root: _Member, columns: sql.Composed) -> Iterator[sql.Composed]:
    if root.is_leaf:
        yield sql.SQL("CREATE INDEX CONCURRENTLY ON {} {}").format(sql.Identifier(root.schema, root.name), columns)
        return
    # Parents first: a partitioned table accepts no CREATE INDEX CONCURRENTLY, and only an index without its partitions'
    # indexes, which are attached afterwards.
    for member in members.values():
        if member.index is None:
            how = sql.SQL(
                "CREATE INDEX CONCURRENTLY {} ON {} {}" if member.is_leaf else "CREATE INDEX {} ON ONLY {} {}"
            )
            yield how.format(sql.Identifier(member.index_name), sql.Identifier(member.schema, member.name), columns)
    for member in reversed(members.values()):
        if member.parent is not None and not member.is_attached:
            above = members[member.parent]
            yield sql.SQL("ALTER INDEX {} ATTACH PARTITION {}").format(
                sql.Identifier(above.schema, above.index_name), sql.Identifier(member.schema, member.index_name)
            )


# indoption: 0 is ascending with NULLS LAST, and 3 the same read backwards.
_MEMBERS: Final = """
WITH members AS (
    SELECT relid::oid AS oid, parentrelid::oid AS parent, isleaf, level
    FROM pg_catalog.pg_partition_tree(%(oid)s::oid::regclass)
    UNION
    SELECT %(oid)s::oid, NULL, true, 0 WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_partition_tree(%(oid)s::oid::regclass) WHERE relid = %(oid)s::oid
    )
)
SELECT m.oid::bigint, CASE WHEN m.level > 0 THEN m.parent::bigint END, m.isleaf, n.nspname::text, c.relname::text,
       found.name, coalesce(found.is_valid, false), coalesce(found.is_attached, false)
FROM members m JOIN pg_catalog.pg_class c ON c.oid = m.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
    SELECT x.relname::text AS name, i.indisvalid AS is_valid,
           EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = i.indexrelid) AS is_attached
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    JOIN pg_catalog.pg_am a ON a.oid = x.relam
    WHERE i.indrelid = m.oid AND i.indpred IS NULL AND a.amname = 'btree' AND i.indnkeyatts >= %(number)s
      AND ARRAY(
          SELECT CASE WHEN k.attnum <> 0 THEN c.attname::text ELSE pg_catalog.regexp_replace(
              pg_catalog.pg_get_indexdef(i.indexrelid, k.place::integer, false), %(spelling)s, '', 'g') END
          FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
          LEFT JOIN pg_catalog.pg_attribute c ON c.attrelid = i.indrelid AND c.attnum = k.attnum
          WHERE k.place <= %(number)s ORDER BY k.place
      ) = %(keys)s::text[]
      AND (SELECT min(way) = max(way) AND min(way) IN (0, 3)
           FROM unnest((i.indoption::int2[])[0:%(number)s - 1]) AS ways(way))
      AND (i.indisvalid OR NOT m.isleaf)
    ORDER BY i.indisvalid DESC, is_attached DESC, x.relname LIMIT 1
) AS found ON true
ORDER BY m.level, 5
"""
