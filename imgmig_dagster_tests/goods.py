"""A table with a column of every type, its declaration, and the item of its row."""

from typing import Any

import psycopg
from psycopg import sql

from imgmig_dagster.mapping.declaration import declare
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster_tests.arrange import Source

COLUMNS = """
    tenant text, no integer, title varchar(40) NOT NULL, code character(6), price numeric(12,2),
    ratio double precision, active boolean, kind smallint, mood {s}.mood, placed timestamptz NOT NULL,
    changed timestamp, seen_ms bigint, born date, facts jsonb, tags text[], sizes integer[], thumb bytea, address inet,
    shout text GENERATED ALWAYS AS (upper(title)) STORED, PRIMARY KEY (tenant, no)
"""
ROW = """
    ('north', 1, 'a chair', 'ab', 10.50, 0.1, true, 1, 'sad', '2024-01-02 03:04:05.678901+00', '2024-01-03 00:00:00',
     1700000000123, '2024-02-29', '{"b": [1, 2.50, null], "a": {"deep": true}}', '{y,x}', '{3,1}', '\\x00ff',
     '10.0.0.1')
"""
ITEM = {
    "title": {"S": "a chair"},
    "code": {"S": "ab    "},
    "price": {"N": "10.50"},
    "ratio": {"N": "0.1"},
    "active": {"BOOL": True},
    "kind": {"S": "video"},
    "mood": {"S": "sad"},
    "placed": {"S": "2024-01-02T03:04:05.678Z"},
    "seenAt": {"S": "2023-11-14T22:13:20.123Z"},
    "expires": {"N": "1704337445"},
    "born": {"S": "2024-02-29"},
    "facts": {"M": {"b": {"L": [{"N": "1"}, {"N": "2.50"}, {"NULL": True}]}, "a": {"M": {"deep": {"BOOL": True}}}}},
    "tags": {"SS": ["x", "y"]},
    "sizes": {"L": [{"N": "3"}, {"N": "1"}]},
    "sizeSet": {"NS": ["1", "3"]},
    "seenMs": {"N": "1700000000123"},
    "thumb": {"B": b"\0\xff"},
    "net": {"M": {"address": {"S": "10.0.0.1/32"}}},
    "GSI1PK": {"S": "MOOD#sad#a chair"},
    "changed": {"S": "2024-05-06T07:08:09.123Z"},
    "shout": {"S": "A CHAIR"},
    "source": {"S": "postgres"},
}


def mapping_of(source: Source) -> TableMapping:
    return declare(
        {
            "table": f"{source.schema}.goods",
            "name": "goods",
            "entity": "good",
            "identity": ["tenant", "no"],
            "order": "placed",
            "modified": "changed",
            "key": {"PK": "TENANT#{tenant}", "SK": "GOOD#{no}"},
            "version": {"attribute": "version", "initial": 1},
            "attributes": {
                "title": "title",
                "code": "code",
                "price": {"column": "price", "as": "number"},
                "ratio": {"column": "ratio", "as": "number"},
                "active": {"column": "active", "as": "boolean"},
                "kind": {"column": "kind", "values": {1: "video", 0: "image"}},
                "mood": "mood",
                "placed": "placed",
                "changed": "changed",
                "seenAt": {"column": "seen_ms", "unit": "ms"},
                "expires": {"column": "placed", "as": "epoch_seconds", "plus": "2 days"},
                "born": {"column": "born", "as": "date"},
                "facts": {"column": "facts", "as": "document"},
                "tags": {"column": "tags", "as": "set"},
                "sizes": {"column": "sizes", "as": "list"},
                "sizeSet": {"column": "sizes", "as": "number_set"},
                "seenMs": {"column": "seen_ms", "as": "integer"},
                "thumb": {"column": "thumb", "as": "binary"},
                "net": {"map": {"address": "address"}},
                "GSI1PK": "MOOD#{mood}#{title}",
                "shout": "shout",
                "source": {"constant": "postgres"},
            },
        },
        "goods",
    ).mapping


def make_goods(owner: psycopg.Connection[Any], within: Source) -> Source:
    """The table with one row, in the schema of another one."""
    schema = within.schema
    owner.execute(sql.SQL("CREATE TYPE {}.mood AS ENUM ('sad', 'glad')").format(sql.Identifier(schema)))
    owner.execute(f"CREATE TABLE {schema}.goods ({COLUMNS.replace('{s}', schema)})")
    owner.execute(f"INSERT INTO {schema}.goods VALUES {ROW}")  # noqa: S608
    return Source(owner, within.url, schema, "goods", mapping_of(within))
