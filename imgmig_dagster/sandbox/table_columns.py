"""What the sandbox's application must know about a table to write to it: columns, unique indexes, triggers."""

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

if TYPE_CHECKING:
    import psycopg

_COLUMNS: Final = """
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), coalesce(base.typname, t.typname)::text,
       t.typcategory::text, coalesce(element.typcategory, '')::text, a.attgenerated <> '',
       ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder)
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type base ON base.oid = t.typbasetype AND t.typtype = 'd'
LEFT JOIN pg_type element ON element.oid = t.typelem AND t.typcategory = 'A'
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_UNIQUE: Final = """
SELECT array_agg(a.attname::text)
FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
WHERE i.indrelid = %s::regclass AND i.indisunique GROUP BY i.indexrelid
"""
_TRIGGERS: Final = "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal)"
# Rows that refer to rows of the same table, and go or change with them.
_CASCADES: Final = """
SELECT EXISTS (
    SELECT FROM pg_constraint
    WHERE conrelid = %s::regclass AND confrelid = conrelid AND confdeltype IN ('c', 'n', 'd')
)
"""
_SMALL: Final = 2**15
_LARGE: Final = 2**31


@dataclass(frozen=True)
class WrittenColumn:
    """A column: `shown` is its type as PostgreSQL names it, `type` its plain name, `category` and `of` are
    `pg_type.typcategory` of it and of an array's elements."""

    name: str
    shown: str
    type: str
    category: str
    of: str
    is_generated: bool
    labels: Sequence[str]

    def unique(self, chance: random.Random) -> str | None:
        """A value that no row has; None where none can be made up."""
        if self.type == "uuid":
            return str(uuid.UUID(int=chance.getrandbits(128), version=4))
        if self.category == "S":
            return f"{chance.getrandbits(64):016x}"
        if self.category == "N":
            most = _SMALL if self.type == "int2" else _LARGE
            return str(chance.randrange(most // 2, most))
        return None

    def other(self, chance: random.Random) -> str | None:
        """Another value, as text; None where none can be made up."""
        if self.labels:
            return chance.choice(self.labels)
        by_type = {
            "json": f'{{"edited": {chance.randrange(_SMALL)}, "list": [1, 2.50, null, true], "text": "\u00e9"}}',
            "bytea": f"\\x{chance.getrandbits(32):08x}",
            "bool": chance.choice(["true", "false"]),
            "date": f"20{chance.randrange(10, 30)}-02-{chance.randrange(1, 29):02}",
        }
        by_type["jsonb"] = by_type["json"]
        if self.type in by_type:
            return by_type[self.type]
        if self.category == "A":
            number = chance.randrange(_SMALL)
            return {"S": f"{{b,a,{number}}}", "N": f"{{2,1,{number}}}", "B": "{true,false}"}.get(self.of)
        if self.category == "D":
            return datetime.fromtimestamp(chance.randrange(_LARGE), tz=timezone.utc).isoformat()
        if self.category == "S":
            return f"{chance.getrandbits(32):08x}"
        if self.category == "N":
            return str(chance.randrange(_SMALL))
        return str(uuid.UUID(int=chance.getrandbits(128), version=4)) if self.type == "uuid" else None


@dataclass(frozen=True)
class WrittenTable:
    """A table: its columns by name, those of each unique index, whether triggers act, and whether deletes cascade."""

    columns: Mapping[str, WrittenColumn]
    unique: tuple[tuple[str, ...], ...]
    has_triggers: bool
    cascades: bool


def read_table(connection: "psycopg.Connection[Any]", schema: str, table: str) -> WrittenTable:
    """What the catalog says of a table."""
    name = (sql.Identifier(schema, table).as_string(connection),)
    columns = [WrittenColumn(*found) for found in connection.execute(_COLUMNS, name).fetchall()]
    ((has_triggers,),) = connection.execute(_TRIGGERS, name).fetchall()
    ((cascades,),) = connection.execute(_CASCADES, name).fetchall()
    return WrittenTable(
        columns={each.name: each for each in columns},
        unique=tuple(tuple(names) for (names,) in connection.execute(_UNIQUE, name).fetchall()),
        has_triggers=has_triggers,
        cascades=cascades,
    )
